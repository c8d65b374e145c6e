//! What Debian Policy wants in a package besides its files.

use super::control::version;
use crate::{
    compression::gzipped,
    package::Package,
    payload::ComponentKind,
    template::{DebChangelog, DebCopyright, LintianOverrides, rendered},
    tree::{Entry, FileTree, InstallPath, Mode, Owner, Role},
};

/// The package's files, copyright, changelog and lintian overrides.
pub(super) fn add_to(package: &Package) -> FileTree {
    let name = package.metadata.name;
    let folder = format!("/usr/share/doc/{name}");
    let mut tree = package.tree.clone();
    put(&mut tree, folder.clone(), Entry::dir());
    put(&mut tree, format!("{folder}/copyright"), Entry::bytes(copyright(package), Role::Doc));
    put(&mut tree, format!("{folder}/changelog.gz"), Entry::bytes(changelog(package), Role::Doc));
    let overrides = overrides(package);
    if !overrides.trim().is_empty() {
        let overrides = Entry::bytes(overrides, Role::Doc);
        put(&mut tree, format!("/usr/share/lintian/overrides/{name}"), overrides);
    }
    tree
}

/// What lintian would say of the tree and is meant to be as it is.
fn overrides(package: &Package) -> String {
    let tree = &package.tree;
    let text = rendered(&LintianOverrides {
        name: package.metadata.name,
        in_opt: tree.iter().any(|(path, _)| path.as_str().starts_with("/opt/")),
        for_root: tree.iter().any(|(_, entry)| entry.mode == Mode::PRIVATE),
        for_account: tree.iter().any(|(_, entry)| entry.owner != Owner::ROOT),
        without_manual: tree.iter().filter_map(|(path, _)| without_manual(tree, path)).collect(),
    });
    text.trim_start().to_owned()
}

/// The name of the command at `path`, if it is one and has no manual page.
fn without_manual<'a>(tree: &FileTree, path: &'a InstallPath) -> Option<&'a str> {
    let name = path.as_str().strip_prefix("/usr/bin/")?;
    let page = InstallPath::new(format!("/usr/share/man/man1/{name}.1.gz")).ok()?;
    tree.get(&page).is_none().then_some(name)
}

fn put(tree: &mut FileTree, path: String, entry: Entry) {
    let path = InstallPath::new(path).expect("the package's name is a plain word");
    tree.insert(path, entry).expect("a package's tree has no Debian documents");
}

fn copyright(package: &Package) -> String {
    let metadata = &package.metadata;
    let mut components = package.lifecycle.pointers.iter().map(|pointer| pointer.component);
    let osquery = components.any(|kind| kind == ComponentKind::Osqueryd);
    rendered(&DebCopyright { name: metadata.name, osquery })
}

/// Named as that of a package without a Debian revision.
fn changelog(package: &Package) -> Vec<u8> {
    let metadata = &package.metadata;
    let text = rendered(&DebChangelog {
        name: metadata.name,
        version: &version(&metadata.version),
        publisher: &metadata.publisher,
        date: package.built_at.timestamp().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
    });
    gzipped(text.as_bytes())
}

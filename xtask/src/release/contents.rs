//! What an archive holds besides programs: licences, and what `fleetctl` writes about itself.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use xshell::cmd;

use super::built::Target;
use crate::{dist::target::Target as RustTarget, workspace::Workspace};

/// Documents of the checkout that every archive has.
const DOCUMENTS: &[&str] =
    &["CHANGELOG.md", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md"];

/// A shell, and what the file with its completions is called.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "fleetctl.bash"),
    ("fish", "fleetctl.fish"),
    ("powershell", "_fleetctl.ps1"),
    ("zsh", "_fleetctl"),
];

/// Files by their path in an archive.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Files that are the same for every target.
#[derive(Debug)]
pub(super) struct Generated {
    /// Of `fleetctl`: completions and manual pages.
    pub(super) reference: Files,
    /// Licences, the changelog.
    pub(super) documents: Files,
}

impl Generated {
    /// Lets the `fleetctl` that is released write about itself, or this checkout's if none of the
    /// targets runs here.
    pub(super) fn by(workspace: &Workspace, targets: &[Target]) -> anyhow::Result<Self> {
        let ours = RustTarget::of_this_machine()?;
        let mut native = targets.iter().filter(|it| it.reach.covers(ours.system, ours.cpu));
        let fleetctl = match native.find_map(|target| target.program("fleetctl")) {
            Some(path) => path.to_owned(),
            None => workspace.programs()?.fleetctl,
        };
        let reference = reference(workspace, &fleetctl)?;
        let mut documents = Files::new();
        for name in DOCUMENTS {
            let bytes = fs::read(workspace.root.join(name))
                .with_context(|| format!("could not read `{name}`"))?;
            documents.insert((*name).to_owned(), bytes);
        }
        Ok(Self { reference, documents })
    }
}

/// What `fleetctl` writes about itself: `completions/…` and `man/man1/…`.
pub(crate) fn reference(workspace: &Workspace, fleetctl: &Path) -> anyhow::Result<Files> {
    let mut files = completions(workspace, fleetctl)?;
    files.extend(manual(workspace, fleetctl)?);
    Ok(files)
}

fn completions(workspace: &Workspace, fleetctl: &Path) -> anyhow::Result<Files> {
    let sh = &workspace.sh;
    let mut files = Files::new();
    for (shell, name) in COMPLETIONS {
        let script = cmd!(sh, "{fleetctl} generate completions {shell}").quiet().output()?.stdout;
        files.insert(format!("completions/{name}"), script);
    }
    Ok(files)
}

fn manual(workspace: &Workspace, fleetctl: &Path) -> anyhow::Result<Files> {
    let sh = &workspace.sh;
    let dir = tempfile::tempdir().context("could not make a temporary folder")?;
    let pages = dir.path();
    cmd!(sh, "{fleetctl} generate man --out-dir {pages} --quiet").quiet().run()?;
    let mut files = Files::new();
    for entry in fs::read_dir(pages).context("could not list the manual pages")? {
        let path = entry.context("could not list the manual pages")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let page = fs::read(&path).with_context(|| format!("could not read `{name}`"))?;
        files.insert(format!("man/man1/{name}"), page);
    }
    Ok(files)
}

//! From a tree to what an installer has: folders with parents, files with identifiers.

use std::collections::BTreeSet;

use super::names::{ROOT, ShortNames, identifier};
use crate::{
    error::BuildError,
    package::Package,
    payload::ComponentKind,
    tree::{FileTree, InstallPath, Node, Role, Source},
};

/// A tree as an installer sees it.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Parents first.
    pub(super) folders: Vec<PlannedFolder>,
    /// Folders that are made though nothing may be in them: the root, and empty ones.
    pub(super) made_folders: Vec<String>,
    /// In the order of their paths.
    pub(super) files: Vec<PlannedFile<'a>>,
}

#[derive(Debug)]
pub(super) struct PlannedFolder {
    pub(super) id: String,
    pub(super) parent: String,
    /// With a short one before it, if it is long.
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) struct PlannedFile<'a> {
    pub(super) path: &'a InstallPath,
    pub(super) id: String,
    pub(super) component: String,
    /// The identifier of the folder that it is in.
    pub(super) folder: String,
    /// With a short one before it, if it is long.
    pub(super) name: String,
    pub(super) source: &'a Source,
    pub(super) role: Role,
}

impl<'a> Plan<'a> {
    /// Paths begin with one of the installer's own folders, like `/ProgramFiles64Folder`.
    pub(super) fn new(tree: &'a FileTree) -> Result<Self, BuildError> {
        let root = tree.iter().find(|(_, entry)| entry.node == Node::Dir).map(|(path, _)| path);
        let mut plan = Planner { root, names: ShortNames::default() };
        let (mut folders, mut made_folders, mut files) = (Vec::new(), Vec::new(), Vec::new());
        let filled: BTreeSet<_> = tree.iter().flat_map(|(path, _)| path.ancestors()).collect();
        for (path, entry) in tree.with_ancestors() {
            if entry.node == Node::Dir {
                folders.push(plan.folder(&path));
                let owned = tree.get(&path).is_some();
                if owned && (Some(&path) == root || !filled.contains(&path)) {
                    made_folders.push(plan.folder_id(&path));
                }
            }
        }
        for (path, entry) in tree.iter() {
            match &entry.node {
                Node::Dir => {}
                Node::Symlink { .. } => return Err(BuildError::Symlink { path: path.clone() }),
                Node::File { source, role } => files.push(plan.file(path, source, *role)),
            }
        }
        Ok(Self { folders, made_folders, files })
    }

    /// The agent's program, which is also the service.
    pub(super) fn agent(&self, package: &Package) -> Option<&PlannedFile<'a>> {
        self.program(package, ComponentKind::Orbit)
    }

    /// The program of a component, if it is in the package.
    pub(super) fn program(
        &self,
        package: &Package,
        kind: ComponentKind,
    ) -> Option<&PlannedFile<'a>> {
        let mut pointers = package.lifecycle.pointers.iter();
        let pointer = pointers.find(|pointer| pointer.component == kind)?;
        self.files.iter().find(|file| *file.path == pointer.packaged)
    }
}

struct Planner<'a> {
    root: Option<&'a InstallPath>,
    names: ShortNames,
}

impl Planner<'_> {
    /// What identifiers need not tell.
    fn below(&self) -> &str {
        self.root.map_or("", InstallPath::as_str)
    }

    fn folder_id(&self, path: &InstallPath) -> String {
        if Some(path) == self.root {
            return ROOT.to_owned();
        }
        // The installer's own folders have their names as identifiers.
        match path.as_str()[1..].contains('/') {
            true => identifier('d', path, self.below()),
            false => path.as_str()[1..].to_owned(),
        }
    }

    fn folder(&mut self, path: &InstallPath) -> PlannedFolder {
        let id = self.folder_id(path);
        match path.ancestors().last() {
            None => PlannedFolder { id, parent: "TARGETDIR".to_owned(), name: ".".to_owned() },
            Some(parent) => {
                let parent = self.folder_id(&parent);
                let name = self.names.of(&parent, name(path));
                PlannedFolder { id, parent, name }
            }
        }
    }

    fn file<'a>(
        &mut self,
        path: &'a InstallPath,
        source: &'a Source,
        role: Role,
    ) -> PlannedFile<'a> {
        let folder = path.ancestors().last();
        let folder = folder.map_or_else(|| "TARGETDIR".to_owned(), |it| self.folder_id(&it));
        let name = self.names.of(&folder, name(path));
        let id = |kind| identifier(kind, path, self.below());
        let (id, component) = (id('f'), id('c'));
        PlannedFile { path, id, component, folder, name, source, role }
    }
}

fn name(path: &InstallPath) -> &str {
    path.as_str().rsplit_once('/').map_or(path.as_str(), |(_, name)| name)
}

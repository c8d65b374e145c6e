//! Where an installer puts things.

use std::collections::{BTreeMap, BTreeSet};

use super::database::Table;

/// How deep folders are, at most.
const MAX_DEPTH: usize = 64;

/// Folders and components.
pub(super) struct Folders {
    /// Parent and name, by identifier.
    folders: BTreeMap<String, (String, String)>,
    /// The folder of each component.
    components: BTreeMap<String, String>,
}

impl Folders {
    pub(super) fn read(folders: &Table<'_>, components: &Table<'_>) -> Self {
        let folder = |row: super::Row<'_>| {
            let place =
                (row.text("Directory_Parent").to_owned(), row.text("DefaultDir").to_owned());
            (row.text("Directory").to_owned(), place)
        };
        let component = |row: super::Row<'_>| {
            (row.text("Component").to_owned(), row.text("Directory_").to_owned())
        };
        Self {
            folders: folders.rows().map(folder).collect(),
            components: components.rows().map(component).collect(),
        }
    }

    /// The path of a component's folder.
    pub(super) fn of_component(&self, component: &str) -> String {
        self.components.get(component).map_or(String::new(), |folder| self.path(folder))
    }

    /// Every folder that something is put in, and those above.
    pub(super) fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        for folder in self.components.values().collect::<BTreeSet<_>>() {
            let path = self.path(folder);
            paths.extend(path.match_indices('/').skip(1).map(|(end, _)| path[..end].to_owned()));
            if !path.is_empty() {
                paths.insert(path);
            }
        }
        paths
    }

    /// Of a folder that is in itself, as far as that goes.
    fn path(&self, folder: &str) -> String {
        let mut names = Vec::new();
        let mut next = folder;
        while let Some((parent, name)) = self.folders.get(next) {
            if parent.is_empty() || parent == next || names.len() == MAX_DEPTH {
                break;
            }
            // What is called `.` is one of the installer's own folders, or no folder of its own.
            match (long_name(name), parent.as_str()) {
                (".", "TARGETDIR") => names.push(next),
                (".", _) => {}
                (name, _) => names.push(name),
            }
            next = parent;
        }
        names.iter().rev().map(|name| format!("/{name}")).collect()
    }
}

/// Of `short|long`, and of `target:source`.
pub(super) fn long_name(name: &str) -> &str {
    let target = name.split(':').next().unwrap_or(name);
    target.rsplit('|').next().unwrap_or(target)
}

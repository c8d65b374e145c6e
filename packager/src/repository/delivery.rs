//! A repository that comes from where it was published to: the folder becomes what the copy is.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use super::{
    KEY_FILE, RepositoryError,
    catalogue::{self, Catalogue, Lineage, Lock},
    publication::{Publication, beside, make_parent, recover_all, replace},
    shipment::{Turn, files, index_of},
};

/// A folder that gets what a copy publishes. Nobody changes it meanwhile.
#[derive(Debug)]
pub struct Delivery {
    root: PathBuf,
    /// SHA-256 of each package that the copy lists, by path.
    listed: BTreeMap<String, String>,
    _lock: Lock,
}

impl Delivery {
    /// To the folder `root`, from a copy with these `catalogues` (contents by path). Makes the folder if it is not
    /// there. Refuses one with changes that the copy does not have.
    pub fn new(
        root: impl Into<PathBuf>,
        catalogues: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, RepositoryError> {
        let root = root.into();
        let listed = listed(catalogues)?;
        fs::create_dir_all(&root).map_err(RepositoryError::write(&root))?;
        let lock = Lock::take(&root)?;
        recover_all(&root)?;
        recover_all(&root.join("dists"))?;
        for path in files(&root)?.iter().filter(|it| Turn::of(it) == Some(Turn::Catalogue)) {
            let file = root.join(path);
            let ours = fs::read(&file).map_err(RepositoryError::read(&file))?;
            let is_known = match catalogues.get(path) {
                Some(theirs) => {
                    *theirs == ours || Lineage::read(theirs, PathBuf::from(path))?.has(&ours)
                }
                None => false,
            };
            if !is_known {
                return Err(RepositoryError::Ahead { folder: root });
            }
        }
        Ok(Self { root, listed, _lock: lock })
    }

    /// Packages that are listed and not there yet, by path.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        let is_missing = |path: &&str| !self.root.join(path).exists();
        self.listed.keys().map(String::as_str).filter(is_missing).collect()
    }

    /// Where the content of the missing package `path` is to be written.
    pub fn arrival(&self, path: &str) -> Result<PathBuf, RepositoryError> {
        let file = beside(&self.root.join(path));
        make_parent(&file)?;
        Ok(file)
    }

    /// Gives what was written there its place, if it is what is listed.
    pub fn arrived(&self, path: &str) -> Result<(), RepositoryError> {
        let file = self.arrival(path)?;
        if self.listed.get(path) != Some(&catalogue::digest(&file)?.0) {
            // Nothing more can be done about one that stays.
            let _ = fs::remove_file(&file);
            let reason = "it is not what the catalogue lists".to_owned();
            return Err(RepositoryError::Package { file: path.into(), reason });
        }
        let to = self.root.join(path);
        fs::rename(file, &to).map_err(RepositoryError::write(to))
    }

    /// Replaces each index by that of the copy: `others` has the contents of all files but packages, by path. Then
    /// packages go that are listed no more.
    pub fn finish(self, others: BTreeMap<String, Vec<u8>>) -> Result<(), RepositoryError> {
        let before = files(&self.root)?;
        let mut indexes: BTreeMap<String, Publication> = BTreeMap::new();
        for (path, content) in others {
            match index_of(&path) {
                Some(folder) => {
                    let name = path[folder.len() + 1..].to_owned();
                    indexes.entry(folder.to_owned()).or_default().put(name, content);
                }
                None if path == KEY_FILE => replace(&self.root.join(KEY_FILE), &content)?,
                None => {}
            }
        }
        for (folder, publication) in indexes {
            let folder = self.root.join(folder);
            make_parent(&folder)?;
            publication.publish(&folder, &[])?;
        }
        let is_package = |path: &&String| index_of(path).is_none() && *path != KEY_FILE;
        for path in before.iter().filter(is_package).filter(|it| !self.listed.contains_key(*it)) {
            catalogue::remove(&self.root.join(path))?;
        }
        Ok(())
    }
}

/// Digests of what `catalogues` list. Each has to be where packages are.
fn listed(
    catalogues: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, String>, RepositoryError> {
    let mut listed = BTreeMap::new();
    for (path, bytes) in catalogues {
        let catalogue = Catalogue::<Value>::parse(bytes, PathBuf::from(path))?;
        let is_package =
            |file: &str| Turn::of(file) == Some(Turn::Lasting) && index_of(file).is_none();
        if !catalogue.packages.iter().all(|it| is_package(&it.file)) {
            let reason = "it lists what is no package".to_owned();
            return Err(RepositoryError::Foreign { file: path.into(), reason });
        }
        listed.extend(catalogue.packages.into_iter().map(|it| (it.file, it.sha256)));
    }
    Ok(listed)
}

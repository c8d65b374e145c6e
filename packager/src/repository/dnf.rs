//! A repository for dnf, yum and zypper. Source: createrepo_c(8), what its `--xz`-less output has.
//!
//! ```text
//! key.asc
//! packages/fleetd-1.2.3-1.x86_64.rpm
//! repodata/{repomd.xml,repomd.xml.asc}
//! repodata/DIGEST-{primary,filelists,other}.xml.gz
//! ```
//!
//! `repodata` is replaced as a whole. A reader that has the repomd.xml of before asks for lists that stay
//! for a while.

mod lists;
mod xml;

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use rpm_version::rpm_evr_compare;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    KEY_FILE, Listed, RepositoryError,
    catalogue::{self, Addition, Catalogue, Lock},
    line_of_text,
    publication::{Publication, replace},
    rpm,
};
use crate::{compression::gzipped, package::SourceDate, sign::openpgp::SigningKey};
use lists::Lists;
use xml::Xml;

/// A repository, or where one is to be.
#[derive(Debug, Clone)]
pub struct Dnf {
    root: PathBuf,
}

/// What a repository says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
}

impl Dnf {
    /// The repository in the folder `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes it, without packages. `name` is one line of text.
    pub fn init(
        &self,
        name: &str,
        key: &SigningKey,
        now: SourceDate,
    ) -> Result<(), RepositoryError> {
        line_of_text("name", name)?;
        let _lock = catalogue::found(&self.root, &self.repodata())?;
        self.publish(Catalogue::new(Settings { name: name.to_owned() }), key, now)
    }

    /// Adds `files`. One that is published already changes nothing; one that differs from what is published
    /// under its name is refused, and then nothing is added. Returns what is new.
    pub fn add(
        &self,
        files: &[PathBuf],
        key: &SigningKey,
        now: SourceDate,
    ) -> Result<Vec<Listed>, RepositoryError> {
        let (mut catalogue, _lock) = self.open()?;
        let additions = files.iter().map(|file| addition(file));
        let new = catalogue.add(&self.root, additions, &BTreeMap::new())?;
        if !new.is_empty() {
            self.publish(catalogue, key, now)?;
        }
        Ok(new)
    }

    /// Makes the index anew, dated `now` and signed by `key`, which may be another one than before.
    pub fn sign(&self, key: &SigningKey, now: SourceDate) -> Result<(), RepositoryError> {
        let (catalogue, _lock) = self.open()?;
        self.publish(catalogue, key, now)
    }

    /// Removes all but the newest `keep` versions of each package and architecture, and returns them.
    pub fn prune(
        &self,
        keep: NonZeroUsize,
        key: &SigningKey,
        now: SourceDate,
    ) -> Result<Vec<Listed>, RepositoryError> {
        let (mut catalogue, _lock) = self.open()?;
        let removed = catalogue::prune(&mut catalogue.packages, keep.get(), newer);
        if removed.is_empty() {
            return Ok(removed);
        }
        self.publish(catalogue, key, now)?;
        catalogue::remove_all(&self.root, removed.iter())?;
        Ok(removed)
    }

    /// What is published, sorted by file.
    pub fn list(&self) -> Result<Vec<Listed>, RepositoryError> {
        Ok(self.catalogue()?.packages)
    }

    fn repodata(&self) -> PathBuf {
        self.root.join("repodata")
    }

    fn open(&self) -> Result<(Catalogue<Settings>, Lock), RepositoryError> {
        Catalogue::open(&self.root, &self.repodata())
    }

    fn catalogue(&self) -> Result<Catalogue<Settings>, RepositoryError> {
        Catalogue::read(&self.repodata())
    }

    fn publish(
        &self,
        mut catalogue: Catalogue<Settings>,
        key: &SigningKey,
        now: SourceDate,
    ) -> Result<(), RepositoryError> {
        let mut lists = Lists::of(catalogue.packages.len());
        for package in &catalogue.packages {
            lists.add(&rpm::read(&self.root.join(&package.file))?, package);
        }
        let mut index = Index::new(now);
        for (kind, text) in lists.finish() {
            index.put(kind, &text);
        }
        let Index { xml, mut publication, files, .. } = index;
        let text = xml.finish("repomd");
        let signature = key.sign_armored(&text, now).map_err(RepositoryError::Sign)?;
        publication.put("repomd.xml", text);
        publication.put("repomd.xml.asc", signature);
        publication.put("repomd.xml.key", key.armored_certificate());
        let kept = catalogue.next_generation(files);
        publication.put(catalogue::FILE, catalogue.render());
        replace(&self.root.join(KEY_FILE), key.armored_certificate().as_bytes())?;
        publication.publish(&self.repodata(), &kept)
    }
}

/// repomd.xml, and the lists that it names.
struct Index {
    xml: Xml,
    publication: Publication,
    /// The lists, by their names, which have their digests.
    files: Vec<String>,
    timestamp: String,
}

impl Index {
    fn new(now: SourceDate) -> Self {
        let timestamp = now.unix().to_string();
        let namespaces = [
            ("xmlns", "http://linux.duke.edu/metadata/repo"),
            ("xmlns:rpm", "http://linux.duke.edu/metadata/rpm"),
        ];
        let mut xml = Xml::document("repomd", &namespaces);
        xml.text("revision", &[], &timestamp);
        Self { xml, publication: Publication::default(), files: Vec::new(), timestamp }
    }

    fn put(&mut self, kind: &str, text: &[u8]) {
        let squeezed = gzipped(text);
        let digest = sha256(&squeezed);
        let file = format!("{digest}-{kind}.xml.gz");
        let xml = &mut self.xml;
        xml.open("data", &[("type", kind)]);
        xml.text("checksum", &[("type", "sha256")], &digest);
        xml.text("open-checksum", &[("type", "sha256")], &sha256(text));
        xml.empty("location", &[("href", &format!("repodata/{file}"))]);
        xml.text("timestamp", &[], &self.timestamp);
        xml.text("size", &[], &squeezed.len().to_string());
        xml.text("open-size", &[], &text.len().to_string());
        xml.close("data");
        self.publication.put(file.clone(), squeezed);
        self.files.push(file);
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn newer(one: &Listed, other: &Listed) -> Ordering {
    rpm_evr_compare(&one.version, &other.version)
}

fn addition(file: &Path) -> Result<Addition, RepositoryError> {
    let rpm = rpm::read(file)?;
    let (sha256, size) = catalogue::digest(file)?;
    let (version, architecture) = (rpm.version.written(), rpm.architecture);
    let rpm::Version { version: upstream, release, .. } = &rpm.version;
    let path = format!("packages/{}-{upstream}-{release}.{architecture}.rpm", rpm.name);
    let name = rpm.name;
    let package = Listed { name, version, architecture, file: path, size, sha256, component: None };
    Ok(Addition { from: file.to_owned(), package })
}

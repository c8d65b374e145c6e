//! A repository for apt. Source: apt-secure(8), sources.list(5), the wiki page `DebianRepository/Format`.
//!
//! ```text
//! key.asc
//! pool/COMPONENT/f/fleetd/fleetd_1.2.3_amd64.deb
//! dists/SUITE/{Release,Release.gpg,InRelease}
//! dists/SUITE/COMPONENT/binary-amd64/{Packages,Packages.gz,Packages.xz,by-hash/SHA256/…}
//! ```
//!
//! `dists/SUITE` is replaced as a whole. A reader that has the InRelease of before asks for its lists by their
//! digests, which stay for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    KEY_FILE, Listed, RepositoryError,
    catalogue::{self, Addition, Catalogue, Lock},
    deb::{self, Control},
    line_of_text, plain_word,
    publication::{Publication, replace},
};
use crate::{
    compression::{Algorithm, Compression, Encoder, gzipped},
    package::SourceDate,
    sign::openpgp::SigningKey,
};

/// A repository, or where one is to be.
#[derive(Debug, Clone)]
pub struct Apt {
    root: PathBuf,
    suite: String,
}

/// What a suite says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who publishes it: `Origin` and `Label`.
    pub name: String,
    /// For how many days readers believe an index. Forever unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_days: Option<u16>,
}

impl Apt {
    /// The suite `suite` of the repository in the folder `root`.
    pub fn at(root: impl Into<PathBuf>, suite: &str) -> Result<Self, RepositoryError> {
        plain_word("suite", suite)?;
        Ok(Self { root: root.into(), suite: suite.to_owned() })
    }

    /// Makes it, without packages.
    pub fn init(
        &self,
        settings: Settings,
        key: &SigningKey,
        now: SourceDate,
    ) -> Result<(), RepositoryError> {
        line_of_text("name", &settings.name)?;
        let _lock = catalogue::found(&self.root, &self.dists())?;
        self.publish(Catalogue::new(settings), key, now)
    }

    /// Adds `files` to `component`. One that is published already changes nothing; one that differs from
    /// what is published under its name is refused, and then nothing is added. Returns what is new.
    pub fn add(
        &self,
        files: &[PathBuf],
        component: &str,
        (key, now): (&SigningKey, SourceDate),
    ) -> Result<Vec<Listed>, RepositoryError> {
        plain_word("component", component)?;
        let (mut catalogue, _lock) = self.open()?;
        let additions = files.iter().map(|file| addition(file, component));
        let new = catalogue.add(&self.root, additions, &self.published()?)?;
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
        let removed = catalogue::prune(&mut catalogue.packages, keep.get(), |one, other| {
            deb::compare(&one.version, &other.version)
        });
        if removed.is_empty() {
            return Ok(removed);
        }
        self.publish(catalogue, key, now)?;
        let used = self.published()?;
        let unused = removed.iter().filter(|package| !used.contains_key(&package.file));
        catalogue::remove_all(&self.root, unused)?;
        Ok(removed)
    }

    /// What is published, sorted by file.
    pub fn list(&self) -> Result<Vec<Listed>, RepositoryError> {
        Ok(self.catalogue()?.packages)
    }

    fn dists(&self) -> PathBuf {
        self.root.join("dists").join(&self.suite)
    }

    fn open(&self) -> Result<(Catalogue<Settings>, Lock), RepositoryError> {
        Catalogue::open(&self.root, &self.dists())
    }

    fn catalogue(&self) -> Result<Catalogue<Settings>, RepositoryError> {
        Catalogue::read(&self.dists())
    }

    /// Digests of the files that any suite publishes: they share the pool.
    fn published(&self) -> Result<BTreeMap<String, String>, RepositoryError> {
        let dists = self.root.join("dists");
        let mut published = BTreeMap::new();
        for suite in fs::read_dir(&dists).map_err(RepositoryError::read(&dists))? {
            let suite = suite.map_err(RepositoryError::read(&dists))?;
            if suite.path().join(catalogue::FILE).exists() {
                let catalogue = Catalogue::<Settings>::read(&suite.path())?;
                let files =
                    catalogue.packages.into_iter().map(|package| (package.file, package.sha256));
                published.extend(files);
            }
        }
        Ok(published)
    }

    fn publish(
        &self,
        mut catalogue: Catalogue<Settings>,
        key: &SigningKey,
        now: SourceDate,
    ) -> Result<(), RepositoryError> {
        let mut index = Index::default();
        for ((component, architecture), text) in self.lists(&catalogue.packages)? {
            index.put(&format!("{component}/binary-{architecture}/Packages"), text.into_bytes());
        }
        let release = self.release(&catalogue, &index, now);
        let sign = RepositoryError::Sign;
        let mut publication = index.publication;
        publication.put("InRelease", key.sign_text(&release, now).map_err(sign)?);
        let detached = key.sign_armored(release.as_bytes(), now).map_err(sign)?;
        publication.put("Release.gpg", detached);
        publication.put("Release", release);
        let kept = catalogue.next_generation(index.by_hash);
        publication.put(catalogue::FILE, catalogue.render());
        replace(&self.root.join(KEY_FILE), key.armored_certificate().as_bytes())?;
        publication.publish(&self.dists(), &kept)
    }

    /// The text of each list, by component and architecture.
    fn lists(
        &self,
        packages: &[Listed],
    ) -> Result<BTreeMap<(String, String), String>, RepositoryError> {
        let mut lists = BTreeMap::new();
        for component in components(packages) {
            for architecture in architectures(packages) {
                lists.insert((component.to_owned(), architecture), String::new());
            }
        }
        for package in packages {
            let paragraph = paragraph(&deb::read(&self.root.join(&package.file))?, package);
            for ((component, architecture), text) in &mut lists {
                let here = package.component.as_deref() == Some(component.as_str());
                if here && [architecture.as_str(), ALL].contains(&package.architecture.as_str()) {
                    text.push_str(&paragraph);
                    text.push('\n');
                }
            }
        }
        Ok(lists)
    }

    fn release(&self, catalogue: &Catalogue<Settings>, index: &Index, now: SourceDate) -> String {
        let Settings { name, valid_days } = &catalogue.settings;
        let suite = &self.suite;
        let mut text =
            format!("Origin: {name}\nLabel: {name}\nSuite: {suite}\nCodename: {suite}\n");
        let _ = writeln!(text, "Date: {}", date(now, Duration::ZERO));
        if let Some(days) = valid_days {
            let valid = Duration::from_secs(u64::from(*days) * 24 * 60 * 60);
            let _ = writeln!(text, "Valid-Until: {}", date(now, valid));
        }
        text.push_str("Acquire-By-Hash: yes\n");
        let _ = writeln!(text, "Architectures: {}", architectures(&catalogue.packages).join(" "));
        let _ = writeln!(text, "Components: {}", components(&catalogue.packages).join(" "));
        text.push_str("SHA256:\n");
        for (path, (digest, size)) in &index.lists {
            let _ = writeln!(text, " {digest} {size} {path}");
        }
        text
    }
}

/// The component of who names none.
pub const MAIN: &str = "main";
/// The architecture of what runs on all.
const ALL: &str = "all";

/// The lists that a Release names.
#[derive(Default)]
struct Index {
    publication: Publication,
    /// Digest and size by path.
    lists: BTreeMap<String, (String, usize)>,
    /// The same files under their digests.
    by_hash: Vec<String>,
}

impl Index {
    /// Adds the list `path` plain and squeezed, each under its name and its digest.
    fn put(&mut self, path: &str, text: Vec<u8>) {
        let forms = [("", text.clone()), (".gz", gzipped(&text)), (".xz", xz(&text))];
        for (ending, content) in forms {
            let digest = hex::encode(Sha256::digest(&content));
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let by_hash = format!("{folder}/by-hash/SHA256/{digest}");
            self.lists.insert(format!("{path}{ending}"), (digest, content.len()));
            self.publication.put(format!("{path}{ending}"), content.clone());
            self.publication.put(by_hash.clone(), content);
            self.by_hash.push(by_hash);
        }
    }
}

fn xz(text: &[u8]) -> Vec<u8> {
    let compression = Compression::of(Algorithm::Xz);
    let squeezed =
        Encoder::new(compression, NonZeroUsize::MIN, Vec::new()).and_then(|mut encoder| {
            encoder.write_all(text)?;
            encoder.finish()
        });
    squeezed.expect("writing to memory does not fail")
}

/// Those that have packages; one at least.
fn components(packages: &[Listed]) -> Vec<&str> {
    let named: BTreeSet<_> = packages.iter().filter_map(|it| it.component.as_deref()).collect();
    if named.is_empty() { vec![MAIN] } else { named.into_iter().collect() }
}

/// Those that have packages of their own; what runs on all is in the list of each.
fn architectures(packages: &[Listed]) -> Vec<String> {
    let own = packages.iter().map(|package| &package.architecture).filter(|it| *it != ALL);
    let own: BTreeSet<_> = own.cloned().collect();
    if own.is_empty() { vec![ALL.to_owned()] } else { own.into_iter().collect() }
}

fn paragraph(control: &Control, package: &Listed) -> String {
    let Listed { file, size, sha256, .. } = package;
    format!("{}Filename: {file}\nSize: {size}\nSHA256: {sha256}\n", control.render())
}

fn date(now: SourceDate, later: Duration) -> String {
    (now.timestamp() + later).strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

fn addition(file: &Path, component: &str) -> Result<Addition, RepositoryError> {
    let control = deb::read(file)?;
    let (sha256, size) = catalogue::digest(file)?;
    let field = |name| control.get(name).unwrap_or_default().to_owned();
    let (name, version, architecture) = (field("Package"), field("Version"), field("Architecture"));
    let source = control.get("Source").and_then(|source| source.split(' ').next());
    let source = source.filter(|source| plain_word("source", source).is_ok()).unwrap_or(&name);
    // Libraries are many, so they have four letters.
    let letters = if source.starts_with("lib") { 4 } else { 1 };
    let folder: String = source.chars().take(letters).collect();
    let written = deb::without_epoch(&version).replace(':', ".");
    let path = format!("pool/{component}/{folder}/{source}/{name}_{written}_{architecture}.deb");
    let component = Some(component.to_owned());
    let package = Listed { name, version, architecture, file: path, size, sha256, component };
    Ok(Addition { from: file.to_owned(), package })
}

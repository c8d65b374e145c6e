//! Going on with the repository of another tool: its readers find a next root, signed by the keys that
//! they trust, and from there on everything in the form that every client reads.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    num::NonZeroU64,
};

use camino::Utf8Path;
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha512};
use tough::schema::{Delegations, Root, Snapshot, Target, Targets, Timestamp as TimestampRole};

use self::old::Old;
use super::{
    Editor, Expiries, KEYS_DIR, LOG_FILE, REPOSITORY_DIR, TARGETS_DIR,
    add::published_as,
    authority::set_root_keys,
    document::{Document, MetadataFile, SPEC_VERSION, SignError, expiry, sha256_hashes},
    init::no_targets,
    log::{Log, NewEntry},
    published::Published,
    strict,
};
use crate::{
    disk::{self, Access},
    keys::{Algorithm, KeyDir, NewKey, Passphrase, PublicKey, SigningKey, TufRole},
    verify::Reading,
};

mod error;
mod old;

pub use error::MigrateError;

/// What a repository goes on from.
#[derive(Debug)]
pub struct Inheritance<'a> {
    /// The folder that the other tool published: the one with `timestamp.json`.
    pub from: &'a Utf8Path,
    /// The private keys at hand, with what is to open them from now on.
    pub keys: Vec<(NewKey, Passphrase)>,
    /// For a new key of each of these roles whose old keys are not at hand.
    pub replaced: BTreeMap<TufRole, Passphrase>,
    /// Who does it, for the log.
    pub who: String,
}

/// The roles below the root whose keys in the repository at `from` are not among `keys`, so that
/// new ones are needed. That too few keys of the root are there is an error.
pub fn roles_without_keys(
    from: &Utf8Path,
    keys: &[PublicKey],
) -> Result<Vec<TufRole>, MigrateError> {
    let old = Old::read(from)?;
    let (root, threshold) = old.authority(TufRole::Root);
    let found = count(&root, keys);
    if found < threshold {
        return Err(MigrateError::NoRoot { found, threshold });
    }
    let below = [TufRole::Targets, TufRole::Snapshot, TufRole::Timestamp];
    Ok(below.into_iter().filter(|role| !is_at_hand(&old.authority(*role), keys)).collect())
}

fn is_at_hand(
    (theirs, threshold): &(BTreeMap<String, PublicKey>, u64),
    keys: &[PublicKey],
) -> bool {
    count(theirs, keys) >= *threshold
}

fn count(theirs: &BTreeMap<String, PublicKey>, keys: &[PublicKey]) -> u64 {
    let theirs: BTreeSet<_> = theirs.values().map(PublicKey::id).collect();
    let at_hand: BTreeSet<_> = keys.iter().map(PublicKey::id).collect();
    theirs.intersection(&at_hand).count() as u64
}

/// Makes a repository in `dir` that goes on with another one, which stays as it is.
///
/// Keys and repository are made beside their place and moved there when they are whole.
pub async fn migrate(
    dir: &Utf8Path,
    inheritance: Inheritance<'_>,
    expiries: &Expiries,
    now: Timestamp,
) -> Result<Editor, MigrateError> {
    let ours = [KEYS_DIR, REPOSITORY_DIR, LOG_FILE].map(|name| dir.join(name));
    if let Some(path) = ours.into_iter().find(|it| it.symlink_metadata().is_ok()) {
        return Err(MigrateError::Exists { path });
    }
    let old = Old::read(inheritance.from)?;
    disk::make_dir(dir.as_std_path(), Access::World).map_err(written(dir))?;
    let building =
        tempfile::Builder::new().prefix(".migrate-").tempdir_in(dir).map_err(written(dir))?;
    let building = Utf8Path::from_path(building.path())
        .ok_or_else(|| MigrateError::NotUtf8 { dir: dir.to_owned() })?;
    let who = inheritance.who.clone();
    let heir = Heir::of(&old, inheritance, &building.join(KEYS_DIR))?;
    let repository = building.join(REPOSITORY_DIR);
    let targets = copy_targets(&old, &repository.join(TARGETS_DIR))?;
    let documents = heir.sign(&old, targets, (expiries, now)).await?;
    let what = format!("migrate from {}", old.dir);
    let mut entry = NewEntry { time: now, who, what, files: BTreeMap::new() };
    for (name, bytes) in files(&old, &documents) {
        let path = repository.join(&name);
        disk::replace(path.as_std_path(), &bytes, Access::World).map_err(written(&path))?;
        entry.files.insert(name, hex::encode(Sha256::digest(&bytes)));
    }
    Log::new(building.join(LOG_FILE)).append(entry)?;
    Published::read(&repository)?;
    for name in [LOG_FILE, KEYS_DIR, REPOSITORY_DIR] {
        let to = dir.join(name);
        fs::rename(building.join(name), &to).map_err(written(&to))?;
    }
    disk::sync_dir(dir.as_std_path()).map_err(written(dir))?;
    Ok(Editor::open(dir)?)
}

/// The old roots and delegated roles as they were, and what is new.
fn files(old: &Old, documents: &[Document]) -> Vec<(String, Vec<u8>)> {
    let roots = old.roots.iter().zip(1_u64..);
    let roots = roots.map(|(bytes, version)| (format!("{version}.root.json"), bytes.clone()));
    let delegated = old.delegated.iter().map(|(role, bytes)| {
        let version = &old.snapshot["meta"][format!("{role}.json")]["version"];
        (format!("{version}.{role}.json"), bytes.clone())
    });
    let new = documents.iter().map(|it| (it.file_name(), it.bytes().to_vec()));
    roots.chain(delegated).chain(new).collect()
}

/// Who signs from now on.
struct Heir {
    keys: Vec<SigningKey>,
    /// Of each role, and how many must sign.
    roles: BTreeMap<TufRole, (Vec<PublicKey>, NonZeroU64)>,
}

impl Heir {
    fn of(old: &Old, inheritance: Inheritance<'_>, dir: &Utf8Path) -> Result<Self, MigrateError> {
        let dir = KeyDir::new(dir);
        let (mut keys, mut roles) = (Vec::new(), BTreeMap::new());
        for (key, passphrase) in inheritance.keys {
            keys.push(key.keep_in(&dir, &passphrase)?);
        }
        let at_hand: Vec<_> = keys.iter().map(SigningKey::public).collect();
        for role in TufRole::ALL {
            let (theirs, threshold) = old.authority(role);
            let keeps = role == TufRole::Root || is_at_hand(&(theirs.clone(), threshold), &at_hand);
            let (public, threshold) = match inheritance.replaced.get(&role) {
                Some(passphrase) if !keeps => {
                    let key = dir.generate(role, Algorithm::Ed25519, passphrase)?;
                    let public = vec![key.public()];
                    keys.push(key);
                    (public, 1)
                }
                _ => (theirs.into_values().collect(), threshold),
            };
            let threshold = NonZeroU64::new(threshold).unwrap_or(NonZeroU64::MIN);
            roles.insert(role, (public, threshold));
        }
        Ok(Self { keys, roles })
    }

    async fn sign(
        &self,
        old: &Old,
        targets: Targets,
        (expiries, now): (&Expiries, Timestamp),
    ) -> Result<Vec<Document>, MigrateError> {
        let root = self.signed_root(old, expiry(now, expiries.root)).await?;
        let targets = Targets {
            version: next(&old.targets),
            expires: expiry(now, expiries.targets),
            ..targets
        };
        let targets = self.signed(TufRole::Targets, Document::of("targets", &targets)?).await?;
        let spec = || SPEC_VERSION.to_owned();
        let mut snapshot =
            Snapshot::new(spec(), next(&old.snapshot), expiry(now, expiries.snapshot));
        snapshot.meta.insert("targets.json".to_owned(), targets.listed());
        for (role, bytes) in &old.delegated {
            let version = old.snapshot["meta"][format!("{role}.json")]["version"].as_u64();
            let version = version.and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN);
            snapshot
                .meta
                .insert(format!("{role}.json"), MetadataFile::new(bytes.clone()).listed(version));
        }
        let snapshot = self.signed(TufRole::Snapshot, Document::of("snapshot", &snapshot)?).await?;
        let expires = expiry(now, expiries.timestamp);
        let mut timestamp = TimestampRole::new(spec(), next(&old.timestamp), expires);
        timestamp.meta.insert("snapshot.json".to_owned(), snapshot.listed());
        let timestamp =
            self.signed(TufRole::Timestamp, Document::of("timestamp", &timestamp)?).await?;
        let documents = vec![root, targets, snapshot, timestamp];
        check(old, &documents, now)?;
        Ok(documents)
    }

    /// The next root. A key has an id of its own choice in the old one, and its hash in the new one,
    /// so its signature is there under both.
    async fn signed_root(&self, old: &Old, expires: Timestamp) -> Result<Document, MigrateError> {
        let mut root = Root {
            spec_version: SPEC_VERSION.to_owned(),
            consistent_snapshot: true,
            version: next(&old.root),
            expires,
            keys: HashMap::new(),
            roles: HashMap::new(),
            _extra: HashMap::new(),
        };
        for (role, (keys, threshold)) in &self.roles {
            set_root_keys(&mut root, *role, (keys, *threshold));
        }
        let mut document = self.signed(TufRole::Root, Document::of("root", &root)?).await?;
        for (id, key) in old.authority(TufRole::Root).0 {
            document.sign_again(&key.id(), id);
        }
        Ok(document)
    }

    async fn signed(&self, role: TufRole, mut document: Document) -> Result<Document, SignError> {
        let ids: BTreeSet<_> = self.roles[&role].0.iter().map(PublicKey::id).collect();
        for key in self.keys.iter().filter(|key| ids.contains(&key.public().id())) {
            document.sign(key).await?;
        }
        Ok(document)
    }
}

/// The version after that of `signed`.
fn next(signed: &Value) -> NonZeroU64 {
    let before = signed["version"].as_u64().and_then(NonZeroU64::new);
    before.map_or(NonZeroU64::MIN, |it| it.saturating_add(1))
}

/// Whether every client can read it, and one that pinned the first root gets there.
fn check(old: &Old, documents: &[Document], now: Timestamp) -> Result<(), MigrateError> {
    let problems: Vec<_> = documents.iter().flat_map(|it| strict::problems(&it.signed())).collect();
    if !problems.is_empty() {
        return Err(MigrateError::NotStrict { problems });
    }
    let bytes = |role: &str| {
        let document = documents.iter().find(|it| it.role == role);
        document.map(|it| it.bytes().to_vec()).unwrap_or_default()
    };
    let reading = Reading {
        roots: old.roots.iter().cloned().chain([bytes("root")]).collect(),
        timestamp: bytes("timestamp"),
        snapshot: bytes("snapshot"),
        targets: Some(bytes("targets")),
        delegated: Vec::new(),
    };
    reading.check(now).map_err(MigrateError::ReadBack)
}

/// Copies every file that is listed, under the name that its hash gives it; returns what lists them.
fn copy_targets(old: &Old, to: &Utf8Path) -> Result<Targets, MigrateError> {
    disk::make_dir(to.as_std_path(), Access::World).map_err(written(to))?;
    let mut targets = no_targets();
    if let Some(delegations) = old.targets.get("delegations").filter(|it| !it.is_null()) {
        targets.delegations = delegations_of(delegations)?;
    }
    for (name, about) in old.targets()? {
        let copy = Copied::of(&old.file_of(name, about), (name, about), to)?;
        let custom = about.get("custom").and_then(Value::as_object).cloned().unwrap_or_default();
        let target = Target {
            length: copy.length,
            hashes: sha256_hashes(&copy.sha256),
            custom: custom.into_iter().collect(),
            _extra: HashMap::new(),
        };
        targets.add_target(tuf_name(name), target);
    }
    for bytes in old.delegated.values() {
        let file: Value = serde_json::from_slice(bytes).unwrap_or_default();
        for (name, about) in file["signed"]["targets"].as_object().into_iter().flatten() {
            let Some(about) = about.as_object() else { continue };
            Copied::of(&old.file_of(name, about), (name, about), to)?;
        }
    }
    Ok(targets)
}

fn tuf_name(name: &str) -> tough::TargetName {
    tough::TargetName::new(name).expect("names that are not plain were refused")
}

fn delegations_of(value: &Value) -> Result<Option<Delegations>, MigrateError> {
    let delegations: Delegations = serde_json::from_value(value.clone())
        .map_err(|source| MigrateError::Delegations(Box::new(source)))?;
    Ok(Some(delegations).filter(|it| !it.roles.is_empty()))
}

struct Copied {
    length: u64,
    sha256: Vec<u8>,
}

impl Copied {
    /// Copies the file at `from`, if it is what is listed.
    fn of(
        from: &Utf8Path,
        (name, about): (&str, &Map<String, Value>),
        to: &Utf8Path,
    ) -> Result<Self, MigrateError> {
        let unreadable = |source| MigrateError::Read { path: from.to_owned(), source };
        let bytes = fs::read(from).map_err(unreadable)?;
        let (sha256, sha512) = (Sha256::digest(&bytes), Sha512::digest(&bytes));
        let hashes = about.get("hashes").and_then(Value::as_object).cloned().unwrap_or_default();
        let is = |kind: &str, hash: &[u8]| {
            hashes.get(kind).map(|it| it.as_str() == Some(hex::encode(hash).as_str()))
        };
        let found = [is("sha256", &sha256), is("sha512", &sha512)];
        let is_listed = found.contains(&Some(true)) && !found.contains(&Some(false));
        let length = bytes.len() as u64;
        if !is_listed || about.get("length").and_then(Value::as_u64) != Some(length) {
            return Err(MigrateError::Differs { path: from.to_owned() });
        }
        let path = to.join(published_as(name, &sha256));
        disk::make_dir(disk::parent(path.as_std_path()), Access::World).map_err(written(&path))?;
        disk::replace(path.as_std_path(), &bytes, Access::World).map_err(written(&path))?;
        Ok(Self { length, sha256: sha256.to_vec() })
    }
}

fn written(path: &Utf8Path) -> impl FnOnce(io::Error) -> MigrateError + use<> {
    let path = path.to_owned();
    move |source| MigrateError::Write { path, source }
}

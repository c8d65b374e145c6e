//! The repository of another tool, as its readers see it: verified from its first root by the half of
//! this crate that reads, in whatever form its metadata is.

use std::{collections::BTreeMap, fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::MigrateError;
use crate::{
    keys::{PublicKey, TufRole},
    repository::targets_of,
    verify::{Reading, RootChain},
};

/// The newest metadata, verified. Whether it expired does not matter.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) dir: Utf8PathBuf,
    /// From the first to the newest.
    pub(super) roots: Vec<Vec<u8>>,
    /// The signed parts.
    pub(super) root: Value,
    pub(super) timestamp: Value,
    pub(super) snapshot: Value,
    pub(super) targets: Value,
    /// The files of delegated roles, by role.
    pub(super) delegated: BTreeMap<String, Vec<u8>>,
}

impl Old {
    pub(super) fn read(dir: &Utf8Path) -> Result<Self, MigrateError> {
        let roots = roots(dir)?;
        let newest = roots.last().map(Vec::as_slice).unwrap_or_default();
        let root = signed(&dir.join("root.json"), newest)?;
        let is_consistent = root["consistent_snapshot"] == true;
        let file = |above: &Value, name: &str| {
            let version = &above["meta"][name]["version"];
            let name = if is_consistent { format!("{version}.{name}") } else { name.to_owned() };
            read(&dir.join(name))
        };
        let path = dir.join("timestamp.json");
        let timestamp_bytes = read(&path)?;
        let timestamp = signed(&path, &timestamp_bytes)?;
        let snapshot_bytes = file(&timestamp, "snapshot.json")?;
        let snapshot = signed(&dir.join("snapshot.json"), &snapshot_bytes)?;
        let targets_bytes = file(&snapshot, "targets.json")?;
        let targets = signed(&dir.join("targets.json"), &targets_bytes)?;
        let mut delegated = BTreeMap::new();
        for role in delegated_roles(&targets) {
            if snapshot["meta"].get(format!("{role}.json")).is_some() {
                delegated.insert(role.to_owned(), file(&snapshot, &format!("{role}.json"))?);
            }
        }
        let reading = Reading {
            roots: roots.clone(),
            timestamp: timestamp_bytes,
            snapshot: snapshot_bytes,
            targets: Some(targets_bytes),
            delegated: delegated.clone().into_iter().collect(),
        };
        reading
            .check(Timestamp::MIN)
            .map_err(|source| MigrateError::Refused { dir: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), roots, root, timestamp, snapshot, targets, delegated })
    }

    /// The keys of a role by the ids that the root has them under, and how many must sign. A key that
    /// not every client reads is none.
    pub(super) fn authority(&self, role: TufRole) -> (BTreeMap<String, PublicKey>, u64) {
        let about = &self.root["roles"][role.as_str()];
        let ids = about["keyids"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let keys = ids.filter_map(|id| Some((id.to_owned(), plain_key(&self.root["keys"][id])?)));
        (keys.collect(), about["threshold"].as_u64().unwrap_or(u64::MAX))
    }

    /// What `targets` lists.
    pub(super) fn targets(&self) -> Result<Vec<Listed<'_>>, MigrateError> {
        let mut listed = Vec::new();
        for (name, about) in self.targets["targets"].as_object().into_iter().flatten() {
            let is_plain = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
                && !name.contains('\\');
            match about.as_object().filter(|_| is_plain) {
                Some(about) => listed.push((name.as_str(), about)),
                None => return Err(MigrateError::Name { name: name.clone() }),
            }
        }
        Ok(listed)
    }

    /// Where the file of a target is.
    pub(super) fn file_of(&self, name: &str, about: &Map<String, Value>) -> Utf8PathBuf {
        let dir = targets_of(&self.dir);
        let (parent, file) = name.rsplit_once('/').unwrap_or(("", name));
        let hashes = about.get("hashes").and_then(Value::as_object).into_iter().flatten();
        let hashed = hashes.filter_map(|(_, hash)| hash.as_str()).flat_map(|hash| {
            let of_tough = dir.join(format!("{hash}.{name}"));
            [dir.join(parent).join(format!("{hash}.{file}")), of_tough]
        });
        let mut places = hashed.chain([dir.join(name)]);
        places.find(|path| path.is_file()).unwrap_or_else(|| dir.join(name))
    }
}

/// A target's name, and what is said of it.
pub(super) type Listed<'a> = (&'a str, &'a Map<String, Value>);

fn delegated_roles(targets: &Value) -> impl Iterator<Item = &str> {
    let roles = targets["delegations"]["roles"].as_array().into_iter().flatten();
    roles.filter_map(|role| role["name"].as_str())
}

/// A key with nothing but what the specification gives it, under the name that it has for the kind.
fn plain_key(key: &Value) -> Option<PublicKey> {
    let kind = match key["keytype"].as_str()? {
        "ecdsa-sha2-nistp256" => "ecdsa",
        other => other,
    };
    let text = key["keyval"]["public"].as_str()?;
    if text.contains("-----BEGIN") {
        // The text is part of a key, and others break its lines elsewhere.
        return PublicKey::from_pem(text).ok().filter(|it| it.kind() == kind);
    }
    let plain = serde_json::json!({
        "keytype": kind, "scheme": key["scheme"], "keyval": {"public": text},
    });
    serde_json::from_value(plain).ok().map(PublicKey::new)
}

fn roots(dir: &Utf8Path) -> Result<Vec<Vec<u8>>, MigrateError> {
    let (mut chain, mut roots) = (RootChain::default(), Vec::<Vec<u8>>::new());
    loop {
        let path = dir.join(format!("{}.root.json", roots.len() + 1));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !roots.is_empty() => {
                return Ok(roots);
            }
            Err(source) => return Err(MigrateError::Read { path, source }),
        };
        chain
            .follow(&bytes)
            .map_err(|source| MigrateError::Refused { dir: dir.to_owned(), source })?;
        roots.push(bytes);
    }
}

fn signed(path: &Utf8Path, bytes: &[u8]) -> Result<Value, MigrateError> {
    let mut file: Value = serde_json::from_slice(bytes)
        .map_err(|source| MigrateError::Read { path: path.to_owned(), source: source.into() })?;
    Ok(file["signed"].take())
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, MigrateError> {
    fs::read(path).map_err(|source| MigrateError::Read { path: path.to_owned(), source })
}

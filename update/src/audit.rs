//! A published repository, checked whole: as a client reads it that trusts nothing but the first
//! root, down to the content of every target's file.
//!
//! Nothing of [`editor`](crate::editor) is used, so that a mistake there shows here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{
    disk,
    store::Store,
    transport::Transport,
    verify::{MetadataSource, SigstoreVerifier, Verifier, VerifyError},
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Everything that is wrong; nothing: a client can read all of it.
    pub problems: Vec<String>,
    /// The roles that list targets, and the versions of their metadata.
    pub roles: BTreeMap<String, u64>,
    /// How many targets they list.
    pub targets: usize,
    /// How long the targets' files are together, in bytes. One that several targets share counts for
    /// each.
    pub bytes: u64,
}

/// Checks what is published in `dir`, from its `1.root.json`. A repository that a client refuses as
/// a whole is an error; single targets that it cannot have are problems of the result.
pub async fn audit(dir: &Utf8Path, now: Timestamp) -> Result<Audit, AuditError> {
    let first = dir.join("1.root.json");
    let root = read(&first)?;
    let in_store = |(path, source): (std::path::PathBuf, io::Error)| AuditError::Read {
        path: Utf8PathBuf::from_path_buf(path).unwrap_or_default(),
        source,
    };
    let home = tempfile::tempdir().map_err(|source| in_store((std::env::temp_dir(), source)))?;
    let store = Store::open(home.path(), &root).map_err(in_store)?;
    let source = MetadataSource::Published(Transport::Directory(dir.to_owned()));
    let mut client = SigstoreVerifier::new(&root, source, store).map_err(AuditError::Refused)?;
    client.refresh(now).await.map_err(AuditError::Refused)?;

    let mut found = Audit { problems: Vec::new(), roles: BTreeMap::new(), targets: 0, bytes: 0 };
    let listed = client.listed();
    for (role, version) in &listed.roles {
        let path = dir.join(format!("{version}.{role}.json"));
        let metadata: Value = match serde_json::from_slice(&read(&path)?) {
            Ok(metadata) => metadata,
            Err(_) => {
                found.problems.push(format!("`{path}` is not metadata"));
                continue;
            }
        };
        found.roles.insert(role.clone(), *version);
        let targets = metadata["signed"]["targets"].as_object().cloned().unwrap_or_default();
        for (name, about) in targets {
            found.check(dir, &mut client, (&name, &about, role), now).await;
        }
    }
    let unlisted = listed.delegated.iter().filter(|role| !listed.roles.contains_key(*role));
    let problems = unlisted.map(|role| format!("the snapshot does not list the role `{role}`"));
    found.problems.extend(problems);
    Ok(found)
}

impl Audit {
    async fn check(
        &mut self,
        dir: &Utf8Path,
        client: &mut SigstoreVerifier,
        (name, about, role): (&str, &Value, &str),
        now: Timestamp,
    ) {
        self.targets += 1;
        let target = match client.resolve(name, now).await {
            Ok(Some(target)) => target,
            Ok(None) => {
                self.problems.push(format!("`{role}` lists `{name}`, and clients do not find it"));
                return;
            }
            Err(error) => {
                self.problems.push(format!("`{name}`: {error}"));
                return;
            }
        };
        if about["hashes"]["sha256"].as_str() != Some(&target.sha256) {
            let problem = format!("`{role}` lists `{name}`, and clients find another one");
            self.problems.push(problem);
        }
        self.bytes += target.length;
        let path = dir.join("targets").join(&target.file);
        match disk::hash(path.as_std_path()) {
            Ok((sha256, length)) if (&sha256, length) == (&target.sha256, target.length) => {}
            Ok(_) => self.problems.push(format!("`{path}` is not the file that was signed for")),
            Err(error) => self.problems.push(format!("could not read `{path}`: {error}")),
        }
    }
}

/// What a snapshot lists, and what the targets metadata delegates to.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Delegated roles, and `targets`, that somebody can read, with their versions.
    pub(crate) roles: BTreeMap<String, u64>,
    pub(crate) delegated: BTreeSet<String>,
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, AuditError> {
    fs::read(path).map_err(|source| AuditError::Read { path: path.to_owned(), source })
}

/// Why a repository cannot be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file that cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Clients refuse the repository.
    #[error("clients refuse the repository")]
    Refused(#[source] VerifyError),
}

//! What other repositories do differently: where every client reads it, so do we; where every client
//! refuses it, so do we.

use std::fs;

use camino::Utf8Path;
use update::{
    Connection, Location, Repository, RepositoryConfig,
    repository::{OfferError, OpenError, VerifyError},
};

use crate::{
    fixture::{ignore, now, orbit_on, utf8},
    python,
};

#[tokio::test]
async fn variants_are_read_or_refused_as_by_every_client() {
    let dir = tempfile::tempdir().unwrap();
    let out = utf8(dir.path()).join("variants");
    let printed = python::run("variants.py", &[out.as_str(), &now().to_string()]).await.unwrap();
    let names: Vec<_> = printed.lines().collect();
    assert!(names.len() >= 44, "{names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let outcome = read(&out.join(name)).await;
        if outcome.is_ok() == name.starts_with("refused: ") {
            wrong.push(format!("{name}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file beside the repository, of the very content that is signed for, is not read.
#[tokio::test]
async fn a_release_of_a_file_that_is_not_in_the_repository_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let out = utf8(dir.path()).join("variants");
    python::run("variants.py", &[out.as_str(), &now().to_string()]).await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    let repository = out.join("target beyond the repository");
    let mut reader = open(&repository, utf8(cache.path())).unwrap();
    reader.refresh(now()).await.unwrap();
    let error = reader.offer(&orbit_on("stable"), now()).await.unwrap_err();
    let OfferError::Resolve(VerifyError::Name { target }) = &error else { panic!("{error:?}") };
    assert_eq!(target, "../../x");
    let found = reader.find("../../x", now()).await;
    assert!(matches!(found, Err(OfferError::Resolve(VerifyError::Name { .. }))), "{found:?}");
}

fn open(repository: &Utf8Path, cache: &Utf8Path) -> Result<Repository, OpenError> {
    Repository::open(RepositoryConfig {
        pinned_root: fs::read(repository.join("1.root.json")).unwrap(),
        location: Location::Directory(repository.to_owned()),
        cache_dir: cache.to_owned(),
        connection: Connection::default(),
        offline: false,
    })
}

async fn read(repository: &Utf8Path) -> Result<(), String> {
    let cache = tempfile::tempdir().unwrap();
    let reader = open(repository, utf8(cache.path()));
    let mut reader = reader.map_err(|error| format!("{error:?}"))?;
    reader.refresh(now()).await.map_err(|error| format!("{error:?}"))?;
    let fetched = reader.fetch(&[orbit_on("stable")], now(), &ignore).await;
    let fetched = fetched.map_err(|error| format!("{error:?}"))?;
    assert_eq!(fs::read(&fetched[0].path).unwrap(), b"orbit of a variant");
    Ok(())
}

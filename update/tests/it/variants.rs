//! What other repositories do differently: where every client reads it, so do we; where every client
//! refuses it, so do we.

use std::fs;

use camino::Utf8Path;
use update::{Connection, Location, Repository, RepositoryConfig};

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

async fn read(repository: &Utf8Path) -> Result<(), String> {
    let cache = tempfile::tempdir().unwrap();
    let mut reader = Repository::open(RepositoryConfig {
        pinned_root: fs::read(repository.join("1.root.json")).unwrap(),
        location: Location::Directory(repository.to_owned()),
        cache_dir: utf8(cache.path()).to_owned(),
        connection: Connection::default(),
        offline: false,
    })
    .map_err(|error| format!("{error:?}"))?;
    reader.refresh(now()).await.map_err(|error| format!("{error:?}"))?;
    let fetched = reader.fetch(&[orbit_on("stable")], now(), &ignore).await;
    let fetched = fetched.map_err(|error| format!("{error:?}"))?;
    assert_eq!(fs::read(&fetched[0].path).unwrap(), b"orbit of a variant");
    Ok(())
}

//! Repositories of ours read by others, and theirs by us.

use std::fs;

use camino::Utf8Path;
use sha2::{Digest, Sha256};
use tough::schema::{Role, Root, Signed, Snapshot, Targets, Timestamp};
use update::{
    Addition, Component, Connection, Location, Repository, RepositoryConfig,
    repository::{RefreshError, VerifyError},
};

use crate::{
    fixture::{Fixture, fetch_stable, now, utf8},
    python,
    server::{Answer, Server},
};

/// A repository with several components, changed more than once.
async fn lived_in() -> Fixture {
    let mut fixture = Fixture::with_orbit().await;
    let osqueryd =
        Addition { program: Component::Osqueryd.into(), ..fixture.orbit("5.9.1", b"osquery") };
    fixture.add(&[osqueryd, fixture.orbit("1.1.0", b"orbit, the second")]).await;
    fixture
}

#[tokio::test]
async fn python_tuf_reads_our_repository() {
    let fixture = lived_in().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let (root, out) = (fixture.editor.repository_dir().join("1.root.json"), fixture.path("python"));
    let names: Vec<_> =
        fixture.editor.status(now()).unwrap().targets.into_iter().map(|it| it.name).collect();
    assert_eq!(names.len(), 5);
    let moment = now().to_string();
    let mut args = vec![root.as_str(), server.url(), out.as_str(), &moment];
    args.extend(names.iter().map(String::as_str));
    let printed = python::run("read_repository.py", &args).await.unwrap();
    for target in fixture.editor.status(now()).unwrap().targets {
        let line = printed
            .lines()
            .find(|line| line.starts_with(&format!("{} {}", target.name, target.sha256)));
        let version = format!("\"version\": \"{}\"", target.version.unwrap());
        assert!(line.is_some_and(|line| line.contains(&version)), "{} in {printed}", target.name);
    }
}

#[tokio::test]
async fn sigstore_tuf_reads_our_repository_by_itself() {
    let fixture = lived_in().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let repository = sigstore_tuf::HttpRepository::new(server.url()).unwrap();
    let mut updater = sigstore_tuf::Updater::new(repository, fixture.editor.root_json()).unwrap();
    updater.refresh(now()).await.unwrap();
    let content = updater.get_target("orbit/linux/stable/orbit", now()).await.unwrap();
    assert_eq!(content, b"orbit, the second");
}

#[tokio::test]
async fn tough_verifies_our_metadata() {
    let fixture = lived_in().await;
    let dir = fixture.editor.repository_dir();
    let root: Signed<Root> = read(dir, "1.root.json");
    root.signed.verify_role(&root).unwrap();
    verify::<Targets>(&root.signed, dir, "3.targets.json");
    verify::<Snapshot>(&root.signed, dir, "3.snapshot.json");
    verify::<Timestamp>(&root.signed, dir, "timestamp.json");
}

fn read<T: serde::de::DeserializeOwned>(dir: &Utf8Path, name: &str) -> Signed<T> {
    serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
}

fn verify<T: Role + serde::de::DeserializeOwned>(root: &Root, dir: &Utf8Path, name: &str) {
    root.verify_role(&read::<T>(dir, name)).unwrap();
}

#[tokio::test]
async fn what_we_write_is_what_every_client_reads() {
    let fixture = lived_in().await;
    let dir = fixture.editor.repository_dir();
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
    };
    for name in ["1.root.json", "3.targets.json", "3.snapshot.json", "timestamp.json"] {
        let signed = &json(name)["signed"];
        assert_eq!(signed["spec_version"], "1.0.31", "{name}");
        let expires = signed["expires"].as_str().unwrap();
        assert!(expires.len() == 20 && expires.ends_with('Z'), "{name}: {expires}");
        assert_eq!(json(name)["signatures"].as_array().unwrap().len(), 1, "{name}");
    }
    let root = &json("1.root.json")["signed"];
    assert_eq!(root["consistent_snapshot"], true);
    assert_eq!(root["roles"].as_object().unwrap().len(), 4);
    for (id, key) in root["keys"].as_object().unwrap() {
        let public = key["keyval"]["public"].as_str().unwrap();
        let canonical = format!(
            r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#
        );
        assert_eq!(*id, hex::encode(Sha256::digest(canonical)));
    }
    assert!(json("3.targets.json")["signed"].get("delegations").is_none());
    let listed: Vec<_> =
        json("timestamp.json")["signed"]["meta"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(listed, ["snapshot.json"]);
}

async fn written_by_python(flags: &[&str]) -> (tempfile::TempDir, RepositoryConfig) {
    let dir = tempfile::tempdir().unwrap();
    let repository = utf8(dir.path()).join("repository");
    let moment = now().to_string();
    let mut args = vec![repository.as_str(), &moment];
    args.extend(flags);
    python::run("write_repository.py", &args).await.unwrap();
    let config = RepositoryConfig {
        pinned_root: fs::read(repository.join("1.root.json")).unwrap(),
        location: Location::Directory(repository),
        cache_dir: utf8(dir.path()).join("cache"),
        connection: Connection::default(),
        offline: false,
    };
    (dir, config)
}

#[tokio::test]
async fn we_read_a_repository_of_python_tufs() {
    let (_dir, config) = written_by_python(&[]).await;
    let mut repository = Repository::open(config.clone()).unwrap();
    let fetched = fetch_stable(&mut repository).await.unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit by python");
    assert_eq!(fetched.version, "3.2.1");
    let offline = RepositoryConfig { offline: true, ..config };
    fetch_stable(&mut Repository::open(offline).unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_newest_root_is_kept_and_outlives_a_server_that_hides_it() {
    let (_dir, config) = written_by_python(&["rotate"]).await;
    let Location::Directory(dir) = &config.location else { unreachable!() };
    let server = Server::start(dir.clone()).await;
    let config = RepositoryConfig { location: server.location(), ..config.clone() };
    fetch_stable(&mut Repository::open(config.clone()).unwrap()).await.unwrap();

    server.answer("2.root.json", Answer::Status(axum::http::StatusCode::NOT_FOUND));
    fetch_stable(&mut Repository::open(config.clone()).unwrap()).await.unwrap();
    server
        .answer("timestamp.json", Answer::Bytes(fs::read(dir.join("old-timestamp.json")).unwrap()));
    let error = Repository::open(config).unwrap().refresh(now()).await.unwrap_err();
    let RefreshError::Refused { source: VerifyError::Unsigned { role, .. }, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(role, "timestamp");
}

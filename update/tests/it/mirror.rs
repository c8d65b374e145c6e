//! A copy of the repository elsewhere, brought up to date under its readers' eyes.

use std::fs;

use camino::Utf8Path;
use update::{Edit, Location, Repository, RepositoryConfig, editor::MirrorError, keys::Algorithm};

use crate::fixture::{Fixture, copy_tree, fetch_stable, now, passphrase, terms, utf8};

#[tokio::test]
async fn a_copy_has_what_is_missing_and_nothing_is_copied_twice() {
    let mut fixture = Fixture::with_orbit().await;
    let www = fixture.path("www");
    let first = fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap();
    assert_eq!(first.last().unwrap(), "timestamp.json");
    assert_eq!(fixture.editor.mirror(&www, now()).unwrap().names(), [""; 0]);
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let second = fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap();
    assert_eq!(second.len(), 5, "{second:?}");
    let mut reader = fixture.reader(Location::Directory(www.clone()));
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.1.0");
    assert!(!www.join("keys").exists());
}

/// Whether keys change or files: a reader who comes at any moment reads the old state or the new one.
#[tokio::test]
async fn a_copy_broken_off_anywhere_is_before_or_after_and_goes_on() {
    for rotates in [false, true] {
        let mut fixture = Fixture::with_own_keys().await;
        let www = fixture.path("www");
        fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap();
        fixture.publish_orbit("1.1.0", b"orbit, the second").await;
        if rotates {
            rotate_timestamp(&mut fixture).await;
        }
        let names = fixture.editor.mirror(&www, now()).unwrap().names().to_vec();
        assert!(names.len() >= 5, "{names:?}");
        let mut seen = Vec::new();
        for name in &names {
            seen.push(first_seen(&fixture, &www).await);
            let mirror = fixture.editor.mirror(&www, now()).unwrap();
            assert_eq!(mirror.names()[0], *name, "it goes on where it stopped");
            mirror.copy(name).unwrap();
        }
        seen.push(first_seen(&fixture, &www).await);
        assert!(seen.is_sorted() && seen[0] == "1.0.0", "{seen:?}");
        assert_eq!(seen.last().unwrap(), "1.1.0");
    }
}

/// The stable version for somebody who trusts the first root and was never here.
async fn first_seen(fixture: &Fixture, www: &Utf8Path) -> String {
    let cache = tempfile::tempdir().unwrap();
    let mut reader = Repository::open(RepositoryConfig {
        pinned_root: fs::read(www.join("1.root.json")).unwrap(),
        cache_dir: utf8(cache.path()).to_owned(),
        ..fixture.config(Location::Directory(www.to_owned()))
    });
    fetch_stable(reader.as_mut().unwrap()).await.unwrap().version
}

async fn rotate_timestamp(fixture: &mut Fixture) {
    let keys = fixture.editor.keys();
    let new = keys.generate("timestamp-2", Algorithm::Ed25519, &passphrase()).unwrap();
    let status = fixture.editor.status(now()).unwrap();
    let old = status.roles.last().unwrap().keys[0].clone();
    let change = update::editor::KeyChange {
        role: "timestamp".to_owned(),
        add: vec![new.public()],
        remove: vec![old],
        threshold: None,
    };
    let edit = Edit::SetKeys { changes: vec![change], is_compromised: false };
    let unlock = |name: &str| keys.unlock(name, &passphrase()).unwrap();
    let all = ["root", "targets", "snapshot", "timestamp", "timestamp-2"].map(unlock);
    fixture.editor.apply(&edit, &terms(&all)).await.unwrap();
}

#[tokio::test]
async fn what_is_no_older_copy_is_not_touched() {
    let mut fixture = Fixture::with_orbit().await;
    let other = Fixture::with_own_keys().await;
    let www = fixture.path("www");
    copy_tree(other.editor.repository_dir(), &www);
    let error = fixture.editor.mirror(&www, now()).unwrap_err();
    assert!(matches!(error, MirrorError::AnotherRepository { .. }), "{error:?}");
    fs::remove_dir_all(&www).unwrap();

    let old = fixture.snapshot("old");
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap();
    fs::write(www.join("2.targets.json"), "{}").unwrap();
    let error = fixture.editor.mirror(&www, now()).unwrap_err();
    assert!(matches!(&error, MirrorError::Differs { path } if path.ends_with("2.targets.json")));

    fs::remove_dir_all(fixture.editor.repository_dir()).unwrap();
    copy_tree(&old, fixture.editor.repository_dir());
    let behind = update::Editor::open(&fixture.path("tuf")).unwrap();
    let error = behind.mirror(&www, now()).unwrap_err();
    assert!(matches!(error, MirrorError::Newer { .. }), "{error:?}");
}

#[tokio::test]
async fn what_would_be_copied_is_told_without_a_trace() {
    let fixture = Fixture::with_orbit().await;
    let www = fixture.path("www");
    let told = fixture.editor.missing_in(&www, now()).unwrap();
    assert!(!www.exists());
    assert_eq!(fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap(), told);
}

#[tokio::test]
async fn a_damaged_file_of_a_copy_is_replaced_and_one_of_ours_goes_nowhere() {
    let fixture = Fixture::with_orbit().await;
    let www = fixture.path("www");
    let copied = fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap();
    let name = copied.iter().find(|it| it.starts_with("targets/orbit/linux/stable")).unwrap();
    let good = fs::read(www.join(name)).unwrap();
    let bad = vec![b'x'; good.len()];
    fs::write(www.join(name), &bad).unwrap();
    let again = fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap();
    assert_eq!((again.len(), &again[0]), (1, name));
    assert_eq!(fs::read(www.join(name)).unwrap(), good);

    let ours = fixture.editor.repository_dir().join(name);
    fs::remove_file(&ours).unwrap();
    fs::write(&ours, bad).unwrap();
    fs::remove_file(www.join(name)).unwrap();
    let error = fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap_err();
    assert!(matches!(&error, MirrorError::Differs { path } if *path == ours), "{error:?}");
    assert!(!www.join(name).exists());
}

/// A repository put back from a copy goes on with a root of its own: its readers would take its
/// timestamps for old ones, unless other keys sign them.
#[tokio::test]
async fn a_newer_root_does_not_make_an_older_timestamp_new() {
    let mut fixture = Fixture::with_own_keys().await;
    let www = fixture.path("www");
    let old = fixture.snapshot("old");
    let log = fs::read(fixture.path("tuf/log.jsonl")).unwrap();
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    fixture.publish_orbit("1.2.0", b"orbit, the third").await;
    fixture.editor.mirror(&www, now()).unwrap().copy_all().unwrap();
    fs::remove_dir_all(fixture.editor.repository_dir()).unwrap();
    copy_tree(&old, fixture.editor.repository_dir());
    fs::write(fixture.path("tuf/log.jsonl"), log).unwrap();
    fixture.apply(&Edit::Renew("root".to_owned())).await.unwrap();
    let error = fixture.editor.mirror(&www, now()).unwrap_err();
    assert!(matches!(error, MirrorError::Newer { .. }), "{error:?}");
    rotate_timestamp(&mut fixture).await;
    let error = fixture.editor.mirror(&www, now()).map(drop);
    assert!(!matches!(error, Err(MirrorError::Newer { .. })), "{error:?}");
}

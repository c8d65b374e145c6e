//! Fetching: what it gives, what it asks for, what it keeps.

use std::{fs, os::unix::fs::PermissionsExt, sync::Mutex};

use update::{
    Channel, Component, Location, Progress, Repository, RepositoryConfig, TargetName,
    UpdatePlatform,
    repository::{FetchError, OpenError, RefreshError, VerifyError},
};

use crate::{
    fixture::{Fixture, days_later, fetch_stable, ignore, now, orbit_on, utf8},
    server::Server,
};

#[tokio::test]
async fn a_component_is_fetched_with_what_its_publisher_says_of_it() {
    let fixture = Fixture::with_own_keys().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let fetched = fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit, the first");
    assert_eq!((fetched.component, fetched.platform), (Component::Orbit, UpdatePlatform::Linux));
    assert_eq!((fetched.version.as_str(), fetched.length), ("1.0.0", 16));
    let source = fs::metadata(fixture.path("orbit-1.0.0")).unwrap().modified().unwrap();
    let source = jiff::Timestamp::try_from(source).unwrap();
    assert_eq!(fetched.modified.map(jiff::Timestamp::as_second), Some(source.as_second()));
}

#[tokio::test]
async fn a_directory_is_read_like_a_server() {
    let fixture = Fixture::with_orbit().await;
    let dir = fixture.editor.repository_dir();
    for location in [dir.to_string(), format!("file://{dir}")] {
        let location: Location = location.parse().unwrap();
        assert_eq!(location, Location::Directory(dir.to_owned()));
        let fetched = fetch_stable(&mut fixture.reader(location)).await.unwrap();
        assert_eq!(fs::read(fetched.path).unwrap(), b"orbit, the first");
    }
}

#[tokio::test]
async fn fetching_again_asks_for_metadata_alone() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    assert_eq!(server.take_requests().len(), 5);
    fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    assert_eq!(server.take_requests(), ["2.root.json", "timestamp.json"]);
}

#[tokio::test]
async fn offline_needs_no_server() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    let config = RepositoryConfig { offline: true, ..fixture.config(server.location()) };
    drop(server);
    let fetched = fetch_stable(&mut Repository::open(config).unwrap()).await.unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), b"orbit, the first");
}

#[tokio::test]
async fn offline_says_what_is_not_in_the_cache() {
    let mut fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let config = RepositoryConfig { offline: true, ..fixture.config(server.location()) };
    let mut offline = Repository::open(config.clone()).unwrap();
    assert!(matches!(offline.refresh(now()).await, Err(RefreshError::NothingStored { .. })));

    fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    fixture.reader(server.location()).refresh(now()).await.unwrap();
    server.take_requests();
    let error = fetch_stable(&mut Repository::open(config).unwrap()).await.unwrap_err();
    assert!(matches!(error, FetchError::NotCached { .. }), "{error:?}");
    assert!(server.take_requests().is_empty());
}

#[tokio::test]
async fn expired_metadata_is_refused_offline_too() {
    let fixture = Fixture::with_orbit().await;
    let location = Location::Directory(fixture.editor.repository_dir().to_owned());
    fetch_stable(&mut fixture.reader(location.clone())).await.unwrap();
    let mut offline =
        Repository::open(RepositoryConfig { offline: true, ..fixture.config(location) }).unwrap();
    let error = offline.refresh(days_later(8)).await.unwrap_err();
    let RefreshError::Refused { source: VerifyError::Expired { role, .. }, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(role, "timestamp");
    assert!(error.help().unwrap().contains("timestamp key"));
}

#[tokio::test]
async fn a_damaged_cache_is_noticed_and_mended() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let fetched = fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    for damage in [&b"orbit, the worst"[..], b""] {
        fs::write(&fetched.path, damage).unwrap();
        let again = fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
        assert_eq!(fs::read(again.path).unwrap(), b"orbit, the first");
    }
    fs::write(&fetched.path, "damaged").unwrap();
    let offline = RepositoryConfig { offline: true, ..fixture.config(server.location()) };
    let error = fetch_stable(&mut Repository::open(offline).unwrap()).await.unwrap_err();
    assert!(matches!(error, FetchError::NotCached { .. }), "{error:?}");
}

#[tokio::test]
async fn damaged_stored_metadata_is_fetched_again() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    let stores = fs::read_dir(fixture.path("cache/metadata")).unwrap();
    for store in stores {
        for role in ["timestamp.json", "snapshot.json", "targets.json", "root.json"] {
            fs::write(store.as_ref().unwrap().path().join(role), "{").unwrap();
        }
    }
    fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
}

#[tokio::test]
async fn the_cache_is_private_and_holds_no_leftovers() {
    let fixture = Fixture::with_orbit().await;
    let location = Location::Directory(fixture.editor.repository_dir().to_owned());
    fetch_stable(&mut fixture.reader(location.clone())).await.unwrap();
    let store = fs::read_dir(fixture.path("cache/metadata")).unwrap().next().unwrap().unwrap();
    let dirs = ["", "root_history"].map(|dir| store.path().join(dir));
    let dirs = [&dirs[..], &[fixture.path("cache/targets").into()]].concat();
    let leftovers: Vec<_> = dirs.iter().map(|it| it.join(".partial-abc")).collect();
    let is_left = || leftovers.iter().filter(|it| it.exists()).count();
    leftovers.iter().for_each(|it| fs::write(it, "half").unwrap());
    let foreign = store.path().join(".tmpabc");
    fs::write(&foreign, "whole").unwrap();
    fetch_stable(&mut fixture.reader(location.clone())).await.unwrap();
    assert_eq!((is_left(), foreign.exists()), (0, true));

    let somebody = fixture.reader(location.clone());
    leftovers.iter().for_each(|it| fs::write(it, "half").unwrap());
    fetch_stable(&mut fixture.reader(location)).await.unwrap();
    assert_eq!(is_left(), 3, "somebody may be writing them");
    drop(somebody);
    for dir in ["cache", "cache/targets", "cache/metadata"] {
        assert_eq!(
            fs::metadata(fixture.path(dir)).unwrap().permissions().mode() & 0o777,
            0o700,
            "{dir}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_share_one_cache() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let readers: Vec<_> = (0..16).map(|_| fixture.reader(server.location())).collect();
    let tasks = readers
        .into_iter()
        .map(|mut reader| tokio::spawn(async move { fetch_stable(&mut reader).await.unwrap() }));
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(fs::read(task.await.unwrap().path).unwrap(), b"orbit, the first");
    }
}

#[tokio::test]
async fn progress_ends_with_everything_done() {
    let mut fixture = Fixture::new().await;
    let big: Vec<u8> = (0..3_000_000_u32).map(|it| it as u8).collect();
    fixture.publish_orbit("1.0.0", &big).await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let mut reader = fixture.reader(server.location());
    reader.refresh(now()).await.unwrap();
    let seen = Mutex::new(Vec::new());
    let note = |progress: Progress| seen.lock().unwrap().push((progress.done, progress.total));
    reader.fetch(&[orbit_on("stable")], now(), &note).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() > 2 && seen.is_sorted(), "{}", seen.len());
    assert_eq!(seen.last(), Some(&(big.len() as u64, big.len() as u64)));
}

#[tokio::test]
async fn all_missing_targets_are_told_at_once() {
    let fixture = Fixture::with_orbit().await;
    let mut reader =
        fixture.reader(Location::Directory(fixture.editor.repository_dir().to_owned()));
    reader.refresh(now()).await.unwrap();
    let osqueryd = TargetName { component: Component::Osqueryd, ..orbit_on("stable") };
    let wanted = [orbit_on("stable"), orbit_on("edge"), osqueryd];
    let error = reader.fetch(&wanted, now(), &ignore).await.unwrap_err();
    let FetchError::NoSuchTargets { missing, .. } = &error else { panic!("{error:?}") };
    assert_eq!(missing, &["orbit/linux/edge/orbit", "osqueryd/linux/stable/osqueryd"]);
}

#[tokio::test]
async fn fetching_without_a_refresh_is_refused() {
    let fixture = Fixture::with_orbit().await;
    let mut reader =
        fixture.reader(Location::Directory(fixture.editor.repository_dir().to_owned()));
    assert!(matches!(
        reader.fetch(&[orbit_on("stable")], now(), &ignore).await,
        Err(FetchError::Resolve { .. })
    ));
}

#[tokio::test]
async fn the_desktop_program_is_taken_out_of_its_archive() {
    let mut fixture = Fixture::new().await;
    let mut tar =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o755);
    tar.append_data(&mut header, "fleet-desktop/fleet-desktop", &b"tray"[..]).unwrap();
    let archive = tar.into_inner().unwrap().finish().unwrap();
    let file = fixture.write("desktop.tar.gz", &archive);
    let addition = update::Addition {
        file,
        program: Component::Desktop.into(),
        ..fixture.orbit("1.0.0", b"unused")
    };
    fixture.add(&[addition]).await;

    let mut reader =
        fixture.reader(Location::Directory(fixture.editor.repository_dir().to_owned()));
    reader.refresh(now()).await.unwrap();
    let desktop = TargetName { component: Component::Desktop, ..orbit_on("stable") };
    let fetched = reader.fetch(&[desktop], now(), &ignore).await.unwrap();
    assert_eq!(fs::read(&fetched[0].path).unwrap(), b"tray");
    assert_eq!(fetched[0].length, 4);
}

#[tokio::test]
async fn what_is_no_repository_is_told_so() {
    let fixture = Fixture::new().await;
    let empty = tempfile::tempdir().unwrap();
    let mut reader = fixture.reader(Location::Directory(utf8(empty.path()).to_owned()));
    assert!(matches!(reader.refresh(now()).await, Err(RefreshError::NoRepository { .. })));
    let config = RepositoryConfig {
        pinned_root: b"{}".to_vec(),
        ..fixture.config(Location::Directory(utf8(empty.path()).to_owned()))
    };
    assert!(matches!(Repository::open(config), Err(OpenError::Root(_))));
}

#[test]
fn locations_are_urls_or_paths() {
    assert!(matches!("https://updates.example.org/x".parse(), Ok(Location::Url(_))));
    assert!(matches!("./repository".parse(), Ok(Location::Directory(_))));
    for bad in ["", "ftp://example.org/", "file://host/share", "https://"] {
        assert!(bad.parse::<Location>().is_err(), "{bad}");
    }
    let secret: Location = "https://user:hunter2@updates.example.org/?token=abc".parse().unwrap();
    assert!(!secret.to_string().contains("hunter2") && !secret.to_string().contains("abc"));
    assert_eq!(Channel::stable().to_string(), "stable");
}

//! What a hostile or broken server can do, and the error it earns.

use std::{error::Error, fs, time::Duration};

use update::{
    Connection, Edit, Location, Repository, RepositoryConfig,
    connection::Patience,
    editor::KeyChange,
    keys::Algorithm,
    repository::{DownloadError, FetchError, RefreshError, TransportError, VerifyError},
};

use crate::{
    fixture::{Fixture, days_later, fetch_stable, founding, now, orbit_on, passphrase, terms},
    server::{Answer, Server},
};

/// Where the server has the file of `orbit/linux/stable/orbit`.
fn stable_file(fixture: &Fixture) -> String {
    let status = fixture.editor.status(now()).unwrap();
    let stable = status.targets.iter().find(|it| it.name == "orbit/linux/stable/orbit").unwrap();
    format!("targets/orbit/linux/stable/{}.orbit", stable.sha256)
}

async fn refused_metadata(reader: &mut Repository) -> VerifyError {
    match reader.refresh(now()).await {
        Err(RefreshError::Refused { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

async fn refused_download(fixture: &Fixture, server: &Server) -> DownloadError {
    let outcome = fetch_stable(&mut fixture.reader(server.location())).await;
    let kept: Vec<_> = fs::read_dir(fixture.path("cache/targets"))
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(kept, ["lock"], "nothing of a refused file is kept");
    match outcome {
        Err(FetchError::Download { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_older_timestamp_is_a_rollback() {
    let mut fixture = Fixture::with_orbit().await;
    let old = fixture.snapshot("old");
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    server.switch_to(old);
    let error = refused_metadata(&mut fixture.reader(server.location())).await;
    assert!(matches!(error, VerifyError::Rollback { trusted: 3, offered: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn a_rollback_is_noticed_through_another_mirror_and_after_expiry() {
    let mut fixture = Fixture::with_orbit().await;
    let old = fixture.snapshot("old");
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let newest = Location::Directory(fixture.editor.repository_dir().to_owned());
    fetch_stable(&mut fixture.reader(newest)).await.unwrap();
    let mut mirror = fixture.reader(Location::Directory(old));
    let error = mirror.refresh(days_later(8)).await.unwrap_err();
    assert!(
        matches!(error, RefreshError::Refused { source: VerifyError::Rollback { .. }, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn metadata_that_nobody_signs_any_more_expires() {
    let fixture = Fixture::with_orbit().await;
    let location = Location::Directory(fixture.editor.repository_dir().to_owned());
    for (days, expected) in [(8, "timestamp"), (400, "root")] {
        let error = fixture.reader(location.clone()).refresh(days_later(days)).await.unwrap_err();
        let RefreshError::Refused { source: VerifyError::Expired { role, .. }, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(role, expected);
        assert!(error.help().unwrap().contains(expected));
    }
}

#[tokio::test]
async fn another_repository_is_refused_whatever_its_keys() {
    let (ours, theirs) = (Fixture::with_orbit().await, Fixture::with_own_keys().await);
    let location = Location::Directory(theirs.editor.repository_dir().to_owned());
    let error = refused_metadata(&mut ours.reader(location)).await;
    assert!(matches!(error, VerifyError::Unsigned { found: 0, threshold: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn edited_metadata_is_refused() {
    let fixture = Fixture::with_orbit().await;
    let path = fixture.editor.repository_dir().join("timestamp.json");
    let edited = fs::read_to_string(&path).unwrap().replace("2026-03-08", "2036-03-08");
    fs::write(&path, edited).unwrap();
    let location = Location::Directory(fixture.editor.repository_dir().to_owned());
    let error = refused_metadata(&mut fixture.reader(location)).await;
    assert!(
        matches!(&error, VerifyError::Unsigned { role, .. } if role == "timestamp"),
        "{error:?}"
    );
}

#[tokio::test]
async fn metadata_of_different_times_is_not_mixed() {
    let mut fixture = Fixture::with_orbit().await;
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let dir = fixture.editor.repository_dir();
    for role in ["snapshot", "targets"] {
        let server = Server::start(dir).await;
        let old = fs::read(dir.join(format!("2.{role}.json"))).unwrap();
        server.answer(&format!("3.{role}.json"), Answer::Bytes(old));
        let error = refused_metadata(&mut fixture.reader(server.location())).await;
        assert!(
            matches!(&error, VerifyError::Mismatch { detail } if detail.contains(role)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn metadata_without_end_is_cut_off() {
    let fixture = Fixture::with_orbit().await;
    for file in ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"] {
        let server = Server::start(fixture.editor.repository_dir()).await;
        server.answer(file, Answer::Endless);
        let error = refused_metadata(&mut fixture.reader(server.location())).await;
        let VerifyError::Transport(TransportError::TooLong { at, .. }) = &error else {
            panic!("{error:?}")
        };
        assert!(at.ends_with(file), "{at}");
    }
}

/// A server that sends a byte now and then: its connection never breaks, and nothing ever comes.
#[tokio::test]
async fn a_server_that_drips_is_not_listened_to_for_ever() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let metadata = Duration::from_millis(100);
    let patience = Patience { metadata, target: metadata, ..Patience::default() };
    let connection = Connection { patience, ..Connection::default() };
    let reader = || {
        let config = fixture.config(server.location());
        Repository::open(RepositoryConfig { connection: connection.clone(), ..config }).unwrap()
    };
    server.answer("timestamp.json", Answer::Drip);
    let error = refused_metadata(&mut reader()).await;
    let VerifyError::Transport(TransportError::Slow { at, limit }) = &error else {
        panic!("{error:?}")
    };
    assert!(at.ends_with("/timestamp.json") && *limit == metadata, "{error:?}");
    server.forget("timestamp.json");
    server.answer(&stable_file(&fixture), Answer::Stalled(b"orbit".to_vec()));
    let outcome = fetch_stable(&mut reader()).await;
    let Err(FetchError::Download { source, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(source, DownloadError::Transport(TransportError::Slow { .. })), "{source:?}");
    server.forget(&stable_file(&fixture));
    server.take_ranges();
    fetch_stable(&mut reader()).await.unwrap();
    assert_eq!(server.take_ranges(), ["bytes=5-"], "what came is gone on with");
}

#[tokio::test]
async fn a_tampered_target_is_refused() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer(&stable_file(&fixture), Answer::Bytes(b"orbit, the worst".to_vec()));
    let error = refused_download(&fixture, &server).await;
    assert!(matches!(error, DownloadError::Tampered { .. }), "{error:?}");
}

#[tokio::test]
async fn a_target_without_end_is_cut_off_at_its_length() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer(&stable_file(&fixture), Answer::Endless);
    let error = refused_download(&fixture, &server).await;
    assert!(matches!(error, DownloadError::Endless { length: 16, .. }), "{error:?}");
}

#[tokio::test]
async fn a_truncated_target_is_refused() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer(&stable_file(&fixture), Answer::Bytes(b"orbit".to_vec()));
    let error = refused_download(&fixture, &server).await;
    assert!(matches!(error, DownloadError::Truncated { received: 5, length: 16, .. }), "{error:?}");
}

#[tokio::test]
async fn a_broken_connection_is_told_and_what_came_is_gone_on_with() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let file = stable_file(&fixture);
    server.answer(&file, Answer::CutOff(b"orbit".to_vec()));
    let outcome = fetch_stable(&mut fixture.reader(server.location())).await;
    let Err(FetchError::Download { source, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(
        matches!(source, DownloadError::Transport(TransportError::Request { .. })),
        "{source:?}"
    );
    assert!(source.to_string().contains(server.url()));
    server.take_ranges();
    server.forget(&file);
    let mut reader = fixture.reader(server.location());
    reader.refresh(now()).await.unwrap();
    let offer = reader.offer(&orbit_on("stable"), now()).await.unwrap().unwrap();
    let missing = reader.missing_bytes(&offer.file, now()).await.unwrap();
    assert_eq!(missing, offer.file.length - 5, "what has come takes its room already");
    let fetched = fetch_stable(&mut reader).await.unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit, the first");
    assert_eq!(server.take_ranges(), ["bytes=5-"]);
    assert_eq!(reader.missing_bytes(&offer.file, now()).await.unwrap(), 0);
}

/// Many mirrors know their readers by a token in the address.
#[tokio::test]
async fn what_admits_a_reader_is_in_no_message() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer("timestamp.json", Answer::Status(axum::http::StatusCode::BAD_GATEWAY));
    for who in ["hunter2", "ann:hunter2", ":hunter2"] {
        let url = server.url().replace("http://", &format!("http://{who}@"));
        let location: update::Location = format!("{url}?sig=hunter2").parse().unwrap();
        let error = fixture.reader(location).refresh(now()).await.unwrap_err();
        let said = format!("{error:?} {error} {}", error.source().unwrap());
        assert!(said.contains("502") && !said.contains("hunter2"), "{said}");
        assert!(error.to_string().contains("redacted@"), "{error}");
    }
}

#[tokio::test]
async fn what_came_of_another_file_is_thrown_away() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let file = stable_file(&fixture);
    server.answer(&file, Answer::CutOff(b"other".to_vec()));
    fetch_stable(&mut fixture.reader(server.location())).await.unwrap_err();
    server.forget(&file);
    let fetched = fetch_stable(&mut fixture.reader(server.location())).await.unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit, the first");
}

#[tokio::test]
async fn a_listed_target_that_is_not_there_is_told() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer(&stable_file(&fixture), Answer::Status(axum::http::StatusCode::NOT_FOUND));
    let error = refused_download(&fixture, &server).await;
    assert!(matches!(error, DownloadError::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn a_failing_server_is_no_missing_repository() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer("2.root.json", Answer::Status(axum::http::StatusCode::BAD_GATEWAY));
    let error = refused_metadata(&mut fixture.reader(server.location())).await;
    assert!(matches!(error, VerifyError::Transport(TransportError::Status { .. })), "{error:?}");
}

#[tokio::test]
async fn an_unreachable_server_is_named_once() {
    let fixture = Fixture::new().await;
    let location: Location = "http://127.0.0.1:9".parse().unwrap();
    let error = fixture.reader(location).refresh(now()).await.unwrap_err();
    let mut chain = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(it) = cause {
        chain.push(it.to_string());
        cause = it.source();
    }
    assert_eq!(chain[0], "could not verify the repository at `http://127.0.0.1:9/`");
    assert_eq!(chain[1], "could not fetch `http://127.0.0.1:9/2.root.json`");
    assert!(!chain[2].contains("127.0.0.1:9/2.root.json"), "{chain:?}");
}

#[tokio::test]
async fn nothing_verified_is_forgotten_when_it_cannot_be_kept() {
    let fixture = Fixture::with_orbit().await;
    let location = Location::Directory(fixture.editor.repository_dir().to_owned());
    let config: RepositoryConfig = fixture.config(location);
    let mut reader = Repository::open(config).unwrap();
    let store =
        fs::read_dir(fixture.path("cache/metadata")).unwrap().next().unwrap().unwrap().path();
    fs::create_dir_all(store.join("timestamp.json/in-the-way")).unwrap();
    let error = reader.refresh(now()).await.unwrap_err();
    assert!(
        matches!(&error, RefreshError::Store { path, .. } if path.ends_with("timestamp.json")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_key_that_was_revoked_signs_nothing_more() {
    let mut fixture = Fixture::with_own_keys().await;
    let keys = fixture.editor.keys();
    let old = fs::read(fixture.editor.repository_dir().join("timestamp.json")).unwrap();
    let new = keys.generate("timestamp-2", Algorithm::Ed25519, &passphrase()).unwrap();
    let revoked = fixture.editor.status(now()).unwrap().roles.last().unwrap().keys.clone();
    let change = KeyChange {
        role: "timestamp".to_owned(),
        add: vec![new.public()],
        remove: revoked,
        threshold: None,
    };
    let edit = Edit::SetKeys { changes: vec![change], is_compromised: false };
    let unlock = |name: &str| keys.unlock(name, &passphrase()).unwrap();
    let all = ["root", "timestamp", "timestamp-2"].map(unlock);
    fixture.editor.apply(&edit, &terms(&all)).await.unwrap();
    fetch_stable(&mut fixture.reader(fixture.published())).await.unwrap();
    let server = Server::start(fixture.editor.repository_dir()).await;
    server.answer("timestamp.json", Answer::Bytes(old));
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    let error = refused_metadata(&mut fixture.reader(server.location())).await;
    assert!(
        matches!(&error, VerifyError::Unsigned { role, found: 0, .. } if role == "timestamp"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_root_that_too_few_have_signed_is_refused() {
    let mut fixture = Fixture::founded(&founding(3)).await;
    let of_first = fixture.config(fixture.published());
    fixture.apply(&Edit::Renew("root".to_owned())).await.unwrap();
    let path = fixture.editor.repository_dir().join("2.root.json");
    let mut root: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    root["signatures"].as_array_mut().unwrap().truncate(1);
    fs::write(&path, root.to_string()).unwrap();
    let error = refused_metadata(&mut Repository::open(of_first).unwrap()).await;
    let VerifyError::Unsigned { role, found: 1, threshold: 2 } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(role, "root");
}

#[tokio::test]
async fn a_symlink_in_the_store_is_replaced_and_not_followed() {
    let mut fixture = Fixture::with_orbit().await;
    let victim = fixture.write("victim", b"of somebody else");
    let fetched = fetch_stable(&mut fixture.reader(fixture.published())).await.unwrap();
    let store =
        fs::read_dir(fixture.path("cache/metadata")).unwrap().next().unwrap().unwrap().path();
    for kept in [store.join("timestamp.json"), fetched.path.into_std_path_buf()] {
        fs::remove_file(&kept).unwrap();
        std::os::unix::fs::symlink(&victim, &kept).unwrap();
    }
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    fixture.publish_orbit("1.2.0", b"orbit, the first").await;
    let fetched = fetch_stable(&mut fixture.reader(fixture.published())).await.unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit, the first");
    assert_eq!(fs::read(&victim).unwrap(), b"of somebody else");
    assert!(!store.join("timestamp.json").is_symlink());
}

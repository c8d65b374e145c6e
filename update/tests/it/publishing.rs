//! Making and changing a repository.

use std::fs;

use update::{
    Addition, Channel, Component, Edit, Editor, Expiries, Location, Promotion, TufRole,
    UpdatePlatform,
    editor::{AdditionProblem, ChangeError, InitError, KeyChange, LogError, OpenError, Rollout},
};

use crate::fixture::{Fixture, copy_tree, fetch_stable, founding, now, terms};

#[tokio::test]
async fn init_refuses_what_is_there_and_touches_nothing() {
    let fixture = Fixture::with_orbit().await;
    let dir = fixture.path("tuf");
    let before = fs::read(fixture.editor.keys().file(TufRole::Root)).unwrap();
    let error = update::init(&dir, &founding(1), &Expiries::default(), now()).await.unwrap_err();
    assert!(matches!(&error, InitError::Exists { path } if path.ends_with("keys")), "{error:?}");
    fs::rename(dir.join("keys"), dir.join("keys.away")).unwrap();
    let error = update::init(&dir, &founding(1), &Expiries::default(), now()).await.unwrap_err();
    assert!(
        matches!(&error, InitError::Exists { path } if path.ends_with("repository")),
        "{error:?}"
    );
    fs::rename(dir.join("repository"), dir.join("repository.away")).unwrap();
    let log = fs::read(dir.join("log.jsonl")).unwrap();
    let error = update::init(&dir, &founding(1), &Expiries::default(), now()).await.unwrap_err();
    assert!(matches!(&error, InitError::Exists { path } if path.ends_with("log.jsonl")));
    assert_eq!(fs::read(dir.join("log.jsonl")).unwrap(), log);
    assert_eq!(fs::read(dir.join("keys.away/root.pem")).unwrap(), before);
    let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().all(|it| !it.to_string_lossy().starts_with(".init")), "{left:?}");
}

#[tokio::test]
async fn status_tells_versions_expiries_and_targets() {
    let fixture = Fixture::with_orbit().await;
    let status = fixture.editor.status(now()).unwrap();
    let roles: Vec<_> = status
        .roles
        .iter()
        .map(|it| format!("{} {} {}", it.role, it.version, it.expires))
        .collect();
    assert_eq!(
        roles,
        [
            "root 1 2027-03-01T12:00:00Z",
            "targets 2 2026-08-28T12:00:00Z",
            "snapshot 2 2026-03-31T12:00:00Z",
            "timestamp 2 2026-03-08T12:00:00Z",
        ]
    );
    let targets: Vec<_> =
        status.targets.iter().map(|it| (it.name.as_str(), it.version.as_deref())).collect();
    assert_eq!(
        targets,
        [("orbit/linux/1.0.0/orbit", Some("1.0.0")), ("orbit/linux/stable/orbit", Some("1.0.0"))]
    );
}

#[tokio::test]
async fn adding_again_with_a_tag_promotes() {
    let mut fixture = Fixture::with_orbit().await;
    let edge = Addition {
        tags: vec!["edge".parse().unwrap()],
        ..fixture.orbit("1.1.0", b"orbit, the second")
    };
    fixture.add(&[edge]).await;
    let version = |fixture: &Fixture, channel: &str| {
        let name = format!("orbit/linux/{channel}/orbit");
        fixture
            .editor
            .status(now())
            .unwrap()
            .targets
            .iter()
            .find(|it| it.name == name)
            .unwrap()
            .version
            .clone()
            .unwrap()
    };
    assert_eq!(
        (version(&fixture, "edge"), version(&fixture, "stable")),
        ("1.1.0".into(), "1.0.0".into())
    );
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    assert_eq!(version(&fixture, "stable"), "1.1.0");
}

#[tokio::test]
async fn all_unusable_files_are_told_at_once() {
    let fixture = Fixture::with_orbit().await;
    let orbit = fixture.orbit("2.0.0", b"fine");
    let additions = [
        Addition { file: fixture.path("missing"), ..orbit.clone() },
        Addition {
            file: fixture.write("empty", b""),
            version: "2.0.1".parse().unwrap(),
            ..orbit.clone()
        },
        Addition { program: Component::Desktop.into(), ..orbit.clone() },
        Addition { file: fixture.path("tuf"), platform: UpdatePlatform::Windows, ..orbit.clone() },
    ];
    let keys = fixture.keys();
    let one_by_one = additions.map(|it| Addition { tags: vec![], ..it });
    let error =
        fixture.editor.prepare(&Edit::Add(one_by_one.to_vec()), &terms(&keys)).await.unwrap_err();
    assert!(!fixture.path("tuf/staged").exists());
    let ChangeError::Unusable { problems } = &error else { panic!("{error:?}") };
    assert!(
        matches!(
            problems[..],
            [
                AdditionProblem::Unreadable { .. },
                AdditionProblem::Empty { .. },
                AdditionProblem::WrongKind { .. },
                AdditionProblem::NotAFile { .. }
            ]
        ),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_channel_is_no_version_and_a_target_has_one_file() {
    let fixture = Fixture::with_orbit().await;
    let keys = fixture.keys();
    let stable = Addition { version: Channel::stable(), ..fixture.orbit("2.0.0", b"two") };
    let additions = [stable, fixture.orbit("2.1.0", b"two, one")];
    let error =
        fixture.editor.prepare(&Edit::Add(additions.to_vec()), &terms(&keys)).await.unwrap_err();
    let ChangeError::Unusable { problems } = &error else { panic!("{error:?}") };
    assert!(
        matches!(problems[..], [AdditionProblem::NoVersion { .. }, AdditionProblem::Twice { .. }]),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_published_version_keeps_its_content() {
    let fixture = Fixture::with_orbit().await;
    let keys = fixture.keys();
    let changed = [fixture.orbit("1.0.0", b"orbit, in disguise")];
    let error =
        fixture.editor.prepare(&Edit::Add(changed.to_vec()), &terms(&keys)).await.unwrap_err();
    let ChangeError::Unusable { problems } = &error else { panic!("{error:?}") };
    assert!(
        matches!(&problems[..], [AdditionProblem::VersionTaken { target }] if target.channel.as_str() == "1.0.0")
    );
}

#[tokio::test]
async fn a_key_that_the_root_does_not_list_signs_nothing() {
    let fixture = Fixture::with_orbit().await;
    let keys = Fixture::new().await.keys();
    let error = fixture
        .editor
        .prepare(&Edit::Add([fixture.orbit("2.0.0", b"two")].to_vec()), &terms(&keys))
        .await;
    assert!(matches!(error, Err(ChangeError::Lacking { found: 0, threshold: 1, .. })), "{error:?}");
}

#[tokio::test]
async fn metadata_that_somebody_else_put_there_is_not_signed_over() {
    let (ours, theirs) = (Fixture::with_orbit().await, Fixture::with_own_keys().await);
    let dir = ours.path("tuf");
    for file in ["timestamp.json", "2.snapshot.json", "2.targets.json"] {
        let theirs = fs::read(theirs.editor.repository_dir().join(file)).unwrap();
        let ours = fs::read(dir.join("repository").join(file)).unwrap();
        fs::write(dir.join("repository").join(file), theirs).unwrap();
        let error = Editor::open(&dir).unwrap_err();
        assert!(
            matches!(&error, OpenError::Unsigned { path, .. } if path.ends_with(file)),
            "{error:?}"
        );
        fs::write(dir.join("repository").join(file), ours).unwrap();
    }
    Editor::open(&dir).unwrap();
}

/// The keys of the other repository's root let ours sign: that makes it no follower of our root.
#[tokio::test]
async fn a_foreign_root_that_lists_our_keys_is_not_signed_under() {
    let (ours, mut theirs) = (Fixture::with_orbit().await, Fixture::with_own_keys().await);
    let list_ours = |role: &str, key: usize| KeyChange {
        role: role.to_owned(),
        add: vec![ours.keys()[key].public()],
        remove: Vec::new(),
        threshold: None,
    };
    let changes = [list_ours("targets", 0), list_ours("snapshot", 1), list_ours("timestamp", 2)];
    let edit = Edit::SetKeys { changes: changes.to_vec(), is_compromised: false };
    theirs.apply(&edit).await.unwrap();
    let (from, to) = (theirs.editor.repository_dir(), ours.editor.repository_dir());
    fs::copy(from.join("2.root.json"), to.join("2.root.json")).unwrap();
    let error = Editor::open(&ours.path("tuf")).unwrap_err();
    assert!(
        matches!(&error, OpenError::Root { path, .. } if path.ends_with("2.root.json")),
        "{error:?}"
    );

    // With their first root too it holds together: only the log tells that it is not ours.
    fs::copy(from.join("1.root.json"), to.join("1.root.json")).unwrap();
    let editor = Editor::open(&ours.path("tuf")).unwrap();
    let keys = ours.keys();
    let edit = Edit::Renew("targets".to_owned());
    for error in [
        editor.prepare(&edit, &terms(&keys)).await.map(drop).unwrap_err(),
        editor.begin(&edit, &terms(&keys)).await.map(drop).unwrap_err(),
    ] {
        let is_first = |path: &camino::Utf8Path| path.ends_with("1.root.json");
        assert!(
            matches!(&error, ChangeError::Log(LogError::Unlogged { path }) if is_first(path)),
            "{error:?}"
        );
    }
    fs::remove_file(ours.path("tuf/log.jsonl")).unwrap();
    let error = editor.prepare(&edit, &terms(&keys)).await.unwrap_err();
    assert!(matches!(&error, ChangeError::Log(LogError::Unlogged { .. })), "{error:?}");
}

#[tokio::test]
async fn the_log_is_asked_before_a_waiting_change_is_signed_for() {
    let fixture = Fixture::with_orbit().await;
    let keys = fixture.keys();
    fixture.editor.begin(&Edit::Renew("targets".to_owned()), &terms(&keys)).await.unwrap();
    fs::remove_file(fixture.path("tuf/log.jsonl")).unwrap();
    let error = fixture.editor.prepare_pending(&terms(&keys)).await.unwrap_err();
    assert!(matches!(&error, ChangeError::Log(LogError::Unlogged { .. })), "{error:?}");
}

#[tokio::test]
async fn a_root_is_called_by_its_version() {
    let fixture = Fixture::with_orbit().await;
    let dir = fixture.editor.repository_dir();
    fs::copy(dir.join("1.root.json"), dir.join("2.root.json")).unwrap();
    let error = Editor::open(&fixture.path("tuf")).unwrap_err();
    assert!(matches!(&error, OpenError::Root { .. }), "{error:?}");
}

#[tokio::test]
async fn no_way_replaces_a_published_version() {
    let mut fixture = Fixture::with_orbit().await;
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let keys = fixture.keys();
    let tagged = Addition {
        tags: vec!["1.0.0".parse().unwrap()],
        ..fixture.orbit("1.2.0", b"orbit, the third")
    };
    let promotion = Edit::Promote(Promotion {
        component: Component::Orbit,
        platforms: Vec::new(),
        version: "1.1.0".parse().unwrap(),
        channel: "1.0.0".parse().unwrap(),
        rollout: Rollout::default(),
    });
    for edit in [Edit::Add(vec![tagged]), promotion] {
        let error = fixture.editor.prepare(&edit, &terms(&keys)).await.unwrap_err();
        let ChangeError::Unusable { problems } = &error else { panic!("{error:?}") };
        assert!(
            matches!(&problems[..], [AdditionProblem::VersionTaken { target }] if target.channel.as_str() == "1.0.0"),
            "{problems:?}"
        );
    }
    let half = Addition { version: "1.2".parse().unwrap(), ..fixture.orbit("1.2.0", b"three") };
    let error = fixture.editor.check(&Edit::Add(vec![half])).unwrap_err();
    let ChangeError::Unusable { problems } = &error else { panic!("{error:?}") };
    assert!(matches!(&problems[..], [AdditionProblem::NoVersion { .. }]), "{problems:?}");
}

#[tokio::test]
async fn an_add_interrupted_anywhere_leaves_the_repository_before_or_after() {
    let steps = 5; // two files, three metadata files
    for done in 0..=steps {
        let broken = broken_off_after(done).await;
        let mut reader =
            broken.reader(Location::Directory(broken.editor.repository_dir().to_owned()));
        let fetched = fetch_stable(&mut reader).await.unwrap();
        let (version, content) = if done < steps {
            ("1.0.0", "orbit, the first")
        } else {
            ("1.1.0", "orbit, the second")
        };
        assert_eq!(
            (fetched.version.as_str(), fs::read_to_string(fetched.path).unwrap().as_str()),
            (version, content)
        );
        mend(broken).await;
    }
}

/// A repository in which adding orbit 1.1.0 stopped after so many steps.
async fn broken_off_after(done: usize) -> Fixture {
    let mut fixture = Fixture::with_orbit().await;
    let second = fixture.orbit("1.1.0", b"orbit, the second");
    let keys = fixture.keys();
    let publication =
        fixture.editor.prepare(&Edit::Add([second].to_vec()), &terms(&keys)).await.unwrap();
    assert_eq!(publication.steps().len(), 5);
    publication.record().unwrap();
    for step in &publication.steps()[..done] {
        step.apply().unwrap();
    }
    drop(publication);
    fixture.editor = Editor::open(&fixture.path("tuf")).unwrap();
    fixture
}

/// The next add works, and gives no version to two different files.
async fn mend(mut fixture: Fixture) {
    let before = fixture.path("before");
    copy_tree(fixture.editor.repository_dir(), &before);
    fixture.publish_orbit("1.2.0", b"orbit, the third").await;
    for entry in before.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let now = fixture.editor.repository_dir().join(entry.file_name());
        if entry.file_type().unwrap().is_file() && entry.file_name() != "timestamp.json" {
            assert_eq!(fs::read(entry.path()).unwrap(), fs::read(&now).unwrap(), "{now}");
        }
    }
    let mut reader =
        fixture.reader(Location::Directory(fixture.editor.repository_dir().to_owned()));
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.2.0");
    assert!(!fixture.path("tuf/staged").exists());
}

#[tokio::test]
async fn readers_of_the_previous_state_still_find_their_files() {
    let mut fixture = Fixture::with_orbit().await;
    let mut reader =
        fixture.reader(Location::Directory(fixture.editor.repository_dir().to_owned()));
    reader.refresh(now()).await.unwrap();
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let fetched = reader
        .fetch(&[crate::fixture::orbit_on("stable")], now(), &crate::fixture::ignore)
        .await
        .unwrap();
    assert_eq!(fetched[0].version, "1.0.0");
}

/// What readers may have seen is another file for ever, also once it was thrown away.
#[tokio::test]
async fn a_version_that_the_log_names_is_not_given_again() {
    let mut fixture = Fixture::with_orbit().await;
    let keys = fixture.keys();
    let renewal = Edit::Renew("targets".to_owned());
    let publication = fixture.editor.prepare(&renewal, &terms(&keys)).await.unwrap();
    publication.record().unwrap();
    drop(publication);
    let done = fixture.apply(&renewal).await.unwrap();
    assert_eq!(done.files, ["4.targets.json", "4.snapshot.json", "timestamp.json"]);
}

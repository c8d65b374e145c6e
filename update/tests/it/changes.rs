//! What can be done to a repository besides publishing files: renew, remove, promote; and its log.

use std::{fs, num::NonZeroU64};

use camino::Utf8Path;
use jiff::SignedDuration;
use update::{
    Component, Edit, Editor, Promotion, UpdatePlatform,
    audit::{AuditError, audit},
    editor::{
        ChangeError, Delegation, Freshness, Keep, LogError, Rollout, Step, differences_between,
    },
};

use crate::{
    fixture::{Fixture, copy_tree, days_later, fetch_stable, now, orbit_on, terms},
    python,
    server::Server,
};

fn promotion(version: &str, channel: &str) -> Edit {
    Edit::Promote(Promotion {
        component: Component::Orbit,
        platforms: Vec::new(),
        version: version.parse().unwrap(),
        channel: channel.parse().unwrap(),
        rollout: Rollout::default(),
    })
}

/// What python-tuf fetches as `target`, by way of the newest metadata.
async fn python_reads(fixture: &Fixture, targets: &[&str]) -> Result<String, String> {
    static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let server = Server::start(fixture.editor.repository_dir()).await;
    let root = fixture.editor.repository_dir().join("1.root.json");
    let (out, moment) = (fixture.path(&format!("python-{run}")), now().to_string());
    let args = [&[root.as_str(), server.url(), out.as_str(), &moment], targets].concat();
    python::run("read_repository.py", &args).await
}

#[tokio::test]
async fn a_renewed_timestamp_is_all_that_is_new() {
    let fixture = Fixture::with_orbit().await;
    let before: Vec<_> = fs::read_dir(fixture.editor.repository_dir()).unwrap().collect();
    let keys = fixture.keys();
    let only = keys.iter().filter(|key| {
        let timestamp = fixture.editor.status(now()).unwrap().roles.last().unwrap().keys.clone();
        timestamp.contains(&key.public().id())
    });
    assert_eq!(only.count(), 1);
    let edit = Edit::Renew("timestamp".to_owned());
    let needs = fixture.editor.check(&edit).unwrap();
    assert_eq!((needs.len(), needs[0].role.as_str()), (1, "timestamp"));
    let mut fixture = fixture;
    let done = fixture.apply(&edit).await.unwrap();
    assert_eq!(done.files, ["timestamp.json"]);
    let after: Vec<_> = fs::read_dir(fixture.editor.repository_dir()).unwrap().collect();
    assert_eq!(before.len(), after.len());
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await.unwrap();
}

#[tokio::test]
async fn every_role_can_be_renewed_and_readers_follow() {
    let mut fixture = Fixture::with_own_keys().await;
    for (role, files) in [
        ("snapshot", vec!["3.snapshot.json", "timestamp.json"]),
        ("targets", vec!["3.targets.json", "4.snapshot.json", "timestamp.json"]),
        ("root", vec!["2.root.json"]),
    ] {
        let done = fixture.apply(&Edit::Renew(role.to_owned())).await.unwrap();
        assert_eq!(done.files, files, "{role}");
    }
    let error = fixture.apply(&Edit::Renew("nobody".to_owned())).await.unwrap_err();
    assert!(matches!(error, ChangeError::NoSuchRole { .. }), "{error:?}");
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await.unwrap();
}

#[tokio::test]
async fn an_expired_root_can_be_renewed_and_nothing_else_goes_before() {
    let mut fixture = Fixture::with_own_keys().await;
    let keys = fixture.keys();
    let late = update::Terms { now: days_later(400), ..terms(&keys) };
    let renew = |role: &str| Edit::Renew(role.to_owned());
    let error = fixture.editor.apply(&renew("targets"), &late).await.unwrap_err();
    assert!(matches!(error, ChangeError::ReadBack(_)), "{error:?}");
    assert!(error.help().unwrap().contains("renew root"), "{error:?}");
    fixture.editor.apply(&renew("root"), &late).await.unwrap();
    fixture.editor.apply(&renew("targets"), &late).await.unwrap();
    fixture.reader(fixture.published()).refresh(days_later(400)).await.unwrap();
}

#[tokio::test]
async fn a_promoted_version_is_the_current_one_without_its_file() {
    let mut fixture = Fixture::with_orbit().await;
    let mut edge = fixture.orbit("1.1.0", b"orbit, the second");
    edge.tags = vec!["edge".parse().unwrap()];
    fixture.add(&[edge]).await;
    fs::remove_file(fixture.path("orbit-1.1.0")).unwrap();
    let mut reader = fixture.reader(fixture.published());
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.0.0");
    let done = fixture.apply(&promotion("1.1.0", "stable")).await.unwrap();
    assert_eq!(done.targets, ["orbit/linux/stable/orbit", "orbit/linux/stable/release.json"]);
    let fetched = fetch_stable(&mut fixture.reader(fixture.published())).await.unwrap();
    assert_eq!(fetched.version, "1.1.0");
    assert_eq!(fs::read(fetched.path).unwrap(), b"orbit, the second");
    // A channel tells its version on, and back again is a promotion too.
    fixture.apply(&promotion("edge", "1")).await.unwrap();
    fixture.apply(&promotion("1.0.0", "stable")).await.unwrap();
    let printed =
        python_reads(&fixture, &["orbit/linux/1/orbit", "orbit/linux/stable/orbit"]).await.unwrap();
    let versions: Vec<_> = printed.lines().map(|it| it.rsplit(' ').next().unwrap()).collect();
    assert_eq!(versions, ["\"1.1.0\"}", "\"1.0.0\"}"]);
}

#[tokio::test]
async fn what_is_not_published_is_neither_promoted_nor_removed() {
    let fixture = Fixture::with_orbit().await;
    let remove = Edit::Remove(vec!["orbit/linux/9/orbit".to_owned(), "../passwd".to_owned()]);
    let on_windows = Edit::Promote(Promotion {
        component: Component::Orbit,
        platforms: vec![UpdatePlatform::Windows],
        version: "1.0.0".parse().unwrap(),
        channel: "edge".parse().unwrap(),
        rollout: Rollout::default(),
    });
    for (edit, count) in [(remove, 2), (promotion("9.9.9", "stable"), 1), (on_windows, 1)] {
        let error = fixture.editor.check(&edit).unwrap_err();
        let ChangeError::NoSuchTargets { missing } = &error else { panic!("{error:?}") };
        assert_eq!(missing.len(), count, "{missing:?}");
    }
}

#[tokio::test]
async fn a_removed_target_is_gone_for_readers_and_its_file_stays_for_earlier_ones() {
    let mut fixture = Fixture::with_orbit().await;
    let mut early = fixture.reader(fixture.published());
    early.refresh(now()).await.unwrap();
    fixture.apply(&Edit::Remove(vec!["orbit/linux/1.0.0/orbit".to_owned()])).await.unwrap();
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await.unwrap();
    let said = python_reads(&fixture, &["orbit/linux/1.0.0/orbit"]).await.unwrap_err();
    assert!(said.contains("no target"), "{said}");
    let wanted = [orbit_on("1.0.0")];
    early.fetch(&wanted, now(), &crate::fixture::ignore).await.unwrap();
}

#[tokio::test]
async fn status_warns_before_the_end() {
    let fixture = Fixture::with_orbit().await;
    let expiring = |days| {
        let status = fixture.editor.status(days_later(days)).unwrap().roles;
        let soon = status.into_iter().filter(|it| it.state != Freshness::Valid);
        soon.map(|it| format!("{} {:?}", it.role, it.state)).collect::<Vec<_>>()
    };
    assert_eq!(expiring(3), [""; 0]);
    assert_eq!(expiring(5), ["timestamp Expiring"]);
    assert_eq!(expiring(21), ["snapshot Expiring", "timestamp Expired"]);
    assert_eq!(
        expiring(310),
        ["root Expiring", "targets Expired", "snapshot Expired", "timestamp Expired"]
    );
}

#[tokio::test]
async fn the_log_tells_who_did_what_and_notices_what_was_taken_out() {
    let mut fixture = Fixture::with_own_keys().await;
    fixture.apply(&Edit::Renew("timestamp".to_owned())).await.unwrap();
    let entries = fixture.editor.log().read().unwrap();
    let told: Vec<_> = entries.iter().map(|it| (it.who.as_str(), it.what.as_str())).collect();
    let added = "add orbit/linux/1.0.0/orbit, orbit/linux/stable/orbit";
    assert_eq!(told, [("ann", "init"), ("ann", added), ("ann", "renew timestamp")]);
    fixture.editor.check_log().unwrap();

    let path = fixture.path("tuf/log.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let edits = [
        (text.replacen("\"ann\"", "\"eve\"", 1), 2),
        (format!("{}\n{}\n", lines[0], lines[2]), 2),
        (format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]), 1),
    ];
    for (edited, at) in edits {
        fs::write(&path, edited).unwrap();
        let error = fixture.editor.check_log().unwrap_err();
        assert!(matches!(error, LogError::Broken { line, .. } if line == at), "{error:?}");
    }
    fs::write(&path, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
    let error = fixture.editor.check_log().unwrap_err();
    assert!(matches!(&error, LogError::Unlogged { path } if path.ends_with("timestamp.json")));
    // Half a line is that of a change that never began.
    fs::write(&path, format!("{text}{}", &lines[2][..20])).unwrap();
    fixture.apply(&Edit::Renew("timestamp".to_owned())).await.unwrap();
    fixture.editor.check_log().unwrap();
}

#[tokio::test]
async fn differences_are_told_one_by_one() {
    let mut fixture = Fixture::with_orbit().await;
    let before = fixture.snapshot("before");
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let found = differences_between(&before, fixture.editor.repository_dir()).unwrap();
    let targets: Vec<_> = found
        .iter()
        .filter(|it| it.subject.starts_with("orbit/"))
        .map(|it| (it.subject.as_str(), it.before.is_some(), it.after.is_some()))
        .collect();
    assert_eq!(
        targets,
        [("orbit/linux/1.1.0/orbit", false, true), ("orbit/linux/stable/orbit", true, true)]
    );
    assert_eq!(differences_between(&before, &before).unwrap(), []);
}

#[tokio::test]
async fn an_audit_finds_what_a_client_would_stumble_over() {
    let mut fixture = Fixture::with_orbit().await;
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    let dir = fixture.editor.repository_dir().to_owned();
    let found = audit(&dir, now()).await.unwrap();
    assert_eq!((found.problems.len(), found.targets, found.bytes), (0, 3, 16 + 2 * 17));
    let status = fixture.editor.status(now()).unwrap();
    let file = |name: &str| {
        let target = status.targets.iter().find(|it| it.name == name).unwrap();
        let (parent, _) = name.rsplit_once('/').unwrap();
        dir.join(format!("targets/{parent}/{}.orbit", target.sha256))
    };
    fs::remove_file(file("orbit/linux/1.0.0/orbit")).unwrap();
    fs::remove_file(file("orbit/linux/1.1.0/orbit")).unwrap();
    fs::write(file("orbit/linux/1.1.0/orbit"), "orbit, of another").unwrap();
    let found = audit(&dir, now()).await.unwrap();
    assert_eq!(found.problems.len(), 2, "{found:?}");
    assert!(found.problems[0].starts_with("could not read"), "{found:?}");
    assert!(found.problems[1].ends_with("is not the file that was signed for"), "{found:?}");
    let error = audit(&dir, days_later(8)).await.unwrap_err();
    assert!(matches!(error, AuditError::Refused(_)), "{error:?}");
}

/// Young is told by a file's date, which a test cannot wait for: here the clock is far ahead.
#[tokio::test]
async fn what_nobody_can_want_any_more_goes() {
    let mut fixture = Fixture::with_orbit().await;
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        fixture.publish_orbit(version, version.as_bytes()).await;
    }
    let names = ["1.0.0", "1.1.0"].map(|it| format!("orbit/linux/{it}/orbit"));
    fixture.apply(&Edit::Remove(names.to_vec())).await.unwrap();
    let far = "2126-01-01T00:00:00Z".parse().unwrap();
    let dir = fixture.editor.repository_dir();
    let foreign =
        ["index.html", "7.targets.json.orig", "targets/robots.txt"].map(|it| dir.join(it));
    for path in &foreign {
        fs::write(path, "ours?").unwrap();
    }
    let all = Keep { states: usize::MAX, ..Keep::default() };
    assert_eq!(fixture.editor.sweep(&all, far, false).unwrap(), [""; 0], "every state is kept");
    let unfinished = dir.join("targets/.partial-abc");
    fs::write(&unfinished, "half").unwrap();
    let keep = Keep { states: 1, ..Keep::default() };
    let sweep = |at, is_rehearsal| {
        let gone = fixture.editor.sweep(&keep, at, is_rehearsal).unwrap();
        gone.iter().map(|it| it.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sweep(now(), false), [""; 0], "young files stay");
    let would = sweep(far, true);
    assert_eq!(sweep(far, false), would);
    let metadata = would.iter().filter(|it| it.ends_with(".json")).map(String::as_str);
    let expected: Vec<String> = ["snapshot", "targets"]
        .iter()
        .flat_map(|role| (1..=4).map(move |version| format!("{version}.{role}.json")))
        .collect();
    assert_eq!(metadata.collect::<Vec<_>>(), {
        let mut sorted = expected.clone();
        sorted.sort();
        sorted
    });
    assert!(fixture.editor.repository_dir().join("1.root.json").is_file());
    assert!(foreign.iter().all(|it| it.is_file()), "somebody else's");
    assert!(!unfinished.exists());
    audit(fixture.editor.repository_dir(), now()).await.unwrap();
    // The state before the newest lists two files more, and is kept.
    assert_eq!(would.len() - 9, 3, "stable as it was of 1.0.0, 1.1.0 and 1.2.0: {would:?}");
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await.unwrap();
    assert!(SignedDuration::from_hours(24 * 7) < Keep::default().younger);
}

/// Whatever is changed, and wherever it stops: a client can have everything, and the next change
/// works.
#[tokio::test]
async fn every_change_can_be_broken_off_anywhere() {
    let fixture = Fixture::with_orbit().await;
    let delegation = Delegation {
        name: "theirs".parse().unwrap(),
        keys: vec![fixture.keys()[0].public()],
        threshold: NonZeroU64::MIN,
        paths: vec!["orbit/*/*/*".to_owned()],
    };
    let edits = [
        Edit::Add(vec![fixture.orbit("1.1.0", b"orbit, the second")]),
        promotion("1.0.0", "edge"),
        Edit::Remove(vec!["orbit/linux/1.0.0/orbit".to_owned()]),
        Edit::Renew("timestamp".to_owned()),
        Edit::Renew("targets".to_owned()),
        Edit::Renew("root".to_owned()),
        Edit::Delegate(delegation),
    ];
    for edit in edits {
        let keys = fixture.keys();
        let publication = fixture.editor.prepare(&edit, &terms(&keys)).await.unwrap();
        publication.record().unwrap();
        let dir = fixture.path("broken-off");
        copy_tree(&fixture.path("tuf"), &dir);
        for step in publication.steps() {
            elsewhere(step, &fixture.path("tuf/repository"), &dir.join("repository"));
            let found = audit(&dir.join("repository"), now()).await.unwrap();
            assert_eq!(found.problems, [""; 0], "{edit:?} after {step:?}");
            let mut again = Editor::open(&dir).unwrap();
            let aside = fixture.path("aside");
            copy_tree(&dir, &aside);
            let renewal = Edit::Renew("targets".to_owned());
            again.apply(&renewal, &terms(&keys)).await.unwrap();
            fs::remove_dir_all(&dir).unwrap();
            fs::rename(&aside, &dir).unwrap();
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}

/// Takes `step` of a publication to `from` in a copy of it.
fn elsewhere(step: &Step, from: &Utf8Path, to: &Utf8Path) {
    let moved = |path: &Utf8Path| match path.strip_prefix(from) {
        Ok(relative) => to.join(relative),
        Err(_) => path.to_owned(),
    };
    let step = match step {
        Step::Link { from, to } => Step::Link { from: moved(from), to: moved(to) },
        Step::Write { path, bytes } => Step::Write { path: moved(path), bytes: bytes.clone() },
        other => panic!("{other:?}"),
    };
    step.apply().unwrap();
}

//! Who may sign what: keys, thresholds, delegations, and changes that several people sign.

use std::{fs, num::NonZeroU64};

use camino::Utf8Path;
use update::{
    Component, Edit, Editor, KeyDir, PublicKey, SigningKey, Terms,
    editor::{
        ChangeError, Delegation, KeyChange, OpenError, Pending, PendingError, PublishError,
        RoleProblem, Step,
    },
    keys::Algorithm,
    repository::{RefreshError, VerifyError},
};

use crate::{
    fixture::{Fixture, copy_tree, fetch_stable, founding, now, passphrase, terms},
    python,
    server::Server,
};

async fn python_reads(fixture: &Fixture, targets: &[&str]) {
    let server = Server::start(fixture.editor.repository_dir()).await;
    let root = fixture.editor.repository_dir().join("1.root.json");
    let out = tempfile::tempdir().unwrap();
    let (out, moment) = (out.path().join("out"), now().to_string());
    let args = [&[root.as_str(), server.url(), out.to_str().unwrap(), &moment], targets].concat();
    python::run("read_repository.py", &args).await.unwrap();
}

/// A new key in the fixture's own folder.
pub(crate) fn key(fixture: &Fixture, name: &str, algorithm: Algorithm) -> SigningKey {
    let keys = fixture.editor.keys();
    keys.generate(name, algorithm, &passphrase()).unwrap()
}

pub(crate) fn replace(role: &str, old: &str, new: PublicKey) -> KeyChange {
    let (add, remove) = (vec![new], vec![old.to_owned()]);
    KeyChange { role: role.to_owned(), add, remove, threshold: None }
}

pub(crate) fn key_ids(fixture: &Fixture, role: &str) -> Vec<String> {
    let roles = fixture.editor.status(now()).unwrap().roles;
    roles.into_iter().find(|it| it.role == role).unwrap().keys
}

pub(crate) fn set_keys(changes: Vec<KeyChange>) -> Edit {
    Edit::SetKeys { changes, is_compromised: false }
}

/// Every key in the fixture's folder.
pub(crate) fn all_keys(fixture: &Fixture) -> Vec<SigningKey> {
    let keys = fixture.editor.keys();
    let unlock = |it: &update::keys::KeyFile| keys.unlock(&it.name, &passphrase()).unwrap();
    keys.list().unwrap().iter().map(unlock).collect()
}

#[tokio::test]
async fn a_root_of_several_keys_needs_its_threshold() {
    let mut fixture = Fixture::founded(&founding(3)).await;
    let keys = fixture.keys();
    let roots = key_ids(&fixture, "root");
    let is_root = |key: &&SigningKey| roots.contains(&key.public().id());
    let others = keys.iter().filter(|key| !is_root(key)).count();
    assert_eq!((keys.len(), others), (6, 3));
    let renew = Edit::Renew("root".to_owned());
    let one: Vec<_> = keys.iter().position(|it| is_root(&it)).into_iter().collect();
    let error = fixture.editor.apply(&renew, &terms(&keys[one[0]..=one[0]])).await.unwrap_err();
    assert!(matches!(error, ChangeError::Lacking { found: 1, threshold: 2, .. }), "{error:?}");
    fixture.editor.apply(&renew, &terms(&keys)).await.unwrap();
    fixture.publish_orbit("1.0.0", b"orbit, the first").await;
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await;
}

#[tokio::test]
async fn keys_of_every_role_are_rotated_twice_and_others_still_read() {
    let mut fixture = Fixture::with_own_keys().await;
    for (round, algorithm) in [(2, Algorithm::P256), (3, Algorithm::Ed25519)] {
        for role in ["timestamp", "snapshot", "targets", "root"] {
            let new = key(&fixture, &format!("{role}-{round}"), algorithm).public();
            let old = key_ids(&fixture, role);
            let edit = set_keys(vec![replace(role, &old[0], new.clone())]);
            fixture.editor.apply(&edit, &terms(&all_keys(&fixture))).await.unwrap();
            assert_eq!(key_ids(&fixture, role), [new.id()]);
        }
    }
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await;
    let mut reader = fixture.reader(fixture.published());
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.0.0");
}

/// Every moment of a change of keys fits for a reader: one who comes for the first time, and one who
/// was there before.
#[tokio::test]
async fn a_reader_is_never_between_two_keys() {
    let fixture = Fixture::with_own_keys().await;
    let changes = ["timestamp", "snapshot", "targets"].map(|role| {
        let new = key(&fixture, &format!("{role}-2"), Algorithm::Ed25519).public();
        replace(role, &key_ids(&fixture, role)[0], new)
    });
    let keys = all_keys(&fixture);
    let edit = set_keys(changes.to_vec());
    let publication = fixture.editor.prepare(&edit, &terms(&keys)).await.unwrap();
    let steps = publication.steps().to_vec();
    drop(publication);
    assert_eq!(steps.len(), 4);
    fetch_stable(&mut fixture.reader(fixture.published())).await.unwrap();
    for step in steps {
        step.apply().unwrap();
        fetch_stable(&mut fixture.reader(fixture.published())).await.unwrap();
        python_reads(&fixture, &["orbit/linux/stable/orbit"]).await;
    }
}

/// Whoever had the keys of snapshot and timestamp showed readers versions far ahead.
#[tokio::test]
async fn readers_who_were_led_too_far_come_back() {
    let mut fixture = Fixture::with_own_keys().await;
    let honest = fixture.snapshot("honest");
    for _ in 0..5 {
        fixture.apply(&Edit::Renew("targets".to_owned())).await.unwrap();
    }
    fetch_stable(&mut fixture.reader(fixture.published())).await.unwrap();
    fs::remove_dir_all(fixture.editor.repository_dir()).unwrap();
    copy_tree(&honest, fixture.editor.repository_dir());
    let error = fixture.reader(fixture.published()).refresh(now()).await.unwrap_err();
    let RefreshError::Refused { source, .. } = &error else { panic!("{error:?}") };
    let VerifyError::Rollback { role, trusted: 7, offered: 2 } = source else {
        panic!("{error:?}")
    };
    assert_eq!(role, "timestamp");

    let changes = ["snapshot", "timestamp"].map(|role| {
        let new = key(&fixture, &format!("{role}-2"), Algorithm::Ed25519).public();
        replace(role, &key_ids(&fixture, role)[0], new)
    });
    let edit = Edit::SetKeys { changes: changes.to_vec(), is_compromised: true };
    let keys = all_keys(&fixture);
    let publication = fixture.editor.prepare(&edit, &terms(&keys)).await.unwrap();
    let first = publication.steps()[0].clone();
    assert!(
        matches!(&first, Step::Write { path, .. } if path.ends_with("2.root.json")),
        "whoever reads version 1 before the root that explains it refuses it: {first:?}"
    );
    publication.publish().unwrap();
    fixture.editor = Editor::open(&fixture.path("tuf")).unwrap();
    let timestamp = fixture.editor.status(now()).unwrap().roles.pop().unwrap();
    assert_eq!((timestamp.role.as_str(), timestamp.version), ("timestamp", 1));
    let mut reader = fixture.reader(fixture.published());
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.0.0");
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await;
}

/// The old key is lost, so nothing bridges the two: the new root comes first, and until the rest is
/// there nobody can read the repository.
#[tokio::test]
async fn a_change_of_keys_that_is_broken_off_is_finished_by_whoever_comes_next() {
    let fixture = Fixture::with_own_keys().await;
    let new = key(&fixture, "timestamp-2", Algorithm::Ed25519).public();
    let old = key_ids(&fixture, "timestamp")[0].clone();
    let edit = set_keys(vec![replace("timestamp", &old, new.clone())]);
    let mut keys = all_keys(&fixture);
    keys.retain(|it| it.public().id() != old);
    let publication = fixture.editor.prepare(&edit, &terms(&keys)).await.unwrap();
    let dir = fixture.path("tuf");
    let timestamp = dir.join("repository/timestamp.json");
    let before = fs::read(&timestamp).unwrap();
    fs::remove_file(&timestamp).unwrap();
    fs::create_dir_all(timestamp.join("in the way")).unwrap();
    let error = publication.publish().unwrap_err();
    assert!(matches!(&error, PublishError::Write { path, .. } if *path == timestamp), "{error:?}");
    fs::remove_dir_all(&timestamp).unwrap();
    fs::write(&timestamp, before).unwrap();

    let journal = dir.join("unfinished.json");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replace("2.root.json", "3.root.json")).unwrap();
    let error = Editor::open(&dir).unwrap_err();
    assert!(matches!(&error, OpenError::Unfinished { path, .. } if *path == journal), "{error:?}");
    fs::write(&journal, text).unwrap();
    let mut editor = Editor::open(&dir).unwrap();
    assert!(!journal.exists());
    assert_eq!(editor.status(now()).unwrap().roles.pop().unwrap().keys, [new.id()]);
    editor.check_log().unwrap();
    editor.apply(&Edit::Renew("timestamp".to_owned()), &terms(&keys)).await.unwrap();
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anybody_signs() {
    let fixture = Fixture::with_own_keys().await;
    let id = key_ids(&fixture, "targets")[0].clone();
    let known = fixture.keys().iter().find(|it| it.public().id() == id).unwrap().public();
    let change = |add, remove, threshold| {
        set_keys(vec![KeyChange { role: "targets".to_owned(), add, remove, threshold }])
    };
    let problem = |edit: &Edit| match fixture.editor.check(edit) {
        Err(ChangeError::Role(problem)) => problem,
        other => panic!("{other:?}"),
    };
    let two = NonZeroU64::new(2);
    assert!(matches!(
        problem(&change(vec![], vec![], two)),
        RoleProblem::Threshold { keys: 1, threshold: 2, .. }
    ));
    assert!(matches!(
        problem(&change(vec![], vec![id.clone()], None)),
        RoleProblem::Threshold { keys: 0, .. }
    ));
    assert!(matches!(problem(&change(vec![known], vec![], None)), RoleProblem::KeyTwice { .. }));
    assert!(matches!(
        problem(&change(vec![], vec!["zz".to_owned()], None)),
        RoleProblem::NoSuchKey { .. }
    ));
    for paths in ["orbit/**", "*/*/a*b*", "/orbit", "orbit//x", "orbit/[a]", "../x", "orbit/?"] {
        let delegation = delegation(&fixture, "osquery", paths);
        assert!(matches!(problem(&delegation), RoleProblem::Pattern(_)), "{paths}");
    }
    assert!(matches!(
        problem(&delegation(&fixture, "snapshot", "orbit/*/*/*")),
        RoleProblem::RoleTaken { .. }
    ));
    assert!(matches!(
        problem(&Edit::Revoke("osquery".to_owned())),
        RoleProblem::NotDelegated { .. }
    ));
}

pub(crate) fn delegation(fixture: &Fixture, name: &str, paths: &str) -> Edit {
    let keys = fixture.keys();
    Edit::Delegate(Delegation {
        name: name.parse().unwrap(),
        keys: vec![keys[0].public()],
        threshold: NonZeroU64::MIN,
        paths: vec![paths.to_owned()],
    })
}

#[tokio::test]
async fn a_component_has_signers_of_its_own() {
    let mut fixture = Fixture::with_own_keys().await;
    let osquery = |fixture: &Fixture, version: &str| update::Addition {
        program: Component::Osqueryd.into(),
        ..fixture.orbit(version, format!("osqueryd {version}").as_bytes())
    };
    let first = osquery(&fixture, "5.9.1");
    fixture.add(&[first]).await;
    let theirs = key(&fixture, "osquery", Algorithm::P256);
    let edit = Edit::Delegate(Delegation {
        name: "osquery".parse().unwrap(),
        keys: vec![theirs.public()],
        threshold: NonZeroU64::MIN,
        paths: vec!["osqueryd/*/*/*".to_owned()],
    });
    fixture.editor.apply(&edit, &terms(&all_keys(&fixture))).await.unwrap();
    let owner = |fixture: &Fixture, name: &str| {
        let targets = fixture.editor.status(now()).unwrap().targets;
        targets.into_iter().find(|it| it.name == name).unwrap().role
    };
    assert_eq!(owner(&fixture, "osqueryd/linux/5.9.1/osqueryd"), "osquery");
    assert_eq!(owner(&fixture, "orbit/linux/1.0.0/orbit"), "targets");
    let read = ["osqueryd/linux/stable/osqueryd", "orbit/linux/stable/orbit"];
    python_reads(&fixture, &read).await;

    // Who publishes osqueryd needs no key of `targets`, and `targets` none of theirs.
    let second = Edit::Add(vec![osquery(&fixture, "5.9.2")]);
    let needs = fixture.editor.check(&second).unwrap();
    let roles: Vec<_> = needs.iter().map(|it| it.role.as_str()).collect();
    assert_eq!(roles, ["osquery", "snapshot", "timestamp"]);
    let done = fixture.editor.apply(&second, &terms(&all_keys(&fixture))).await.unwrap();
    assert_eq!(done.files, ["2.osquery.json", "5.snapshot.json", "timestamp.json"]);
    python_reads(&fixture, &["osqueryd/linux/5.9.2/osqueryd"]).await;
    let mut reader = fixture.reader(fixture.published());
    reader.refresh(now()).await.unwrap();

    fixture.apply(&Edit::Revoke("osquery".to_owned())).await.unwrap();
    assert_eq!(owner(&fixture, "osqueryd/linux/5.9.2/osqueryd"), "targets");
    python_reads(&fixture, &read).await;
    // The same name again is another role, and its versions go on: readers accept it.
    fixture.editor.apply(&edit, &terms(&all_keys(&fixture))).await.unwrap();
    python_reads(&fixture, &read).await;
    let mut reader = fixture.reader(fixture.published());
    fetch_stable(&mut reader).await.unwrap();
}

/// Two of three people sign, each on a machine of their own, with a folder that is carried.
#[tokio::test]
async fn people_sign_elsewhere_and_nobody_sees_a_thing_before() {
    let mut fixture = Fixture::founded(&founding(3)).await;
    fixture.publish_orbit("1.0.0", b"orbit, the first").await;
    let roots = key_ids(&fixture, "root");
    let all = fixture.keys();
    let people: Vec<&SigningKey> =
        all.iter().filter(|it| roots.contains(&it.public().id())).collect();
    let before = fixture.snapshot("before");
    let new = key(&fixture, "timestamp-2", Algorithm::Ed25519).public();
    let old = key_ids(&fixture, "timestamp")[0].clone();
    let edit = set_keys(vec![replace("timestamp", &old, new.clone())]);
    let none = Terms { keys: &[], ..terms(&all) };
    let pending = fixture.editor.begin(&edit, &none).await.unwrap();
    assert!(!pending.summary().is_signed);
    let told = pending.summary().differences;
    let keys = told.iter().find(|it| it.subject == "keys of timestamp").unwrap();
    assert_eq!((keys.before.as_deref(), keys.after.clone()), (Some(old.as_str()), Some(new.id())));

    // Another change of the root has to wait; a new timestamp has not.
    let error = fixture.apply(&Edit::Renew("root".to_owned())).await.unwrap_err();
    assert!(matches!(&error, ChangeError::Waiting { role } if role == "root"), "{error:?}");
    let error = fixture.editor.begin(&edit, &none).await.unwrap_err();
    assert!(matches!(&error, ChangeError::Pending(PendingError::Exists { .. })), "{error:?}");
    fixture.apply(&Edit::Renew("timestamp".to_owned())).await.unwrap();

    for (number, _) in people[..2].iter().enumerate() {
        let usb = fixture.path(&format!("usb-{number}"));
        fixture.editor.pending().unwrap().export(&usb).unwrap();
        let dir = KeyDir::new(fixture.editor.keys().path());
        let name = if number == 0 { "root".to_owned() } else { format!("root-{}", number + 1) };
        let theirs = [dir.unlock(name, &passphrase()).unwrap()];
        let mut copy = Pending::open(&usb).unwrap();
        assert_eq!(copy.sign(&theirs).await.unwrap(), ["root"]);
        let early = fixture.editor.apply_pending(&terms(&all_keys(&fixture)[4..])).await;
        assert!(early.is_err());
        let taken = fixture.editor.pending().unwrap().import(&Pending::open(&usb).unwrap());
        assert_eq!(taken.unwrap(), 1);
        let again = fixture.editor.pending().unwrap().import(&Pending::open(&usb).unwrap());
        assert_eq!(again.unwrap(), 0);
    }
    assert!(!before.join("2.root.json").exists());
    assert!(!fixture.editor.repository_dir().join("2.root.json").exists());
    assert!(fixture.editor.pending().unwrap().summary().is_signed);
    let done = fixture.editor.apply_pending(&terms(&all_keys(&fixture))).await.unwrap();
    assert!(done.files.contains(&"2.root.json".to_owned()), "{:?}", done.files);
    assert!(matches!(fixture.editor.pending(), Err(PendingError::NoChange { .. })));
    python_reads(&fixture, &["orbit/linux/stable/orbit"]).await;
}

#[tokio::test]
async fn a_change_brings_its_files_and_can_be_forgotten() {
    let mut fixture = Fixture::with_own_keys().await;
    let edit = Edit::Add(vec![fixture.orbit("1.1.0", b"orbit, the second")]);
    let keys = fixture.keys();
    fixture.editor.begin(&edit, &terms(&[])).await.unwrap();
    fixture.editor.cancel_pending().await.unwrap();
    assert!(!fixture.path("tuf/change").exists());
    let mut pending = fixture.editor.begin(&edit, &terms(&[])).await.unwrap();
    fs::remove_file(fixture.path("orbit-1.1.0")).unwrap();
    pending.sign(&keys).await.unwrap();
    fixture.editor.apply_pending(&terms(&keys)).await.unwrap();
    let mut reader = fixture.reader(fixture.published());
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.1.0");
    fixture.editor.check_log().unwrap();
}

#[tokio::test]
async fn a_change_carries_nothing_back_but_valid_signatures() {
    let fixture = Fixture::with_own_keys().await;
    let edit = Edit::Renew("root".to_owned());
    fixture.editor.begin(&edit, &terms(&[])).await.unwrap();
    let usb = fixture.path("usb");
    fixture.editor.pending().unwrap().export(&usb).unwrap();
    let path = usb.join("new.root.json");
    let text = fs::read_to_string(&path).unwrap();
    let id = &key_ids(&fixture, "root")[0];
    let forged = format!(r#""signatures": [{{"keyid": "{id}", "sig": "{}"}}]"#, "00".repeat(64));
    fs::write(&path, text.replace("\"signatures\": []", &forged)).unwrap();
    let taken = fixture.editor.pending().unwrap().import(&Pending::open(&usb).unwrap());
    assert_eq!(taken.unwrap(), 0);
    fs::write(&path, text.replace("\"threshold\": 1", "\"threshold\": 3")).unwrap();
    let error = fixture.editor.pending().unwrap().import(&Pending::open(&usb).unwrap());
    assert!(matches!(error, Err(PendingError::AnotherChange { .. })), "{error:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "openssl is the other reader and writer of keys")]
fn openssl_reads_public_keys_and_its_own_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    let keys = KeyDir::new(dir.join("keys"));
    let openssl = |args: &[&str]| {
        let output = std::process::Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (name, algorithm, kind) in
        [("a", Algorithm::Ed25519, "ED25519"), ("b", Algorithm::P256, "Public-Key: (256 bit)")]
    {
        keys.generate(name, algorithm, &passphrase()).unwrap();
        let public = keys.path().join(format!("{name}.pub"));
        let told = openssl(&["pkey", "-pubin", "-noout", "-text", "-in", public.as_str()]);
        assert!(told.contains(kind), "{told}");
        assert!(keys.generate(name, algorithm, &passphrase()).is_err(), "nothing replaces a key");
    }
    let (pem, public) = (dir.join("made.pem"), dir.join("made.pub"));
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", pem.as_str()]);
    openssl(&["pkey", "-in", pem.as_str(), "-pubout", "-out", public.as_str()]);
    let name = "made".parse().unwrap();
    let imported = keys.import(&name, &pem, (None, &passphrase())).unwrap();
    assert_eq!(imported.public(), PublicKey::read(&public).unwrap());
    let other = update::Passphrase::new("another".to_owned()).unwrap();
    keys.change_passphrase(&name, (&passphrase(), &other)).unwrap();
    assert!(keys.unlock(&name, &passphrase()).is_err());
    assert_eq!(keys.unlock(&name, &other).unwrap().public(), imported.public());
}

//! Components from a directory.

use std::{fs, sync::Mutex};

use sha2::{Digest, Sha256};
use update::{Component, LocalComponents, Progress, UpdatePlatform, local::LocalError};

use crate::fixture::{ignore, utf8};

#[test]
fn flat_and_nested_directories_give_the_same_components() {
    let dir = tempfile::tempdir().unwrap();
    let dir = utf8(dir.path());
    fs::write(dir.join("orbit"), "flat orbit").unwrap();
    fs::write(dir.join("fleet-desktop"), "tray").unwrap();
    fs::write(dir.join("fleet-desktop.version"), "2.1.0\n").unwrap();
    fs::create_dir_all(dir.join("osqueryd/linux-arm64")).unwrap();
    fs::write(dir.join("osqueryd/linux-arm64/osqueryd"), "osquery for ARM").unwrap();

    let local = LocalComponents { dir: dir.to_owned(), default_version: "1.2.3".to_owned() };
    assert!(local.has(Component::Orbit, UpdatePlatform::Linux));
    assert!(!local.has(Component::Osqueryd, UpdatePlatform::Linux));
    let seen = Mutex::new(Vec::new());
    let wanted = [
        (Component::Orbit, UpdatePlatform::Linux),
        (Component::Osqueryd, UpdatePlatform::LinuxArm64),
        (Component::Desktop, UpdatePlatform::Linux),
    ];
    let fetched =
        local.fetch(&wanted, &|progress: Progress| seen.lock().unwrap().push(progress)).unwrap();

    assert_eq!(fetched[0].path, dir.join("orbit"));
    assert_eq!(fetched[0].version, "1.2.3");
    assert_eq!(fetched[0].sha256, hex::encode(Sha256::digest("flat orbit")));
    assert_eq!(fetched[1].path, dir.join("osqueryd/linux-arm64/osqueryd"));
    assert_eq!(fetched[1].length, 15);
    assert_eq!(fetched[2].version, "2.1.0");
    assert!(fetched[2].modified.is_some_and(|it| it.subsec_nanosecond() == 0));
    assert!(seen.lock().unwrap().iter().all(|it| it.done == it.total));
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[test]
fn everything_missing_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let local =
        LocalComponents { dir: utf8(dir.path()).to_owned(), default_version: "1.2.3".to_owned() };
    let wanted =
        [(Component::Orbit, UpdatePlatform::Linux), (Component::Osqueryd, UpdatePlatform::Windows)];
    let error = local.fetch(&wanted, &ignore).unwrap_err();
    let LocalError::Missing { missing, .. } = &error else { panic!("{error:?}") };
    assert_eq!(missing, &["orbit for linux", "osqueryd for windows"]);
}

//! A repository of updates, from its keys to a package made of it.

use serde_json::Value;

use crate::run::Home;

const ROLES: [&str; 4] = ["ROOT", "TARGETS", "SNAPSHOT", "TIMESTAMP"];

fn with_passphrases() -> Home {
    ROLES.iter().fold(Home::new(), |home, role| {
        home.with(&format!("FLEET_{role}_PASSPHRASE"), format!("{role} passphrase"))
    })
}

#[test]
fn what_is_published_can_be_packaged_and_again_without_the_repository() {
    let home = with_passphrases();
    home.write("orbit", "#!/bin/sh\necho orbit\n");
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    let add = [
        "updates",
        "add",
        "--path",
        "tuf",
        "--target",
        "orbit",
        "--name",
        "orbit",
        "--platform",
        "linux",
        "--version",
        "1.2.3",
        "--tag",
        "stable",
        "--output",
        "json",
    ];
    let names: Vec<String> = serde_json::from_str(&home.fleetctl(add).ok()).unwrap();
    assert!(names.contains(&"orbit/linux/stable/orbit".to_owned()), "{names:?}");
    home.write("root.json", home.fleetctl(["updates", "roots", "--path", "tuf"]).ok());
    let status = home.fleetctl(["updates", "status", "--path", "tuf", "-o", "json"]).ok();
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["roles"].as_array().unwrap().len(), 4);

    let package = |flags: &[&str]| {
        let repository = [
            "package",
            "--type",
            "deb",
            "--update-url",
            "tuf/repository",
            "--update-roots",
            "root.json",
            "--output",
            "json",
        ];
        home.fleetctl([&repository, flags].concat())
    };
    let said = package(&[]).fails(1);
    assert!(said.contains("--without-osqueryd"), "{said}");
    let made = package(&["--without-osqueryd"]).ok();
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((&made[0]["version"], made.as_array().unwrap().len()), (&"1.2.3".into(), 1));
    std::fs::rename(home.path("tuf"), home.path("gone")).unwrap();
    package(&["--without-osqueryd"]).fails(1);
    let again = package(&["--without-osqueryd", "--offline"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()[0]["sha256"], made[0]["sha256"]);
}

#[test]
fn a_wrong_or_empty_passphrase_from_the_environment_is_final() {
    let home = with_passphrases();
    home.write("orbit", "#!/bin/sh\n");
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    let add = [
        "updates",
        "add",
        "--path",
        "tuf",
        "--target",
        "orbit",
        "--name",
        "orbit",
        "--platform",
        "linux",
        "--version",
        "1.2.3",
    ];
    let home = home.with("FLEET_TARGETS_PASSPHRASE", "wrong");
    let said = home.fleetctl(add).fails(1);
    assert!(said.contains("does not open"), "{said}");
    let said = home.with("FLEET_TARGETS_PASSPHRASE", "").fleetctl(add).fails(2);
    assert!(said.contains("FLEET_TARGETS_PASSPHRASE: the passphrase is empty"), "{said}");
}

#[test]
fn a_folder_or_file_that_cannot_be_published_is_a_mistake_and_says_what_to_do() {
    let home = with_passphrases();
    let add = |path, target| {
        let name = ["--name", "orbit", "--platform", "linux", "--version", "1.2.3"];
        home.fleetctl([&["updates", "add", "--path", path, "--target", target][..], &name].concat())
    };
    for said in [
        home.fleetctl(["updates", "status", "--path", "nowhere"]).fails(2),
        home.fleetctl(["updates", "roots", "--path", "nowhere"]).fails(2),
        add("nowhere", "orbit").fails(2),
    ] {
        assert!(said.contains("is not a TUF repository\nhelp: `fleetctl updates init`"), "{said}");
    }
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    let said = add("tuf", "missing").fails(2);
    assert!(said.starts_with("error: could not read `missing`: No such file"), "{said}");
    home.write("empty", "");
    let without = Home::new();
    let path = home.path("tuf");
    for target in ["missing", "empty"] {
        let target = home.path(target);
        let said = without.fleetctl([
            "updates",
            "add",
            "--path",
            path.to_str().unwrap(),
            "--target",
            target.to_str().unwrap(),
            "--name",
            "orbit",
            "--platform",
            "linux",
            "--version",
            "1.2.3",
        ]);
        let said = said.fails(2);
        assert!(!said.contains("passphrase"), "looked at before anybody is asked: {said}");
    }
}

#[test]
fn roots_that_nobody_can_trust_are_refused_before_any_work() {
    let home = Home::new();
    home.write("bin/orbit", "#!/bin/sh\n");
    home.write("root.json", "{\"signed\": {}, \"signatures\": []}");
    for (origin, roots) in [("--components=bin", "root.json"), ("--update-url=tuf", "{}")] {
        let package = ["package", "--type", "zip", origin, "--update-roots", roots];
        let said = home.fleetctl(package).fails(2);
        assert!(said.contains("--type `zip` is unknown"), "{said}");
        assert!(said.contains("--update-roots cannot be trusted: the metadata"), "{said}");
    }
}

#[test]
fn a_repository_is_not_made_twice() {
    let home = with_passphrases();
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    let said = home.fleetctl(["updates", "init", "--path", "tuf"]).fails(1);
    assert!(said.contains("\nhelp: choose another directory"), "{said}");
}

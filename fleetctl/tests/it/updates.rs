//! A repository of updates, from its keys to a package made of it.

use serde_json::Value;

use crate::run::Home;

const ROLES: [&str; 4] = ["ROOT", "TARGETS", "SNAPSHOT", "TIMESTAMP"];

pub(crate) const ADD: [&str; 12] = [
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

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn with_passphrases() -> Home {
    ROLES.iter().fold(Home::new(), |home, role| {
        home.with(&format!("FLEET_{role}_PASSPHRASE"), format!("{role} passphrase"))
    })
}

#[test]
fn what_is_published_can_be_packaged_and_again_without_the_repository() {
    let home = with_passphrases();
    home.write("orbit", "#!/bin/sh\necho orbit\n");
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    let add = [&ADD[..], &["--tag", "stable", "--output", "json"]].concat();
    let done = json(&home.fleetctl(add).ok());
    assert_eq!(done["what"], "add orbit/linux/1.2.3/orbit, orbit/linux/stable/orbit");
    assert_eq!(done["targets"][1], "orbit/linux/stable/orbit");
    assert_eq!(done["files"][2], "timestamp.json");
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
    let home = home.with("FLEET_TARGETS_PASSPHRASE", "wrong");
    let said = home.fleetctl(ADD).fails(1);
    assert!(said.contains("does not open"), "{said}");
    let said = home.with("FLEET_TARGETS_PASSPHRASE", "").fleetctl(ADD).fails(2);
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

pub(crate) fn updates(home: &Home, args: &[&str]) -> crate::run::Ended {
    let [verb, rest @ ..] = args else { panic!("a verb is missing") };
    let verbs: Vec<_> = verb.split(' ').collect();
    home.fleetctl([&["updates"], &verbs[..], &["--path", "tuf"], rest].concat())
}

#[test]
fn the_daily_work_is_one_command_each() {
    let home = with_passphrases();
    home.write("orbit", "#!/bin/sh\n");
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    home.fleetctl(ADD).ok();
    let promote =
        ["promote", "--name", "orbit", "--version", "1.2.3", "--to", "edge", "-o", "json"];
    let promoted = json(&updates(&home, &promote).ok());
    let targets = ["orbit/linux/edge/orbit", "orbit/linux/edge/release.json"];
    assert_eq!(promoted["targets"], serde_json::json!(targets));
    updates(&home, &["remove", "orbit/linux/1.2.3/orbit"]).ok();
    let said = updates(&home, &["remove", "orbit/linux/1.2.3/orbit"]).fails(2);
    assert!(said.contains("there is no target `orbit/linux/1.2.3/orbit`\nhelp: "), "{said}");

    assert_eq!(updates(&home, &["timestamp", "--if-within", "6d"]).ok(), "");
    let renewed = updates(&home, &["timestamp", "--if-within", "7d", "-o", "json"]).ok();
    assert_eq!(json(&renewed)["files"], serde_json::json!(["timestamp.json"]));
    updates(&home, &["snapshot"]).ok();
    updates(&home, &["renew", "root"]).ok();
    let status = json(&updates(&home, &["status", "-o", "json"]).ok());
    let root = &status["roles"][0];
    assert_eq!((&root["role"], &root["version"]), (&"root".into(), &2.into()));
    assert_eq!((&root["state"], &root["threshold"]), (&"valid".into(), &1.into()));
    assert_eq!(status["targets"][0]["version"], "1.2.3");

    let log = json(&updates(&home, &["log", "--verify", "--output", "json"]).ok());
    let what: Vec<_> =
        log.as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(what[2..4], ["promote orbit 1.2.3 to edge", "remove orbit/linux/1.2.3/orbit"]);
    let audit = json(&updates(&home, &["verify", "--output", "json"]).ok());
    assert_eq!((&audit["targets"], &audit["problems"]), (&2.into(), &serde_json::json!([])));
    let pause = ["pause", "--name", "orbit", "--channel", "edge", "-o", "json"];
    let paused = json(&updates(&home, &pause).ok());
    assert_eq!(paused["targets"], serde_json::json!(["orbit/linux/edge/release.json"]));
    updates(&home, &["resume", "--name", "orbit", "--channel", "edge"]).ok();
    let waves = |waves: &'static str| {
        let promote = ["promote", "--name", "orbit", "--version", "edge", "--to", "stable"];
        updates(&home, &[&promote[..], &["--waves", waves]].concat())
    };
    waves("1%,10%@24h,100%@3d").ok();
    let said = waves("1%,10%@24h").fails(2);
    assert!(said.contains("the last one must be everybody"), "{said}");
    let said = waves("200%").fails(2);
    assert!(said.contains("a wave is a share from 1% to 100%"), "{said}");
    let told = updates(&home, &["publish", "www", "--dry-run", "-o", "json"]).ok();
    assert!(told.contains("timestamp.json") && !home.path("www").exists(), "{told}");
    assert_eq!(updates(&home, &["publish", "www", "-o", "json"]).ok(), told);
    let other = home.path("www/1.root.json");
    let root = std::fs::read(&other).unwrap();
    std::fs::write(&other, "{}").unwrap();
    let said = updates(&home, &["publish", "www"]).fails(2);
    assert!(said.contains("`www` is a copy of another repository"), "{said}");
    std::fs::write(&other, root).unwrap();
    assert_eq!(
        json(&updates(&home, &["publish", "www", "-o", "json"]).ok()),
        serde_json::json!([])
    );
    home.fleetctl(["updates", "verify", "--repository", "www"]).ok();
    assert_eq!(
        json(&updates(&home, &["gc", "--dry-run", "-o", "json"]).ok()),
        serde_json::json!([])
    );
}

#[test]
fn a_file_that_was_changed_is_found() {
    let home = with_passphrases();
    home.write("orbit", "#!/bin/sh\n");
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    home.fleetctl(ADD).ok();
    let dir = home.path("tuf/repository/targets/orbit/linux/1.2.3");
    let file = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, "#!/bin/sh\nrm -rf /\n").unwrap();
    let verified =
        home.fleetctl(["updates", "verify", "--repository", "tuf/repository", "-o", "json"]);
    assert_eq!(verified.code, 1, "{}", verified.stderr);
    let problem = json(&verified.stdout)["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("is not the file that was signed for"), "{problem}");
    let said = home.fleetctl(["updates", "verify", "--repository", "nowhere"]).fails(2);
    assert!(said.contains("`nowhere` has no `1.root.json`"), "{said}");
}

/// As a scheduled job asks, which tells somebody when the exit code is not 0.
#[test]
fn what_is_to_be_signed_soon_is_told_by_the_exit_code() {
    let mut home = with_passphrases();
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    updates(&home, &["status"]).ok();
    let libraries = std::fs::read_dir("/usr/lib").unwrap().map(|it| it.unwrap().path());
    let library =
        libraries.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|it| it.exists());
    let library = library.expect("the package faketime is not installed");
    home = home.with("LD_PRELOAD", library.to_str().unwrap()).with("NO_FAKE_STAT", "1");
    home = home.with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    for (time, state) in [("+3d", "valid"), ("+5d", "expiring"), ("+8d", "expired")] {
        home = home.with("FAKETIME", time);
        let ended = updates(&home, &["status", "-o", "json"]);
        assert_eq!(ended.code, i32::from(state != "valid"), "{time}: {}", ended.stderr);
        let status = json(&ended.stdout);
        let timestamp = &status["roles"][3];
        assert_eq!((&timestamp["role"], &timestamp["state"]), (&"timestamp".into(), &state.into()));
    }
}

/// Three people hold the root; two of them let a new key sign the timestamp.
#[test]
fn a_change_of_keys_is_signed_by_people_with_a_folder_each() {
    let home = with_passphrases()
        .with("FLEET_ROOT_2_PASSPHRASE", "of the second")
        .with("FLEET_ROOT_3_PASSPHRASE", "of the third")
        .with("FLEET_TIMESTAMP_2_PASSPHRASE", "new");
    let init = ["updates", "init", "--path", "tuf", "--root-keys", "3", "--root-threshold", "2"];
    let made = home.fleetctl(init);
    assert!(
        made.stderr.contains("`tuf/keys/root-2.pem`, `tuf/keys/root-3.pem`"),
        "{}",
        made.stderr
    );
    made.ok();
    for name in ["root", "root-2", "root-3"] {
        let usb = home.path(&format!("usb-{name}"));
        std::fs::create_dir(&usb).unwrap();
        for ending in ["pem", "pub"] {
            let from = home.path(&format!("tuf/keys/{name}.{ending}"));
            std::fs::rename(from, usb.join(format!("{name}.{ending}"))).unwrap();
        }
    }
    let said = updates(&home, &["renew", "root", "--keys", "usb-root"]).fails(1);
    assert!(said.contains("needs 2 signatures, and 1 of its keys are here\nhelp: "), "{said}");

    updates(&home, &["rotate", "timestamp", "--keys", "usb-root"]).fails(1);
    assert!(!home.path("tuf/keys/timestamp-2.pem").exists(), "no key for a change that cannot be");
    let staged = json(&updates(&home, &["rotate", "timestamp", "--stage", "-o", "json"]).ok());
    assert_eq!(staged["is_signed"], false);
    let said = updates(&home, &["rotate", "timestamp", "--stage"]).fails(1);
    assert!(said.contains("waits for signatures"), "{said}");
    assert!(!home.path("tuf/keys/timestamp-3.pem").exists());
    let said = updates(&home, &["change apply"]).fails(1);
    assert!(said.contains("signatures are missing"), "{said}");
    for name in ["root-2", "root-3"] {
        let copy = format!("usb-{name}/change");
        updates(&home, &["change export", &copy]).ok();
        let sign =
            ["updates", "change", "sign", "--folder", &copy, "--keys", &format!("usb-{name}")];
        home.fleetctl(sign).ok();
        updates(&home, &["change import-signature", &copy]).ok();
    }
    assert_eq!(json(&updates(&home, &["change show", "-o", "json"]).ok())["is_signed"], true);
    let done = json(&updates(&home, &["change apply", "-o", "json"]).ok());
    assert_eq!(done["files"], serde_json::json!(["timestamp.json", "2.root.json"]));
    let keys = json(&updates(&home, &["key list", "--output", "json"]).ok());
    let roles = |name: &str| {
        let keys = keys.as_array().unwrap().iter();
        keys.filter(|it| it["name"] == name).map(|it| it["roles"].clone()).next().unwrap()
    };
    assert_eq!(roles("timestamp"), serde_json::json!([]));
    assert_eq!(roles("timestamp-2"), serde_json::json!(["timestamp"]));
    updates(&home, &["timestamp"]).ok();
    updates(&home, &["verify"]).ok();
    let said = updates(&home, &["change show"]).fails(2);
    assert!(said.contains("is not the folder of a change"), "{said}");
}

#[test]
fn passphrases_come_from_files_too() {
    let home = Home::new();
    home.write("secret", "one for all\n");
    let with_secret = |args: &[&str]| {
        home.fleetctl(
            [&["updates"], args, &["--path", "tuf", "--passphrase-file", "secret"]].concat(),
        )
    };
    with_secret(&["init"]).ok();
    with_secret(&["timestamp"]).ok();
    with_secret(&["key", "gen", "osquery", "--kind", "p256"]).ok();
    let delegate =
        ["roles", "delegate", "osquery", "tuf/keys/osquery.pub", "--paths", "osqueryd/*/*/*"];
    with_secret(&delegate).ok();
    let roles = json(&updates(&home, &["roles list", "--output", "json"]).ok());
    assert_eq!(roles[2]["paths"], serde_json::json!(["osqueryd/*/*/*"]));
    home.write("new", "another\n");
    with_secret(&["key", "passwd", "timestamp", "--new-passphrase-file", "new"]).ok();
    let said = with_secret(&["timestamp"]).fails(1);
    assert!(said.contains("the passphrase does not open"), "{said}");
    with_secret(&["roles", "revoke", "osquery"]).fails(1);
    let said = updates(&home, &["timestamp"]).fails(2);
    assert!(said.contains("give FLEET_TIMESTAMP_PASSPHRASE"), "{said}");
    let said = updates(&home, &["roles set-threshold", "root", "2"]).fails(2);
    assert!(said.contains("would need 2 signatures and have 1 keys"), "{said}");
}

#[test]
fn a_passphrase_from_a_pipe_opens_every_key() {
    let home = Home::new();
    let piped = |args: &[&str]| {
        let from = ["--path", "tuf", "--passphrase-fd", "0"];
        home.fleetctl_reading("one for all\n", [&["updates"], args, &from].concat())
    };
    piped(&["init"]).ok();
    piped(&["snapshot"]).ok();
    home.write("secret", "one for all\n");
    updates(&home, &["renew", "root", "--passphrase-file", "secret"]).ok();
}

/// What agents ask for, and no more: nobody would look for it compressed.
#[test]
fn an_extension_is_published_for_the_agents_that_are_told_to_have_it() {
    let home = with_passphrases();
    let content = "an extension of osquery\n".repeat(200);
    home.write("hello_world.ext", &content);
    updates(&home, &["init"]).ok();
    let add = |name: &str| {
        let about = ["--platform", "linux", "--version", "1.0.0", "--tag", "stable", "-o", "json"];
        let file = ["add", "--target", "hello_world.ext", "--name", name];
        updates(&home, &[&file[..], &about].concat())
    };
    let said = add("extensions/../hello").fails(2);
    assert!(said.contains("is not the name of an extension"), "{said}");
    let nowhere = ["add", "--target=hello_world.ext", "--name=extensions/hello_world"];
    let app = ["--platform=macos-app", "--version=1.0.0"];
    let said = updates(&home, &[&nowhere[..], &app].concat()).fails(2);
    assert!(said.contains("have --platform macos:"), "{said}");
    let said = add("hello_world").fails(2);
    assert!(said.contains("nor an extension (extensions/<name>)"), "{said}");
    let [version, stable] =
        ["1.0.0", "stable"].map(|it| format!("extensions/hello_world/linux/{it}/hello_world.ext"));
    let done = json(&add("extensions/hello_world").ok());
    assert_eq!(done["targets"], serde_json::json!([version, stable]));
    home.write("hello_world.ext", "another one");
    let said = add("extensions/hello_world").fails(2);
    assert!(said.contains(&format!("`{version}` is published already")), "{said}");

    assert_eq!(brought(&home, &stable).as_deref(), Some(content.as_bytes()));
    let status = json(&updates(&home, &["status", "-o", "json"]).ok());
    let listed = |it: usize| [&status["targets"][it]["name"], &status["targets"][it]["version"]];
    assert_eq!(listed(0), [version.as_str(), "1.0.0"]);
    assert_eq!(listed(1), [stable.as_str(), "1.0.0"]);
    updates(&home, &["remove", &stable]).ok();
    assert_eq!(brought(&home, &stable), None);
    updates(&home, &["verify"]).ok();
}

/// What an agent has of `target`, which trusts the first root and was never here.
fn brought(home: &Home, target: &str) -> Option<Vec<u8>> {
    let dir = |name: &str| camino::Utf8PathBuf::from_path_buf(home.path(name)).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let config = update::RepositoryConfig {
        location: update::Location::Directory(dir("tuf/repository")),
        pinned_root: std::fs::read(home.path("tuf/repository/1.root.json")).unwrap(),
        cache_dir: camino::Utf8Path::from_path(cache.path()).unwrap().to_owned(),
        connection: update::Connection::default(),
        offline: false,
    };
    #[expect(clippy::disallowed_methods, reason = "the program under test has this clock, too")]
    let now = jiff::Timestamp::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut repository = update::Repository::open(config).unwrap();
        repository.refresh(now).await.unwrap();
        let file = repository.find(target, now).await.unwrap()?;
        Some(std::fs::read(repository.bring(&file, now).await.unwrap()).unwrap())
    })
}

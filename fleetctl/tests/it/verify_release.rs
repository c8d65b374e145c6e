//! `fleetctl verify-release` on releases that minisign has signed.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::run::{Ended, Home, tool};

const ARCHIVE: &str = "fleetd-1.2.3-x86_64-unknown-linux-musl.tar.zst";
const PACKAGE: &str = "fleetctl_1.2.3_amd64.deb";
const CYCLONEDX: &str = "fleetd-1.2.3-x86_64-unknown-linux-musl.cdx.json";
const SPDX: &str = "fleetd-1.2.3-x86_64-unknown-linux-musl.spdx.json";
const PROVENANCE: &str = "fleetd-1.2.3-provenance.json";
const COMMENT: &str = "timestamp:1700000000\tfile:SHA256SUMS\thashed\tversion:1.2.3\tcommit:c0ffee";

/// A folder with a release, and a key that has signed it.
struct Release {
    home: Home,
}

impl Release {
    /// A release as it should be.
    fn new() -> Self {
        let release = Self::unsealed();
        release.seal(COMMENT);
        release
    }

    fn unsealed() -> Self {
        let release = Self { home: Home::new() };
        let home = &release.home;
        home.write(&format!("release/{ARCHIVE}"), "an archive");
        home.write(&format!("release/{PACKAGE}"), "a package");
        home.write(&format!("release/{CYCLONEDX}"), r#"{"bomFormat":"CycloneDX"}"#);
        home.write(&format!("release/{SPDX}"), r#"{"spdxVersion":"SPDX-2.3"}"#);
        release.describe(|_| {});
        let (key, public) = (home.path("key"), home.path("key.pub"));
        let args = ["-G", "-W", "-s", key.to_str().unwrap(), "-p", public.to_str().unwrap()];
        tool("minisign", args);
        release
    }

    /// Writes a provenance of what is there, after `change`.
    fn describe(&self, change: impl FnOnce(&mut Value)) {
        let _absent = fs::remove_file(self.path(PROVENANCE));
        let subject =
            |name: &String| json!({ "name": name, "digest": { "sha256": self.hash(name) } });
        let mut statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": self.names().iter().map(subject).collect::<Vec<_>>(),
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "urn:fleetd:release:v1",
                    "externalParameters": { "version": "1.2.3" },
                    "resolvedDependencies": [
                        { "name": "source", "digest": { "gitCommit": "c0ffee" } },
                    ],
                },
                "runDetails": { "builder": { "id": "urn:example:builder" } },
            },
        });
        change(&mut statement);
        fs::write(self.path(PROVENANCE), statement.to_string()).unwrap();
    }

    /// Names what is there in `SHA256SUMS`, and signs that with minisign.
    fn seal(&self, comment: &str) {
        let line = |name: &String| format!("{}  {name}\n", self.hash(name));
        let sums: String = self.names().iter().map(line).collect();
        fs::write(self.path("SHA256SUMS"), sums).unwrap();
        self.sign(comment);
    }

    fn sign(&self, comment: &str) {
        let (key, sums) = (self.home.path("key"), self.path("SHA256SUMS"));
        let (key, sums) = (key.to_str().unwrap(), sums.to_str().unwrap());
        tool("minisign", ["-S", "-s", key, "-m", sums, "-t", comment]);
    }

    /// Names of the files, but for checksums and signature.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path(".")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("SHA256SUMS")).collect();
        names.sort();
        names
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path("release").join(name)
    }

    fn hash(&self, name: &str) -> String {
        hex::encode(Sha256::digest(fs::read(self.path(name)).unwrap()))
    }

    fn verify(&self, args: &[&str]) -> Ended {
        let all = ["verify-release", "--public-key", "key.pub"].into_iter().chain(args.to_vec());
        self.home.fleetctl(all)
    }

    /// Demands that the folder is refused, and gives what was printed.
    #[track_caller]
    fn refused(&self) -> String {
        let ended = self.verify(&["release"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (1, ""), "{}", ended.stdout);
        ended.stdout
    }
}

#[test]
fn a_release_as_it_was_made_passes() {
    let release = Release::new();
    let said = release.verify(&["release", "--expect-version", "1.2.3"]).ok();
    assert!(said.contains("ok      signature"), "{said}");
    assert!(said.contains("ok      version    1.2.3\n"), "{said}");
    assert!(said.contains("ok      checksums  5 files are what was released\n"), "{said}");
    assert!(said.contains("ok      provenance 4 files built by urn:example:builder\n"), "{said}");
    assert!(said.contains("ok      sbom       every archive has its own; 2 were read\n"), "{said}");
}

#[test]
fn json_says_all_that_was_found() {
    let release = Release::new();
    fs::write(release.path(PACKAGE), "another package").unwrap();
    let ended = release.verify(&["release", "--output", "json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(found["ok"], false);
    assert_eq!((&found["version"], &found["commit"]), (&json!("1.2.3"), &json!("c0ffee")));
    assert_eq!(found["builder"], "urn:example:builder");
    let file = &found["files"][0];
    assert_eq!((&file["name"], &file["state"]), (&json!(PACKAGE), &json!("changed")));
    assert_eq!(file["sha256"], release.hash(PACKAGE));
    let checks = found["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(names, ["signature", "checksums", "provenance", "sbom"]);
    assert_eq!(checks[1]["details"], json!([format!("`{PACKAGE}` is not what was released")]));
}

#[test]
fn any_changed_byte_of_any_file_is_found() {
    let release = Release::new();
    for name in release.names() {
        let whole = fs::read(release.path(&name)).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(release.path(&name), changed).unwrap();
            let said = release.refused();
            assert!(said.contains(&format!("`{name}` is not what was released")), "{said}");
        }
        fs::write(release.path(&name), whole).unwrap();
    }
    release.verify(&["release"]).ok();
}

#[test]
fn any_changed_byte_of_the_checksums_or_their_signature_is_found() {
    let release = Release::new();
    let sums = fs::read(release.path("SHA256SUMS")).unwrap();
    let signature = fs::read(release.path("SHA256SUMS.minisig")).unwrap();
    // The first line of a signature is a comment that nothing covers.
    let covered = signature.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let ends = signature.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let ends: Vec<_> = ends.collect();
    for (name, whole, from) in
        [("SHA256SUMS", &sums, 0), ("SHA256SUMS.minisig", &signature, covered)]
    {
        for at in (from..whole.len()).step_by(7).filter(|at| !ends.contains(at) || from == 0) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(release.path(name), changed).unwrap();
            let said = release.refused();
            assert!(said.starts_with("FAILED  signature "), "{name} {at}: {said}");
            assert_eq!(said.lines().count(), 1, "nothing is asked of what nobody signed: {said}");
        }
        fs::write(release.path(name), whole).unwrap();
    }
    release.verify(&["release"]).ok();
}

#[test]
fn files_that_are_missing_or_unknown_are_found() {
    let release = Release::new();
    fs::remove_file(release.path(ARCHIVE)).unwrap();
    fs::write(release.path("install.sh"), "rm -rf /").unwrap();
    let said = release.refused();
    assert!(said.contains(&format!("`{ARCHIVE}` is missing")), "{said}");
    assert!(said.contains("`install.sh` is no part of the release"), "{said}");
    fs::remove_file(release.path("install.sh")).unwrap();
    let said = release.verify(&["release", "--ignore-missing"]).ok();
    assert!(said.contains("4 files are what was released; 1 are not here"), "{said}");
}

#[test]
fn some_files_of_a_release_can_be_verified() {
    let release = Release::new();
    for name in [PACKAGE, CYCLONEDX, SPDX, PROVENANCE] {
        fs::remove_file(release.path(name)).unwrap();
    }
    let archive = format!("release/{ARCHIVE}");
    let said = release.verify(&[&archive]).ok();
    assert!(said.contains("ok      checksums  1 files are what was released\n"), "{said}");
    fs::write(release.path(ARCHIVE), "another").unwrap();
    assert_eq!(release.verify(&[&archive]).code, 1);
    let said = release.verify(&[&archive, "release/absent", "key"]).fails(2);
    assert!(said.contains("`release/absent` is not there"), "{said}");
    assert!(said.contains("`key` is in another folder"), "{said}");
}

#[test]
fn another_key_or_none_at_all_is_told() {
    let (release, other) = (Release::new(), Release::unsealed());
    fs::copy(other.home.path("key.pub"), release.home.path("other.pub")).unwrap();
    let with =
        |key: &str| release.home.fleetctl(["verify-release", "release", "--public-key", key]);
    let said = with("other.pub");
    assert_eq!(said.code, 1);
    assert_eq!(said.stdout, "FAILED  signature  it was made with another key\n");
    assert!(with("absent").fails(2).contains("`absent` is no key, and no file to read"));
    assert!(with("key").fails(2).contains("`key` holds no key of minisign"));
    let text = fs::read_to_string(release.home.path("key.pub")).unwrap();
    with(text.lines().nth(1).unwrap()).ok();
    fs::remove_file(release.path("SHA256SUMS.minisig")).unwrap();
    assert!(release.refused().contains("could not read the signature"));
    fs::remove_file(release.path("SHA256SUMS")).unwrap();
    let said = release.verify(&["release"]).fails(2);
    assert!(said.contains("help: download SHA256SUMS and SHA256SUMS.minisig"), "{said}");
}

#[test]
fn an_old_release_is_not_taken_for_a_new_one() {
    let said = Release::new().verify(&["release", "--expect-version", "1.2.4"]);
    assert_eq!(said.code, 1);
    assert!(said.stdout.contains("FAILED  version    the release is 1.2.3, not 1.2.4"));
}

#[test]
fn what_a_signed_provenance_claims_is_compared() {
    let release = Release::unsealed();
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|it| it["subject"][0]["digest"]["sha256"] = "0".repeat(64).into(), "it is about another"),
        (|it| _ = it["subject"].as_array_mut().unwrap().pop(), "it is not about"),
        (|it| it["subject"][0]["name"] = "x".into(), "`x` is no part of the release"),
        (|it| it["predicateType"] = "https://example.com/x".into(), "it is no SLSA provenance"),
        (
            |it| {
                it["predicate"]["buildDefinition"]["externalParameters"]["version"] = "1.2.4".into()
            },
            "its version is 1.2.4, the signature's is 1.2.3",
        ),
        (
            |it| it["predicate"]["buildDefinition"]["resolvedDependencies"] = json!([]),
            "its commit is none, the signature's is c0ffee",
        ),
    ];
    for (change, told) in cases {
        release.describe(change);
        release.seal(COMMENT);
        let said = release.refused();
        assert!(said.contains("FAILED  provenance"), "{said}");
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn an_archive_without_bills_of_materials_or_with_false_ones_is_found() {
    let release = Release::unsealed();
    fs::remove_file(release.path(SPDX)).unwrap();
    fs::write(release.path(CYCLONEDX), "{}").unwrap();
    release.describe(|_| {});
    release.seal(COMMENT);
    let said = release.refused();
    assert!(said.contains("has no SPDX-2.3 document"), "{said}");
    assert!(said.contains(&format!("{CYCLONEDX}` is no CycloneDX document")), "{said}");
}

#[test]
fn checksums_lead_to_no_other_folder() {
    let release = Release::new();
    let sum = "0".repeat(64);
    for line in [format!("{sum}  ../key"), format!("{sum} *x"), format!("{sum}  "), "x".to_owned()]
    {
        fs::write(release.path("SHA256SUMS"), format!("{line}\n")).unwrap();
        release.sign(COMMENT);
        let said = release.refused();
        assert!(said.contains("SHA256SUMS has no checksum in line 1"), "{line}: {said}");
    }
}

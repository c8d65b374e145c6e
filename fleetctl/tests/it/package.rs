//! `fleetctl package`: what it makes, what it refuses, what it leaves behind.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::run::{Home, ended, program, tool};

const SECRET: &str = "the secret nobody may see";

/// A home with programs to package and a secret to pack, all of the same date.
fn home() -> Home {
    let home = Home::new();
    for name in ["bin/orbit", "bin/osqueryd"] {
        let path = home.write(name, format!("#!/bin/sh\necho {name}\n"));
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
    }
    home.write("secret.txt", format!("{SECRET}\n"));
    home
}

const ENROLL: [&str; 6] = [
    "--components",
    "bin",
    "--fleet-url",
    "https://fleet.example.com",
    "--enroll-secret-file",
    "secret.txt",
];

fn package<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&["package"], flags, &ENROLL].concat()
}

fn artifacts(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn listing(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_type_and_architecture_is_made_and_described() {
    let home = home();
    let flags = [
        "--type",
        "deb,rpm",
        "--arch",
        "amd64",
        "--arch",
        "arm64",
        "--out-dir",
        "dist",
        "--output",
        "json",
        "--package-version",
        "1.2.3",
    ];
    let made = artifacts(&home.fleetctl(package(&flags)).ok());
    assert_eq!(made.len(), 4);
    for artifact in &made {
        let path = home.path(artifact["path"].as_str().unwrap());
        let keys: Vec<_> = artifact.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["path", "size", "sha256", "type", "arch", "version", "signer"]);
        assert_eq!(artifact["version"], "1.2.3");
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(artifact["size"], metadata.len());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "it holds the secret");
        let sum = tool("sha256sum", [&path]);
        assert_eq!(artifact["sha256"].as_str(), sum.split(' ').next());
    }
    assert_eq!(listing(&home.path("dist")).len(), 4, "nothing temporary");
    let deb = home.path("dist/fleetd_1.2.3_arm64.deb");
    assert_eq!(
        tool("dpkg-deb", ["--field".as_ref(), deb.as_os_str(), "Architecture".as_ref()]),
        "arm64\n"
    );
}

#[test]
fn folder_umask_and_clock_leave_no_trace() {
    let (one, two) = (home(), home().with("TZ", "Pacific/Kiritimati"));
    let flags = ["--type", "deb,rpm", "--output", "json"];
    let sums = |json: &str| -> Vec<Value> {
        artifacts(json).into_iter().map(|artifact| artifact["sha256"].clone()).collect()
    };
    let first = sums(&one.fleetctl(package(&flags)).ok());
    std::fs::create_dir(two.path("elsewhere")).unwrap();
    let script = format!(
        "umask 077 && exec {} {} --out-dir elsewhere",
        env!("CARGO_BIN_EXE_fleetctl"),
        package(&flags).join(" ")
    );
    let second = program("sh".as_ref())
        .args(["-c", &script])
        .current_dir(two.path(""))
        .env("HOME", two.path(""))
        .output()
        .unwrap();
    assert_eq!(sums(&String::from_utf8(second.stdout).unwrap()), first);
}

#[test]
fn the_date_given_wins_over_those_of_files() {
    let (one, two) = (home(), home());
    two.write("bin/orbit", "#!/bin/sh\necho bin/orbit\n");
    let flags = ["--type", "deb", "--output", "json"];
    let dated = |home: Home| {
        let home = home.with("SOURCE_DATE_EPOCH", "1600000000");
        artifacts(&home.fleetctl(package(&flags)).ok())[0]["sha256"].clone()
    };
    assert_eq!(dated(one), dated(two));
    let said = home().with("SOURCE_DATE_EPOCH", "yesterday").fleetctl(package(&flags)).fails(2);
    assert!(said.contains("SOURCE_DATE_EPOCH `yesterday` cannot be used"), "{said}");
}

#[test]
fn everything_wrong_is_told_at_once_and_nothing_is_made() {
    let home = home();
    home.write("text.pem", "not PEM");
    let said = home
        .fleetctl([
            "package",
            "--type",
            "deb,zip,pkg.tar.zst",
            "--arch",
            "mips",
            "--components",
            "nowhere",
            "--fleet-url",
            "ftp://fleet",
            "--enroll-secret",
            "a",
            "--enroll-secret-file",
            "missing",
            "--fleet-certificate",
            "text.pem",
            "--insecure",
            "--fleet-tls-client-certificate",
            "text.pem",
            "--update-tls-client-key",
            "absent.key",
            "--osquery-flagfile",
            "absent.flags",
            "--osquery-db",
            "relative",
            "--update-interval",
            "soon",
            "--orbit-channel",
            "Stable!",
            "--cpu-quota",
            "lots",
            "--compression",
            "rar",
            "--package-version",
            "one",
            "--host-identifier",
            "hostname",
            "--out-dir",
            "dist",
            "--outfile",
            "dist/agent.rpm",
            "--notarize",
        ])
        .fails(2);
    for problem in [
        "--type `zip` is unknown",
        "--type pkg.tar.zst is not built",
        "--arch: architecture `mips`",
        "--components `nowhere` is not a folder",
        "--fleet-url cannot be used",
        "--enroll-secret and --enroll-secret-file contradict",
        "--fleet-certificate and --insecure contradict",
        "--fleet-tls-client-certificate goes together with --fleet-tls-client-key",
        "--update-tls-client-key `absent.key` cannot be read",
        "--osquery-flagfile `absent.flags` cannot be read",
        "--osquery-db cannot be used",
        "--update-interval",
        "--orbit-channel",
        "--cpu-quota",
        "--compression: compression `rar`",
        "--package-version `one`",
        "--host-identifier `hostname`",
        "--outfile and --out-dir contradict",
        "is in a folder that is not there",
        "--notarize needs --type pkg",
    ] {
        assert!(said.contains(problem), "{problem:?} is missing in {said}");
    }
    assert_eq!(listing(&home.path("")), ["bin", "secret.txt", "text.pem"]);
}

#[test]
fn one_problem_is_one_line() {
    let said = home()
        .fleetctl([
            "package",
            "--type",
            "deb",
            "--components",
            "bin",
            "--insecure",
            "--fleet-url",
            "https://fleet.example.com",
        ])
        .fails(2);
    assert_eq!(said, "error: --fleet-url goes together with the enroll secret, which is missing\n");
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_refused() {
    let home = home();
    let pair = || rcgen::generate_simple_self_signed(["agent".to_owned()]).unwrap();
    let (one, two) = (pair(), pair());
    home.write("one.pem", one.cert.pem());
    home.write("one.key", one.signing_key.serialize_pem());
    home.write("two.key", two.signing_key.serialize_pem());
    let flags = |key| {
        package(&[
            "--type",
            "deb",
            "--fleet-tls-client-certificate",
            "one.pem",
            "--fleet-tls-client-key",
            key,
        ])
    };
    let said = home.fleetctl(flags("two.key")).fails(2);
    assert!(said.contains("--fleet-tls-client-key does not belong to"), "{said}");
    home.fleetctl(flags("one.key")).ok();
}

#[test]
fn flags_of_other_kinds_of_packages_are_refused_not_ignored() {
    for flag in [
        &["--identifier", "x"][..],
        &["--sign-identity", "x"],
        &["--notarize"],
        &["--app-store-connect-api-key-id", "x"],
        &["--app-store-connect-api-key-issuer", "x"],
        &["--app-store-connect-api-key-content", "x"],
        &["--app-store-connect-api-key-file", "x"],
        &["--notary-url", "https://notary.example.com"],
        &["--no-wait"],
        &["--local-wix-dir", "x"],
        &["--use-system-configuration"],
        &["--fleet-managed-host-identity-certificate"],
    ] {
        let said = home().fleetctl(package(&[&["--type", "deb"], flag].concat())).fails(2);
        assert!(said.contains(flag[0]), "{said}");
    }
    let variable = "FLEETCTL_FLEET_MANAGED_HOST_IDENTITY_CERTIFICATE";
    home().with(variable, "true").fleetctl(package(&["--type", "deb"])).fails(2);
}

#[test]
fn the_file_is_named_as_asked_and_replaced_as_a_whole() {
    let home = home();
    home.write("agent.deb", "old");
    let flags = package(&["--type", "deb", "--outfile", "agent.deb", "--output", "json"]);
    assert_eq!(artifacts(&home.fleetctl(&flags).ok())[0]["path"], "agent.deb");
    tool("dpkg-deb", ["--info".as_ref(), home.path("agent.deb").as_os_str()]);
    let several = package(&["--type", "deb,rpm", "--outfile", "agent.deb"]);
    assert!(home.fleetctl(several).fails(2).contains("several are asked for"));
    let suffix = package(&["--type", "rpm", "--outfile", "agent.deb"]);
    assert!(home.fleetctl(suffix).fails(2).contains("does not end in .rpm"));
}

#[test]
fn failing_at_the_end_leaves_no_temporary_file() {
    let home = home();
    home.write("dist/fleetd_0.1.0_amd64.deb/in-the-way", "");
    home.fleetctl(package(&["--type", "deb", "--out-dir", "dist"])).fails(1);
    assert_eq!(listing(&home.path("dist")), ["fleetd_0.1.0_amd64.deb"]);
}

#[test]
fn a_signal_leaves_nothing() {
    let home = home();
    let noise: Vec<u8> = (0u64..6_000_000)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    home.write("bin/orbit", noise);
    let flags = package(&["--type", "deb,rpm", "--compression", "xz:9", "--out-dir", "dist"]);
    let run = home.start(flags);
    while listing(&home.path("dist")).len() < 2 {
        std::thread::yield_now();
    }
    tool("kill", ["-TERM", &run.id().to_string()]);
    let ended = ended(run);
    assert_eq!(ended.code, 128 + 15, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(listing(&home.path("dist")), Vec::<String>::new());
}

#[test]
fn the_secret_is_in_the_package_and_in_no_output() {
    let home = home();
    let run = home.fleetctl(package(&["--type", "deb", "--verbose", "--outfile", "agent.deb"]));
    assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET));
    let deb = home.path("agent.deb");
    let unpacked = home.path("unpacked");
    tool("dpkg-deb", ["--extract".as_ref(), deb.as_os_str(), unpacked.as_os_str()]);
    let secret = std::fs::read_to_string(unpacked.join("opt/orbit/secret.txt")).unwrap();
    assert_eq!(secret, format!("{SECRET}\n"));
    let defaults = std::fs::read_to_string(unpacked.join("etc/default/orbit")).unwrap();
    assert!(!defaults.contains(SECRET), "{defaults}");
    home.write("secret.txt", format!("{SECRET}\nand more\n"));
    let said = home.fleetctl(package(&["--type", "deb"])).fails(2);
    assert!(said.contains("holds no enroll secret") && !said.contains(SECRET), "{said}");
}

/// The secret that a package made so carries.
fn packed(home: &Home, input: &str, flags: &[&str]) -> String {
    let fixed = [
        "package",
        "--type",
        "deb",
        "--components",
        "bin",
        "--outfile",
        "agent.deb",
        "--fleet-url",
        "fleet.example.com",
    ];
    home.fleetctl_reading(input, [&fixed, flags].concat()).ok();
    let (deb, unpacked) = (home.path("agent.deb"), home.path("unpacked"));
    tool("dpkg-deb", ["--extract".as_ref(), deb.as_os_str(), unpacked.as_os_str()]);
    std::fs::read_to_string(unpacked.join("opt/orbit/secret.txt")).unwrap()
}

#[test]
fn a_secret_by_flag_or_input_wins_over_the_environment() {
    let home = home().with("FLEET_ENROLL_SECRET", "from-environment");
    assert_eq!(packed(&home, "", &[]), "from-environment\n");
    assert_eq!(packed(&home, "", &["--enroll-secret", "from-flag"]), "from-flag\n");
    assert_eq!(packed(&home, "from-input\r\n", &["--enroll-secret-file", "-"]), "from-input\n");
}

#[test]
fn fleets_own_variables_are_flags() {
    let home = home()
        .with("FLEETCTL_END_USER_EMAIL", "ann@example.com")
        .with("FLEETCTL_ENABLE_SCRIPTS", "1")
        .with("FLEETCTL_HOST_IDENTIFIER", "instance")
        .with("FLEETCTL_OSQUERY_DB", "/srv/osquery.db")
        .with("FLEETCTL_NATIVE_TOOLING", "true");
    home.fleetctl(package(&["--type", "deb", "--service=false"])).ok();
    let deb = home.path("build/fleetd_0.1.0_amd64.deb");
    let unpacked = home.path("unpacked");
    tool("dpkg-deb", ["--extract".as_ref(), deb.as_os_str(), unpacked.as_os_str()]);
    let defaults = std::fs::read_to_string(unpacked.join("etc/default/orbit")).unwrap();
    for line in [
        "ORBIT_END_USER_EMAIL=\"ann@example.com\"",
        "ORBIT_ENABLE_SCRIPTS=\"true\"",
        "ORBIT_HOST_IDENTIFIER=\"instance\"",
        "ORBIT_OSQUERY_DB=\"/srv/osquery.db\"",
    ] {
        assert!(defaults.contains(line), "{line} is missing in {defaults}");
    }
}

#[test]
fn a_dry_run_shows_the_tree_and_writes_nothing() {
    let home = home();
    let before = listing(&home.path(""));
    let text = home.fleetctl(package(&["--type", "deb,rpm", "--dry-run"])).ok();
    assert_eq!(text.matches("/opt/orbit/bin/orbit/packaged/orbit\n").count(), 2, "{text}");
    let json = home.fleetctl(package(&["--type", "rpm", "--dry-run", "-o", "json"])).ok();
    let plans = artifacts(&json);
    assert_eq!(plans[0]["type"], "rpm");
    let secret = plans[0]["files"].as_array().unwrap();
    let secret = secret.iter().find(|file| file["path"] == "/opt/orbit/secret.txt").unwrap();
    assert_eq!((&secret["mode"], &secret["owner"]), (&"0600".into(), &"root:root".into()));
    assert_eq!(listing(&home.path("")), before);
}

#[test]
fn a_program_for_another_architecture_is_refused() {
    let home = home();
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[18] = 183;
    home.write("bin/orbit", elf);
    let said = home.fleetctl(package(&["--type", "deb"])).fails(2);
    let told = "is a program for linux/arm64, not for linux/amd64";
    assert!(said.contains(told), "{said}");
}

#[test]
fn one_pkg_serves_both_architectures_and_takes_bundles_as_repositories_have_them() {
    let home = home();
    std::fs::remove_file(home.path("bin/osqueryd")).unwrap();
    home.write("osquery.app/Contents/MacOS/osqueryd", "#!/bin/sh\n");
    let archive = home.path("bin/osqueryd.app.tar.gz");
    let from = home.path("");
    let tar = ["-czf".as_ref(), archive.as_os_str(), "-C".as_ref(), from.as_os_str()];
    tool("tar", [&tar[..], &["osquery.app".as_ref()]].concat());
    let flags = ["--type", "pkg", "--arch", "amd64,arm64", "--package-version", "1.2.3"];
    let flags = package(&[&flags[..], &["--output", "json"]].concat());
    let plans: Value =
        serde_json::from_str(&home.fleetctl([&flags[..], &["--dry-run"]].concat()).ok()).unwrap();
    let files = plans[0]["files"].as_array().unwrap();
    let program = "/opt/orbit/bin/osqueryd/packaged/osquery.app/Contents/MacOS/osqueryd";
    assert!(files.iter().any(|file| file["path"] == program && file["owner"] == "root:wheel"));
    let made = artifacts(&home.fleetctl(&flags).ok());
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["arch"], "universal");
    assert_eq!(made[0]["path"], "./fleetd-1.2.3.pkg");
    let pkg = home.path("fleetd-1.2.3.pkg");
    let listed = tool("bsdtar", ["-tf".as_ref(), pkg.as_os_str()]);
    assert!(listed.contains("fleetd.pkg/Payload"), "{listed}");
    assert!(!std::fs::read(pkg).unwrap().windows(SECRET.len()).any(|it| it == SECRET.as_bytes()));
}

/// The least that is a program for Windows.
pub(crate) fn windows_program(machine: u16) -> Vec<u8> {
    let mut head = vec![0; 0x200];
    head[..2].copy_from_slice(b"MZ");
    head[0x3c] = 0x40;
    head[0x40..0x44].copy_from_slice(b"PE\0\0");
    head[0x44..0x46].copy_from_slice(&machine.to_le_bytes());
    head[0x54..0x56].copy_from_slice(&240_u16.to_le_bytes());
    head[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
    head
}

#[test]
fn an_msi_is_made_for_each_architecture_from_programs_for_windows() {
    let home = home();
    home.write("win/orbit/windows/orbit.exe", windows_program(0x8664));
    home.write("win/orbit/windows-arm64/orbit.exe", windows_program(0xaa64));
    let flags = [
        "package",
        "--type=msi",
        "--arch=amd64,arm64",
        "--components=win",
        "--package-version=1.2.3",
        "--output=json",
    ];
    let made = artifacts(&home.fleetctl(flags).ok());
    let paths: Vec<_> = made.iter().map(|artifact| artifact["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["./fleetd-1.2.3-x64.msi", "./fleetd-1.2.3-arm64.msi"]);
    for (path, template) in paths.iter().zip(["x64;1033", "Arm64;1033"]) {
        let summary = tool("msiinfo", ["suminfo".as_ref(), home.path(path).as_os_str()]);
        assert!(summary.contains(&format!("Template: {template}")), "{summary}");
    }
}

#[test]
fn an_msi_of_programs_for_another_system_or_squeezed_otherwise_is_refused() {
    let home = home();
    home.write("bin/orbit.exe", windows_program(0x8664));
    let said = home.fleetctl(package(&["--type", "msi", "--arch", "arm64"])).fails(2);
    assert!(said.contains("is a program for windows/amd64, not for windows/arm64"), "{said}");
    let said = home.fleetctl(package(&["--type", "msi", "--compression", "zstd:3"])).fails(2);
    assert!(said.contains("--compression zstd:3 does not go with --type msi"), "{said}");
    home.write("bin/orbit.exe", "#!/bin/sh");
    let said = home.fleetctl(package(&["--type", "msi"])).fails(2);
    assert!(said.contains("is no program that windows/amd64 could start"), "{said}");
}

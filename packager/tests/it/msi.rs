//! The msi, read by msitools and 7z.

mod files;
mod ice;
mod rules;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Draft, Package, Payload, Platform,
    format::msi::Msi,
    payload::{Arch, Os},
};
use tempfile::TempDir;

use crate::{
    fixture::{DATE, draft, run, spec, write},
    payload::pe,
};

const AMD64: u16 = 0x8664;
const ARM64: u16 = 0xaa64;

/// A package of something like programs, and the folder that they are in.
pub(crate) fn package(draft: Draft, version: &str, arch: Arch) -> (Package, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform { os: Os::Windows, arch };
    let open = |kind: ComponentKind| {
        let path = folder.path().join(kind.name());
        let machine = if arch == Arch::Arm64 { ARM64 } else { AMD64 };
        fs::write(&path, [pe(machine), kind.name().repeat(20_000).into_bytes()].concat()).unwrap();
        let path = Utf8Path::from_path(&path).unwrap();
        Component::open(kind, version.parse().unwrap(), path, platform).unwrap()
    };
    let payload = Payload::new(platform, ComponentKind::ALL.map(open)).unwrap();
    (packager::assemble(&spec(draft), &payload, DATE).unwrap(), folder)
}

fn msi(folder: &Path, draft: Draft) -> PathBuf {
    let (package, _programs) = package(draft, "1.2.3-rc.1", Arch::Amd64);
    write(&package, &Msi::default(), folder)
}

/// What msiinfo says; it puts pictures into the folder that it is started in.
fn info(path: &Path, args: &[&str]) -> String {
    let folder = path.parent().unwrap().to_str().unwrap();
    let path = path.to_str().unwrap();
    run("env", &[&["-C", folder, "msiinfo", args[0], path], &args[1..]].concat())
}

const ICON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates/windows/fleetd.ico");

#[expect(clippy::disallowed_methods, reason = "tests ask other people's readers")]
fn stream(path: &Path, name: &str) -> Vec<u8> {
    Command::new("msiinfo").arg("extract").arg(path).arg(name).output().unwrap().stdout
}

/// A table: the names of its columns, their types, its keys, its rows.
struct Table {
    columns: Vec<String>,
    keys: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path, name: &str) -> Self {
        let text = info(path, &["export", name]);
        let mut lines = text.lines().map(|line| {
            line.trim_end_matches('\r').split('\t').map(str::to_owned).collect::<Vec<_>>()
        });
        let columns = lines.next().unwrap();
        let _types = lines.next().unwrap();
        let keys = lines.next().unwrap().len() - 1;
        Self { columns, keys, rows: lines.collect() }
    }

    fn column(&self, name: &str) -> usize {
        self.columns.iter().position(|column| column == name).unwrap()
    }

    /// The value of `column` in the row whose first key is `key`.
    fn value(&self, key: &str, column: &str) -> &str {
        let row = self.rows.iter().find(|row| row[0] == key);
        &row.unwrap_or_else(|| panic!("no row `{key}`"))[self.column(column)]
    }
}

fn tables(path: &Path) -> BTreeMap<String, Table> {
    let names = info(path, &["tables"]);
    let stored =
        names.lines().filter(|name| !matches!(*name, "_SummaryInformation" | "_ForceCodepage"));
    stored.map(|name| (name.to_owned(), Table::read(path, name))).collect()
}

#[test]
fn the_summary_says_what_the_installer_asks_first() {
    let folder = tempfile::tempdir().unwrap();
    for (arch, template, name) in
        [(Arch::Amd64, "x64;1033", "x64"), (Arch::Arm64, "Arm64;1033", "arm64")]
    {
        let (package, _programs) = package(draft(), "1.2.3-rc.1", arch);
        let path = write(&package, &Msi::default(), folder.path());
        assert_eq!(
            path.file_name().unwrap().to_str().unwrap(),
            format!("fleetd-1.2.3-rc.1-{name}.msi")
        );
        let summary = info(&path, &["suminfo"]);
        for line in [
            &format!("Template: {template}"),
            "Version: 500 (1f4)",
            "Source: 2 (2)",
            "Security: 2 (2)",
        ] {
            assert!(summary.contains(line), "{summary}");
        }
    }
}

#[test]
fn the_product_is_what_an_administrator_sees() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let properties = Table::read(&path, "Property");
    let icon = properties.value("ARPPRODUCTICON", "Value");
    assert_eq!(Table::read(&path, "Icon").rows[0][0], icon);
    assert_eq!(stream(&path, &format!("Icon.{icon}")), fs::read(ICON).unwrap());
    for (name, value) in [
        ("ProductName", "fleetd"),
        ("ProductVersion", "1.2.3"),
        ("Manufacturer", "Example Inc."),
        ("UpgradeCode", "{6F5C3C4E-52F1-4A0B-9C39-0D6C8E7B4F61}"),
        ("ALLUSERS", "1"),
        ("ARPNOMODIFY", "1"),
        ("REINSTALLMODE", "amus"),
        ("MsiHiddenProperties", "FLEET_SECRET;PROXY"),
    ] {
        assert_eq!(properties.value(name, "Value"), value, "{name}");
    }
    let secure = properties.value("SecureCustomProperties", "Value");
    for name in [
        "FLEET_URL",
        "FLEET_SECRET",
        "ENABLE_SCRIPTS",
        "FLEET_DESKTOP",
        "END_USER_EMAIL",
        "KEEP_STATE",
    ] {
        assert!(secure.split(';').any(|its| its == name), "{secure}");
    }
}

#[test]
fn the_service_runs_the_agent_and_every_call_of_it_is_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let services = Table::read(&path, "ServiceInstall");
    assert_eq!(services.value("orbit", "Arguments"), "service");
    assert_eq!(services.value("orbit", "StartType"), "2");
    let component = services.value("orbit", "Component_").to_owned();
    let program = Table::read(&path, "Component").value(&component, "KeyPath").to_owned();
    assert_eq!(Table::read(&path, "File").value(&program, "FileName"), "orbit.exe");
    let actions = Table::read(&path, "CustomAction");
    let calls: Vec<_> = actions.rows.iter().map(|row| (&*row[0], &*row[1], &*row[3])).collect();
    let mut programs = actions.rows.iter().filter(|row| row[1] != "51");
    assert_eq!(
        calls,
        [
            ("OrbitConfigure", "3090", "installer configure"),
            ("OrbitPurge", "3154", "installer purge"),
            ("OrbitReinstall", "51", "ALL"),
            ("OrbitStop", "3154", "installer stop"),
        ]
    );
    assert!(programs.all(|row| row[2] == program));
}

#[test]
fn without_start_the_service_waits_for_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), Draft { service: false, ..draft() });
    assert_eq!(Table::read(&path, "ServiceInstall").value("orbit", "StartType"), "3");
    let event: u32 = Table::read(&path, "ServiceControl").value("orbit", "Event").parse().unwrap();
    assert_eq!(event & 1, 0);
}

#[test]
fn secrets_are_for_the_system_and_administrators() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let (files, locks) = (Table::read(&path, "File"), Table::read(&path, "MsiLockPermissionsEx"));
    let locked = |object: &str| {
        let rows = locks.rows.iter().filter(|row| row[1] == object);
        rows.map(|row| row[3].as_str()).collect::<Vec<_>>()
    };
    for name in ["packaged.secret", "packaged.env", "osquery.flags"] {
        let row = files.rows.iter().find(|row| row[2].ends_with(name)).unwrap();
        assert_eq!(locked(&row[0]), ["D:PAI(A;;FA;;;SY)(A;;FA;;;BA)"], "{name}");
    }
    assert_eq!(locked("ORBITROOT").len(), 1);
    assert_eq!(locked("FLEET_SECRET"), ["D:PAI(A;CI;KA;;;SY)(A;CI;KA;;;BA)"]);
    let registry = Table::read(&path, "Registry");
    assert_eq!(registry.value("FLEET_SECRET", "Value"), "=[FLEET_SECRET]");
    let staged = registry.rows.iter().filter(|row| row[0] != "SignIn");
    for row in staged {
        assert_eq!(locked(&row[0]).len(), 1, "{row:?}");
    }
}

#[test]
fn whoever_signs_in_is_shown_the_icon() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let (files, registry) = (Table::read(&path, "File"), Table::read(&path, "Registry"));
    let desktop = files.rows.iter().find(|row| row[2].ends_with("fleet-desktop.exe")).unwrap();
    let row = registry.rows.iter().find(|row| row[0] == "SignIn").unwrap();
    let command = format!("\"[#{}]\" tray", desktop[0]);
    let expected = [
        "SignIn",
        "2",
        r"SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
        "fleet-desktop",
        command.as_str(),
        desktop[1].as_str(),
    ];
    assert_eq!(row, &expected);
}

#[test]
fn the_secret_is_in_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    for (name, table) in tables(&path) {
        let text = table.rows.concat().join(" ");
        assert!(!text.contains("s3cret") && !text.contains("fleet.example.com"), "{name}");
    }
}

#[test]
fn the_order_of_work_is_one_that_the_installer_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let sequence = Table::read(&path, "InstallExecuteSequence");
    let at = |action: &str| sequence.value(action, "Sequence").parse::<u32>().unwrap();
    let order = [
        "LaunchConditions",
        "CostInitialize",
        "FileCost",
        "CostFinalize",
        "InstallValidate",
        "InstallInitialize",
        "RemoveExistingProducts",
        "ProcessComponents",
        "StopServices",
        "OrbitStop",
        "OrbitPurge",
        "DeleteServices",
        "RemoveFiles",
        "CreateFolders",
        "InstallFiles",
        "WriteRegistryValues",
        "InstallServices",
        "OrbitConfigure",
        "StartServices",
        "RegisterProduct",
        "PublishProduct",
        "InstallFinalize",
    ];
    assert!(order.is_sorted_by_key(|action| at(action)));
    let purge = sequence.value("OrbitPurge", "Condition");
    assert_eq!(purge, "REMOVE~=\"ALL\" AND NOT UPGRADINGPRODUCTCODE AND KEEP_STATE<>\"1\"");
}

#[test]
fn other_content_is_another_product_and_the_same_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let code = |draft: Draft, name: &str| {
        let folder = folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let path = msi(&folder, draft);
        let summary = info(&path, &["suminfo"]);
        let package = summary.lines().find(|line| line.starts_with("Revision")).unwrap().to_owned();
        (Table::read(&path, "Property").value("ProductCode", "Value").to_owned(), package)
    };
    let (first, again) = (code(draft(), "a"), code(draft(), "b"));
    assert_eq!(first, again);
    let other = code(Draft { debug: true, ..draft() }, "c");
    assert!(first.0 != other.0 && first.1 != other.1 && !first.1.contains(&first.0));
}

#[test]
fn what_no_installer_can_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orbit");
    fs::write(&path, pe(AMD64)).unwrap();
    let payload = |version: &str| {
        let platform = Platform { os: Os::Windows, arch: Arch::Amd64 };
        let path = Utf8Path::from_path(&path).unwrap();
        let orbit = Component::open(ComponentKind::Orbit, version.parse().unwrap(), path, platform);
        Payload::new(platform, [orbit.unwrap()]).unwrap()
    };
    let wrong = |draft: Draft, version: &str| {
        packager::assemble(&spec(draft), &payload(version), DATE).unwrap_err().to_string()
    };
    assert_eq!(
        wrong(draft(), "256.0.0"),
        "version 256.0.0 does not fit its installer, whose numbers end at 255.255.65535"
    );
    let foreign = Draft { osquery_db: Some("/srv/db".into()), ..draft() };
    assert_eq!(
        wrong(foreign, "1.2.3"),
        "the osquery database `/srv/db` is not an absolute path on windows"
    );
    let proxy = Draft { proxy: Some("http://user:pw@proxy:3128".into()), ..draft() };
    let refused = wrong(proxy, "1.2.3");
    assert!(refused.contains("proxy URL") && !refused.contains("pw@"), "{refused}");
    let maintainer = "Пример <it@example.com>";
    assert_eq!(
        wrong(Draft { maintainer: maintainer.into(), ..draft() }, "1.2.3"),
        "the publisher `Пример` has letters that an installer for Windows cannot show"
    );
    let umlaut = Draft { maintainer: "Käse <it@example.com>".into(), ..draft() };
    packager::assemble(&spec(umlaut), &payload("1.2.3"), DATE).unwrap();
}

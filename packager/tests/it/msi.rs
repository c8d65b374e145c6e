//! The msi, read by msitools and 7z.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Draft, FileTree, Package, Payload, Platform,
    format::msi::Msi,
    payload::{Arch, Os},
    tree::{Entry, InstallPath, Role, Source},
};
use proptest::prelude::*;

use crate::{
    fixture::{DATE, bytes, draft, run, spec, write},
    payload::pe,
};

const AMD64: u16 = 0x8664;
const ARM64: u16 = 0xaa64;

/// A package of something like programs.
fn package(draft: Draft, version: &str, arch: Arch) -> Package {
    let folder = tempfile::tempdir().unwrap().keep();
    let platform = Platform { os: Os::Windows, arch };
    let open = |kind: ComponentKind| {
        let path = folder.join(kind.name());
        let machine = if arch == Arch::Arm64 { ARM64 } else { AMD64 };
        fs::write(&path, [pe(machine), kind.name().repeat(20_000).into_bytes()].concat()).unwrap();
        let path = Utf8Path::from_path(&path).unwrap();
        Component::open(kind, version.parse().unwrap(), path, platform).unwrap()
    };
    let payload = Payload::new(platform, ComponentKind::ALL.map(open)).unwrap();
    packager::assemble(&spec(draft), &payload, DATE).unwrap()
}

fn msi(folder: &Path, draft: Draft) -> PathBuf {
    write(&package(draft, "1.2.3-rc.1", Arch::Amd64), &Msi::default(), folder)
}

fn info(path: &Path, args: &[&str]) -> String {
    run("msiinfo", &[&[args[0], path.to_str().unwrap()], &args[1..]].concat())
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
        let path = write(&package(draft(), "1.2.3-rc.1", arch), &Msi::default(), folder.path());
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
    let properties = Table::read(&msi(folder.path(), draft()), "Property");
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
    assert_eq!(
        calls,
        [
            ("OrbitConfigure", "3090", "installer configure"),
            ("OrbitPurge", "3154", "installer purge"),
            ("OrbitStop", "3154", "installer stop"),
        ]
    );
    assert!(actions.rows.iter().all(|row| row[2] == program));
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
    for name in ["PACKAG~2.SEC|packaged.secret", "OSQUER~1.FLA|osquery.flags"] {
        let name = name.split('|').next_back().unwrap();
        let row = files.rows.iter().find(|row| row[2].ends_with(name)).unwrap();
        assert_eq!(locked(&row[0]), ["D:PAI(A;;FA;;;SY)(A;;FA;;;BA)"], "{name}");
    }
    assert_eq!(locked("ORBITROOT").len(), 1);
    assert_eq!(locked("FLEET_SECRET"), ["D:PAI(A;CI;KA;;;SY)(A;CI;KA;;;BA)"]);
    let registry = Table::read(&path, "Registry");
    assert_eq!(registry.value("FLEET_SECRET", "Value"), "=[FLEET_SECRET]");
    assert!(registry.rows.iter().all(|row| locked(&row[0]).len() == 1));
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

/// What the installer's own validation finds offline: values against `_Validation`, references
/// against the rows that they name.
#[test]
fn every_row_keeps_to_what_the_database_says_of_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let full = Draft { fleet_desktop: true, ..draft() };
    let tables = tables(&msi(folder.path(), full));
    let rules = &tables["_Validation"];
    let mut checked = 0;
    for (name, table) in &tables {
        for (index, column) in table.columns.iter().enumerate() {
            let rule = rules.rows.iter().find(|row| row[0] == *name && row[1] == *column);
            let rule = rule.unwrap_or_else(|| panic!("no rule for {name}.{column}"));
            for row in &table.rows {
                checked += 1;
                if let Err(wrong) = follows(&row[index], rule, &tables) {
                    panic!("{name}.{column} `{}`: {wrong}", row[index]);
                }
            }
        }
        let keys: BTreeSet<_> = table.rows.iter().map(|row| &row[..table.keys.max(1)]).collect();
        assert_eq!(keys.len(), table.rows.len(), "{name} has a key twice");
    }
    assert!(checked > 1000, "{checked}");
}

fn follows(
    value: &str,
    rule: &[String],
    tables: &BTreeMap<String, Table>,
) -> Result<(), &'static str> {
    let [_, _, nullable, least, greatest, key_tables, _, category, set, ..] = rule else {
        return Err("a rule is incomplete");
    };
    if value.is_empty() {
        return if nullable == "Y" { Ok(()) } else { Err("it is null") };
    }
    let number = |text: &str| text.parse::<i64>().ok();
    if let (Some(value), Some(least), Some(greatest)) =
        (number(value), number(least), number(greatest))
        && !(least..=greatest).contains(&value)
    {
        return Err("it is out of range");
    }
    if !set.is_empty() && !set.split(';').any(|one| one == value) {
        return Err("it is not in the set");
    }
    let known =
        |table: &str| tables.get(table).is_some_and(|it| it.rows.iter().any(|row| row[0] == value));
    if !key_tables.is_empty() && !key_tables.split(';').any(known) {
        return Err("it names no row");
    }
    let identifier = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
            && !text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
    };
    let good = match category.as_str() {
        "Identifier" => value.split(';').all(identifier),
        "UpperCase" => identifier(value) && value == value.to_uppercase(),
        "Guid" => value.len() == 38 && value == value.to_uppercase(),
        "Filename" => value.split('|').next().is_some_and(is_short),
        "Version" => value.split('.').all(|part| part.parse::<u16>().is_ok()),
        _ => true,
    };
    if good { Ok(()) } else { Err("it is not of its category") }
}

fn is_short(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    (1..=8).contains(&stem.len()) && extension.len() <= 3 && !extension.contains('.')
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
fn files_are_in_the_cabinet_in_the_order_of_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let files = Table::read(&path, "File");
    let mut rows: Vec<_> =
        files.rows.iter().map(|row| (row[7].parse::<usize>().unwrap(), row[0].clone())).collect();
    rows.sort();
    assert!(rows.iter().map(|(number, _)| *number).eq(1..=rows.len()));
    let last = Table::read(&path, "Media").rows[0][1].parse::<usize>().unwrap();
    assert_eq!(last, rows.len());
    let streams = folder.path().join("streams");
    run("7z", &["x", "-tCompound", &format!("-o{}", streams.display()), path.to_str().unwrap()]);
    let cabinet = streams.join("fleetd.cab");
    run("cabextract", &["-t", cabinet.to_str().unwrap()]);
    let listing = run("cabextract", &["-l", cabinet.to_str().unwrap()]);
    let listed: Vec<_> = listing
        .lines()
        .filter_map(|line| line.split(" | ").nth(2))
        .filter(|it| it.starts_with("f."))
        .collect();
    assert!(listed.iter().eq(rows.iter().map(|(_, key)| key)), "{listing}");
}

#[test]
fn a_file_without_a_version_is_known_by_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let (files, hashes) = (Table::read(&path, "File"), Table::read(&path, "MsiFileHash"));
    let extracted = folder.path().join("x");
    run("msiextract", &["-C", extracted.to_str().unwrap(), path.to_str().unwrap()]);
    let env = files.rows.iter().find(|row| row[2].ends_with("packaged.env")).unwrap();
    let row = hashes.rows.iter().find(|row| row[0] == env[0]).unwrap();
    let hash: String = row[2..]
        .iter()
        .flat_map(|part| part.parse::<i32>().unwrap().to_le_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sum = run("md5sum", &[extracted.join("Orbit/packaged.env").to_str().unwrap()]);
    assert_eq!(sum.split(' ').next(), Some(hash.as_str()));
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
    let payload = |version: &str| {
        let folder = tempfile::tempdir().unwrap().keep();
        let path = folder.join("orbit");
        fs::write(&path, pe(AMD64)).unwrap();
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
}

const ROOT: &str = "/ProgramFiles64Folder/Orbit";

/// A tree below the root: names of any kind that paths can have, no file where a folder is.
fn trees() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let name = "[a-z0-9_+~@-]{1,14}(\\.[a-z0-9_-]{1,6}){0,2}";
    let path =
        prop::collection::vec(name, 1..4).prop_map(|parts| format!("{ROOT}/{}", parts.join("/")));
    let content = (0..100_000_usize, any::<u8>())
        .prop_map(|(length, seed)| (0..length).map(|n| (n * n / 7) as u8 ^ seed).collect());
    prop::collection::btree_map(path, content, 1..20).prop_map(
        |files: BTreeMap<String, Vec<u8>>| {
            let is_folder =
                |path: &str| files.keys().any(|other| other.starts_with(&format!("{path}/")));
            files
                .iter()
                .filter(|(path, _)| !is_folder(path))
                .map(|(path, it)| (path.clone(), it.clone()))
                .collect()
        },
    )
}

fn read_back(folder: &Path, into: &mut BTreeMap<String, Vec<u8>>, below: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_back(&entry.path(), into, &path);
        } else {
            into.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_tree_is_unpacked_by_msitools_as_it_was(files in trees()) {
        let mut tree = FileTree::new();
        tree.insert(InstallPath::new(ROOT).unwrap(), Entry::dir()).unwrap();
        for (path, content) in &files {
            let file = Entry::file(Source::Bytes(content.clone().into()), Role::Data);
            tree.insert(InstallPath::new(path.clone()).unwrap(), file).unwrap();
        }
        let package = Package { tree, ..package(draft(), "1.2.3", Arch::Amd64) };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.msi");
        fs::write(&path, bytes(&package, &Msi::default())).unwrap();
        let to = folder.path().join("out");
        run("msiextract", &["-C", to.to_str().unwrap(), path.to_str().unwrap()]);
        let mut read = BTreeMap::new();
        read_back(&to, &mut read, "/ProgramFiles64Folder");
        prop_assert!(read == files, "{:?} {:?}", read.keys(), files.keys());
    }
}

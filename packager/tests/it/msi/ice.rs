//! Rules of Microsoft's internal consistency evaluators (ICE) that can be judged from the database alone,
//! each under its name. Source: the "ICE Reference" of the Windows Installer's documentation. ICE03 and
//! ICE06, about single values and columns, are in `rules`.
//!
//! Two are broken knowingly, both as warnings of ICE40: `REINSTALLMODE` is set, because an older package is
//! to go over a newer one, and there is no table of error texts, which Windows has itself.

use std::collections::{BTreeMap, BTreeSet};

use packager::Draft;

use super::{Table, info, msi, tables};
use crate::fixture::draft;

/// A database to judge, with the tables that it does not have as empty ones.
struct Database {
    tables: BTreeMap<String, Table>,
    template: String,
}

type Row = BTreeMap<String, String>;

impl Database {
    fn full() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = msi(folder.path(), Draft { fleet_desktop: true, ..draft() });
        let summary = info(&path, &["suminfo"]);
        let template = summary.lines().find_map(|line| line.strip_prefix("Template: ")).unwrap();
        Self { tables: tables(&path), template: template.to_owned() }
    }

    /// The rows of a table, each value under its column's name.
    fn rows(&self, table: &str) -> Vec<Row> {
        let Some(table) = self.tables.get(table) else { return Vec::new() };
        let row =
            |values: &Vec<String>| table.columns.iter().cloned().zip(values.clone()).collect();
        table.rows.iter().map(row).collect()
    }

    fn column(&self, table: &str, column: &str) -> Vec<String> {
        self.rows(table).into_iter().map(|row| row[column].clone()).collect()
    }

    fn property(&self, name: &str) -> String {
        let rows = self.rows("Property");
        let row = rows.iter().find(|row| row["Property"] == name);
        row.unwrap_or_else(|| panic!("no property {name}"))["Value"].clone()
    }

    /// Where an action stands in the execution, and under which condition.
    fn step(&self, action: &str) -> (i32, String) {
        let rows = self.rows("InstallExecuteSequence");
        let row = rows.iter().find(|row| row["Action"] == action);
        let row = row.unwrap_or_else(|| panic!("no step {action}"));
        (row["Sequence"].parse().unwrap(), row["Condition"].clone())
    }
}

fn set(values: Vec<String>) -> BTreeSet<String> {
    values.into_iter().collect()
}

#[test]
fn ice_02_a_component_is_known_by_a_file_or_value_of_its_own() {
    let database = Database::full();
    let owned: BTreeSet<_> = ["File", "Registry"]
        .into_iter()
        .flat_map(|table| {
            let key = database.tables[table].columns[0].clone();
            database
                .rows(table)
                .into_iter()
                .map(move |row| (row["Component_"].clone(), row[&key].clone()))
        })
        .collect();
    for row in database.rows("Component").iter().filter(|row| !row["KeyPath"].is_empty()) {
        assert!(owned.contains(&(row["Component"].clone(), row["KeyPath"].clone())), "{row:?}");
    }
}

#[test]
fn ice_04_and_58_and_71_files_are_on_media_that_begin_with_the_first() {
    let database = Database::full();
    let media = database.rows("Media");
    assert_eq!(media[0]["DiskId"], "1");
    let last = media.iter().map(|row| row["LastSequence"].parse().unwrap()).max();
    let files = database.column("File", "Sequence");
    assert_eq!(files.iter().map(|it| it.parse::<i32>().unwrap()).max(), last);
}

#[test]
fn ice_05_and_16_and_24_the_product_says_who_it_is() {
    let database = Database::full();
    for name in [
        "ProductName",
        "ProductLanguage",
        "ProductVersion",
        "ProductCode",
        "Manufacturer",
        "UpgradeCode",
    ] {
        assert!(!database.property(name).is_empty(), "{name}");
    }
    assert!(database.property("ProductName").len() <= 63);
    for name in ["ProductCode", "UpgradeCode"] {
        let code = database.property(name);
        assert!(code.len() == 38 && code == code.to_uppercase(), "{name} {code}");
    }
    let version = database.property("ProductVersion");
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(numbers.len() == 3 && numbers[0] < 256 && numbers[1] < 256 && numbers[2] < 65_536);
}

#[test]
fn ice_08_and_92_every_component_has_a_code_of_its_own() {
    let codes = Database::full().column("Component", "ComponentId");
    assert!(codes.iter().all(|code| !code.is_empty()));
    assert_eq!(codes.len(), set(codes.clone()).len());
}

#[test]
fn ice_14_and_21_and_47_every_component_is_in_the_feature_which_has_no_parent() {
    let database = Database::full();
    let features = database.rows("Feature");
    assert!(features.iter().all(|row| row["Feature_Parent"].is_empty()));
    let components = set(database.column("Component", "Component"));
    assert_eq!(components, set(database.column("FeatureComponents", "Component_")));
    assert!(components.len() < 1600);
}

#[test]
fn ice_18_a_component_without_a_key_makes_its_folder() {
    let database = Database::full();
    let made: BTreeSet<_> = database
        .rows("CreateFolder")
        .into_iter()
        .map(|row| (row["Directory_"].clone(), row["Component_"].clone()))
        .collect();
    for row in database.rows("Component").iter().filter(|row| row["KeyPath"].is_empty()) {
        assert!(made.contains(&(row["Directory_"].clone(), row["Component"].clone())), "{row:?}");
    }
}

#[test]
fn ice_30_and_99_no_two_files_of_a_folder_share_a_name_and_no_property_a_folders() {
    let database = Database::full();
    let folders: BTreeMap<_, _> = database
        .rows("Component")
        .into_iter()
        .map(|row| (row["Component"].clone(), row["Directory_"].clone()))
        .collect();
    let mut taken = BTreeSet::new();
    for row in database.rows("File") {
        for name in row["FileName"].split('|').collect::<BTreeSet<_>>() {
            let place = (folders[&row["Component_"]].clone(), name.to_lowercase());
            assert!(taken.insert(place.clone()), "{place:?}");
        }
    }
    let directories = set(database.column("Directory", "Directory"));
    assert!(directories.is_disjoint(&set(database.column("Property", "Property"))));
}

#[test]
fn ice_33_and_38_and_57_everything_is_for_the_machine_and_nothing_registers_classes() {
    const LOCAL_MACHINE: &str = "2";
    let database = Database::full();
    for row in database.rows("Registry") {
        assert_eq!(row["Root"], LOCAL_MACHINE);
        assert!(!row["Key"].to_lowercase().contains(r"software\classes"), "{row:?}");
    }
    let profiles = ["AppDataFolder", "DesktopFolder", "LocalAppDataFolder", "PersonalFolder"];
    let directories = set(database.column("Directory", "Directory"));
    assert!(profiles.iter().all(|folder| !directories.contains(*folder)));
    assert_eq!(database.property("ALLUSERS"), "1");
}

#[test]
fn ice_46_and_86_conditions_know_the_properties_that_they_ask_and_ask_for_rights() {
    let database = Database::full();
    let public =
        set(database.property("SecureCustomProperties").split(';').map(str::to_owned).collect());
    let of_installer = [
        "Installed",
        "Privileged",
        "REMOVE",
        "REINSTALL",
        "PATCH",
        "UPGRADINGPRODUCTCODE",
        "VersionNT",
        "ALL",
    ];
    let steps = database.column("InstallExecuteSequence", "Condition");
    for condition in steps.into_iter().chain(database.column("LaunchCondition", "Condition")) {
        let words = condition.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())) {
            let known = ["NOT", "AND", "OR"].contains(&word) || of_installer.contains(&word);
            assert!(known || public.contains(word), "{word} in {condition}");
        }
        assert!(!condition.contains("AdminUser"), "{condition}");
    }
}

#[test]
fn ice_55_rights_are_for_what_is_there() {
    let database = Database::full();
    let rows = database.rows("MsiLockPermissionsEx");
    assert!(!rows.is_empty());
    for row in rows {
        let table = &database.tables[&row["Table"]];
        assert!(table.rows.iter().any(|it| it[0] == row["LockObject"]), "{row:?}");
    }
}

#[test]
fn ice_56_every_folder_is_below_the_target() {
    let database = Database::full();
    let roots: Vec<_> = database
        .rows("Directory")
        .into_iter()
        .filter(|row| row["Directory_Parent"].is_empty())
        .collect();
    assert_eq!(roots.len(), 1);
    assert_eq!((&*roots[0]["Directory"], &*roots[0]["DefaultDir"]), ("TARGETDIR", "SourceDir"));
}

#[test]
fn ice_60_what_has_a_version_has_a_language() {
    for row in Database::full().rows("File") {
        assert_eq!(row["Version"].is_empty(), row["Language"].is_empty(), "{row:?}");
    }
}

#[test]
fn ice_61_and_63_upgrades_are_found_by_secure_properties_and_removed_in_their_place() {
    let database = Database::full();
    let secure = database.property("SecureCustomProperties");
    for row in database.rows("Upgrade") {
        let property = &row["ActionProperty"];
        assert!(
            secure.split(';').any(|one| one == property) && *property == property.to_uppercase()
        );
        assert_eq!(row["VersionMax"], "", "an older package goes over a newer");
    }
    let between = |action: &str| {
        let (first, _) = database.step("InstallInitialize");
        let (last, _) = database.step("RemoveExistingProducts");
        (first + 1..last).contains(&database.step(action).0)
    };
    let steps = database.column("InstallExecuteSequence", "Action");
    assert!(!steps.iter().any(|action| between(action)), "nothing has been done by then");
}

#[test]
fn ice_12_and_68_and_72_and_75_and_77_calls_are_of_kinds_and_in_places_where_they_work() {
    const INSTALLED_PROGRAM: i32 = 18;
    const PROPERTY: i32 = 51;
    const DEFERRED_AS_SYSTEM: i32 = 1024 + 2048;
    let database = Database::full();
    let (begin, end) = (database.step("InstallInitialize").0, database.step("InstallFinalize").0);
    let rows = database.rows("CustomAction");
    assert!(!rows.is_empty());
    for row in &rows {
        let kind: i32 = row["Type"].parse().unwrap();
        let (at, _) = database.step(&row["Action"]);
        match kind & 63 {
            INSTALLED_PROGRAM => {
                assert_eq!(kind & DEFERRED_AS_SYSTEM, DEFERRED_AS_SYSTEM);
                assert!((begin + 1..end).contains(&at), "{row:?}");
            }
            PROPERTY => {
                assert_eq!((kind, at < database.step("CostInitialize").0), (PROPERTY, true))
            }
            other => panic!("kind {other}: {row:?}"),
        }
    }
    let own = set(rows.into_iter().map(|row| row["Action"].clone()).collect());
    for table in ["AdvtExecuteSequence", "AdminExecuteSequence", "InstallUISequence"] {
        assert!(own.is_disjoint(&set(database.column(table, "Action"))), "{table}");
    }
}

#[test]
fn ice_13_and_20_and_78_and_79_there_is_no_dialog_and_no_advertised_one() {
    let database = Database::full();
    for table in ["Dialog", "Control", "AdvtUISequence", "Shortcut", "Class", "ProgId"] {
        assert!(database.rows(table).is_empty(), "{table}");
    }
}

#[test]
fn ice_27_and_82_standard_actions_are_in_their_order_each_at_a_place_of_its_own() {
    let database = Database::full();
    for table in database.tables.keys().filter(|name| name.ends_with("Sequence")) {
        let places = database.column(table, "Sequence");
        assert_eq!(places.len(), set(places.clone()).len(), "{table}");
    }
    let order = [
        "FindRelatedProducts",
        "LaunchConditions",
        "CostInitialize",
        "FileCost",
        "CostFinalize",
        "MigrateFeatureStates",
        "InstallValidate",
        "InstallInitialize",
        "RemoveExistingProducts",
        "ProcessComponents",
        "UnpublishFeatures",
        "StopServices",
        "DeleteServices",
        "RemoveRegistryValues",
        "RemoveFiles",
        "RemoveFolders",
        "CreateFolders",
        "InstallFiles",
        "WriteRegistryValues",
        "InstallServices",
        "StartServices",
        "RegisterUser",
        "RegisterProduct",
        "PublishFeatures",
        "PublishProduct",
        "InstallFinalize",
    ];
    assert!(order.is_sorted_by_key(|action| database.step(action).0));
}

#[test]
fn ice_80_a_package_for_64_bits_says_so_everywhere() {
    const FOR_64_BITS: i32 = 256;
    let database = Database::full();
    assert!(database.template.starts_with("x64;"));
    for attributes in database.column("Component", "Attributes") {
        assert_eq!(attributes.parse::<i32>().unwrap() & FOR_64_BITS, FOR_64_BITS);
    }
    assert!(set(database.column("Directory", "Directory")).contains("ProgramFiles64Folder"));
}

#[test]
fn ice_84_and_96_what_must_happen_happens_unconditionally() {
    let database = Database::full();
    for action in [
        "CostInitialize",
        "FileCost",
        "CostFinalize",
        "InstallValidate",
        "InstallInitialize",
        "ProcessComponents",
        "RegisterUser",
        "RegisterProduct",
        "PublishFeatures",
        "PublishProduct",
        "InstallFinalize",
    ] {
        assert_eq!(database.step(action).1, "", "{action}");
    }
    let advertised = database.column("AdvtExecuteSequence", "Action");
    for action in ["PublishFeatures", "PublishProduct"] {
        assert!(advertised.iter().any(|it| it == action), "{action}");
    }
}

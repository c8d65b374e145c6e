//! From package and definition to the rows of the tables.

use semver::Version;
use url::Url;

use super::{
    database::{Cell, Database},
    definition::{DEFINITION, Definition, Step},
    names::{ROOT, component_code},
    plan::{Plan, PlannedFile},
    version::FileVersion,
};
use crate::{
    package::{Metadata, Package},
    payload::ComponentKind,
    tree::Role,
};

/// The only feature.
const FEATURE: &str = "Agent";
/// Whom all components are for: the 64-bit registry and file system.
const COMPONENT_64_BIT: i32 = 256;
/// `HKEY_LOCAL_MACHINE`.
const LOCAL_MACHINE: i32 = 2;

/// All rows but the product code, which follows from them.
pub(super) fn database(package: &Package, plan: &Plan<'_>, hashes: &[Hash]) -> Database {
    let mut database = Database::default();
    let definition = &*DEFINITION;
    add_product(&mut database, definition, &package.metadata);
    add_folders(&mut database, plan);
    add_files(&mut database, plan, hashes);
    add_permissions(&mut database, definition, plan);
    add_settings(&mut database, definition);
    add_service(&mut database, definition, package, plan);
    add_sign_in(&mut database, definition, package, plan);
    add_upgrades(&mut database, definition);
    add_actions(&mut database, definition, package, plan);
    add_sequences(&mut database, definition, plan.agent(package).is_some());
    database.describe_columns();
    database
}

/// What has been learnt of a file by reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hash {
    pub(super) md5: [u8; 16],
    /// Of a program that tells its version. None: `md5` tells files apart.
    pub(super) version: Option<FileVersion>,
}

fn add_product(database: &mut Database, definition: &Definition, metadata: &Metadata) {
    let product = &definition.product;
    let settings = &definition.settings;
    let Version { major, minor, patch, .. } = metadata.version;
    let upgrades = (0..=product.replaces.len()).map(found_property);
    let own = settings.properties.iter().chain(&settings.conditions).cloned();
    let mut secure: Vec<_> = own.chain(upgrades).collect();
    secure.sort();
    let rows = [
        ("ProductName", product.name.clone()),
        ("ProductVersion", format!("{major}.{minor}.{patch}")),
        ("ProductLanguage", product.language.to_string()),
        ("Manufacturer", metadata.publisher.vendor().to_owned()),
        ("UpgradeCode", product.upgrade_code.clone()),
        ("ARPURLINFOABOUT", metadata.publisher.homepage().map(Url::to_string).unwrap_or_default()),
        ("ARPPRODUCTICON", product.icon.clone()),
        ("ARPCOMMENTS", metadata.summary.to_owned()),
        ("SecureCustomProperties", secure.join(";")),
        ("MsiHiddenProperties", settings.hidden.join(";")),
    ];
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        database.add("Property", [name.into(), value.into()]);
    }
    database.add("Icon", [product.icon.as_str().into(), Cell::Stream]);
    for (name, value) in &definition.properties {
        database.add("Property", [name.as_str().into(), value.as_str().into()]);
    }
}

fn add_folders(database: &mut Database, plan: &Plan<'_>) {
    database.add("Directory", ["TARGETDIR".into(), Cell::Null, "SourceDir".into()]);
    for folder in &plan.folders {
        let row =
            [folder.id.as_str().into(), folder.parent.as_str().into(), folder.name.as_str().into()];
        database.add("Directory", row);
    }
    for id in &plan.made_folders {
        let component = folder_component(id);
        add_component(database, &component, &format!("folder {id}"), id, None);
        database.add("CreateFolder", [id.as_str().into(), component.into()]);
    }
    database.add(
        "Feature",
        [
            FEATURE.into(),
            Cell::Null,
            FEATURE.into(),
            Cell::Null,
            Cell::Null,
            1.into(),
            ROOT.into(),
            24.into(), // neither advertised nor left out
        ],
    );
}

/// The component that makes a folder.
fn folder_component(id: &str) -> String {
    format!("c{id}")
}

fn add_component(database: &mut Database, id: &str, code: &str, folder: &str, key: Option<&str>) {
    let row = [
        id.into(),
        component_code(code).into(),
        folder.into(),
        COMPONENT_64_BIT.into(),
        Cell::Null,
        key.into(),
    ];
    database.add("Component", row);
    database.add("FeatureComponents", [FEATURE.into(), id.into()]);
}

fn add_files(database: &mut Database, plan: &Plan<'_>, hashes: &[Hash]) {
    const VITAL: i32 = 512;
    for ((sequence, file), hash) in (1..).zip(&plan.files).zip(hashes) {
        let PlannedFile { id, component, folder, name, source, .. } = file;
        let version = hash.version.as_ref();
        add_component(database, component, file.path.as_str(), folder, Some(id));
        let row = [
            id.as_str().into(),
            component.as_str().into(),
            name.as_str().into(),
            i32::try_from(source.size()).unwrap_or(i32::MAX).into(),
            version.map(|it| it.version.as_str()).into(),
            version.map(|it| it.language.as_str()).into(),
            VITAL.into(),
            sequence.into(),
        ];
        database.add("File", row);
        if version.is_none() {
            let parts = hash.md5.as_chunks::<4>().0;
            let part = |index: usize| Cell::from(i32::from_le_bytes(parts[index]));
            database.add(
                "MsiFileHash",
                [id.as_str().into(), 0.into(), part(0), part(1), part(2), part(3)],
            );
        }
    }
    let last = i32::try_from(plan.files.len()).unwrap_or(i32::MAX);
    let cabinet = format!("#{}", super::CABINET);
    database
        .add("Media", [1.into(), last.into(), Cell::Null, cabinet.into(), Cell::Null, Cell::Null]);
}

fn add_permissions(database: &mut Database, definition: &Definition, plan: &Plan<'_>) {
    let permissions = &definition.permissions;
    let mut lock = |object: &str, table: &str, rights: &str| {
        let row =
            [format!("p{object}").into(), object.into(), table.into(), rights.into(), Cell::Null];
        database.add("MsiLockPermissionsEx", row);
    };
    lock(ROOT, "CreateFolder", &permissions.root);
    for file in plan.files.iter().filter(|file| file.role == Role::Secret) {
        lock(&file.id, "File", &permissions.secret);
    }
    for property in &definition.settings.properties {
        lock(property, "Registry", &permissions.settings);
    }
}

/// Each setting as a value of the same name, after a sign that keeps the installer from reading it
/// as a number, or as nothing.
fn add_settings(database: &mut Database, definition: &Definition) {
    let component = folder_component(ROOT);
    for property in &definition.settings.properties {
        let row = [
            property.as_str().into(),
            LOCAL_MACHINE.into(),
            definition.settings.key.as_str().into(),
            property.as_str().into(),
            format!("=[{property}]").into(),
            component.as_str().into(),
        ];
        database.add("Registry", row);
    }
}

/// The packaged icon starts, and hands over to the version that is installed.
fn add_sign_in(
    database: &mut Database,
    definition: &Definition,
    package: &Package,
    plan: &Plan<'_>,
) {
    let Some(desktop) = plan.program(package, ComponentKind::Desktop) else { return };
    let about = &definition.sign_in;
    let row = [
        "SignIn".into(),
        LOCAL_MACHINE.into(),
        about.key.as_str().into(),
        about.name.as_str().into(),
        format!("\"[#{}]\" {}", desktop.id, about.arguments).into(),
        desktop.component.as_str().into(),
    ];
    database.add("Registry", row);
}

fn add_service(
    database: &mut Database,
    definition: &Definition,
    package: &Package,
    plan: &Plan<'_>,
) {
    const OWN_PROCESS: i32 = 16;
    const AUTOMATIC: i32 = 2;
    const ON_DEMAND: i32 = 3;
    const ERROR_NORMAL: i32 = 1;
    const START: i32 = 1;
    /// Stop when installed and uninstalled, delete when uninstalled.
    const STOP_AND_DELETE: i32 = 2 + 32 + 128;
    let (Some(service), Some(agent)) = (&package.lifecycle.service, plan.agent(package)) else {
        return;
    };
    let about = &definition.service;
    let (start_type, event) = if service.start {
        (AUTOMATIC, START + STOP_AND_DELETE)
    } else {
        (ON_DEMAND, STOP_AND_DELETE)
    };
    let row = [
        about.name.as_str().into(),
        service.name.into(),
        about.display_name.as_str().into(),
        OWN_PROCESS.into(),
        start_type.into(),
        ERROR_NORMAL.into(),
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
        about.arguments.as_str().into(),
        agent.component.as_str().into(),
        about.description.as_str().into(),
    ];
    database.add("ServiceInstall", row);
    let control = [
        about.name.as_str().into(),
        service.name.into(),
        event.into(),
        Cell::Null,
        0.into(), // asks, and waits for nothing
        agent.component.as_str().into(),
    ];
    database.add("ServiceControl", control);
}

/// The property that lists what an upgrade replaces.
fn found_property(index: usize) -> String {
    format!("REPLACED{index}")
}

/// Every version goes when this one comes, newer ones, too.
fn add_upgrades(database: &mut Database, definition: &Definition) {
    const WITH_ITS_FEATURES_AND_FROM_THE_FIRST_VERSION: i32 = 1 + 256;
    let product = &definition.product;
    let codes = std::iter::once(&product.upgrade_code).chain(&product.replaces);
    for (index, code) in codes.enumerate() {
        let row = [
            code.as_str().into(),
            "0.0.0".into(),
            Cell::Null,
            Cell::Null,
            WITH_ITS_FEATURES_AND_FROM_THE_FIRST_VERSION.into(),
            Cell::Null,
            found_property(index).into(),
        ];
        database.add("Upgrade", row);
    }
}

fn add_actions(
    database: &mut Database,
    definition: &Definition,
    package: &Package,
    plan: &Plan<'_>,
) {
    /// A program that is installed, run in the script, as the system.
    const INSTALLED_PROGRAM: i32 = 18 + 1024 + 2048;
    const WHATEVER_IT_SAYS: i32 = 64;
    const SET_PROPERTY: i32 = 51;
    for requirement in &definition.requirements {
        let row = [requirement.condition.as_str().into(), requirement.message.as_str().into()];
        database.add("LaunchCondition", row);
    }
    let agent = plan.agent(package);
    for action in agent.iter().flat_map(|_| &definition.actions) {
        let kind = INSTALLED_PROGRAM + if action.may_fail { WHATEVER_IT_SAYS } else { 0 };
        let row = [
            action.name.as_str().into(),
            kind.into(),
            agent.map(|file| file.id.as_str()).into(),
            action.arguments.as_str().into(),
            Cell::Null,
        ];
        database.add("CustomAction", row);
    }
    for assignment in &definition.assignments {
        let row = [
            assignment.name.as_str().into(),
            SET_PROPERTY.into(),
            assignment.property.as_str().into(),
            assignment.value.as_str().into(),
            Cell::Null,
        ];
        database.add("CustomAction", row);
    }
    for progress in &definition.progress {
        let row = [&progress.action, &progress.description, &progress.template];
        database.add("ActionText", row.map(|text| text.as_str().into()));
    }
}

/// The order of work; without the calls of the agent's program if there is none.
fn add_sequences(database: &mut Database, definition: &Definition, with_agent: bool) {
    let own = |step: &Step| definition.actions.iter().any(|action| action.name == step.action);
    let sequences = &definition.sequence;
    for (table, steps) in [
        ("AdminExecuteSequence", &sequences.admin_execute_sequence),
        ("AdminUISequence", &sequences.admin_ui_sequence),
        ("AdvtExecuteSequence", &sequences.advt_execute_sequence),
        ("InstallExecuteSequence", &sequences.install_execute_sequence),
        ("InstallUISequence", &sequences.install_ui_sequence),
    ] {
        for step in steps.iter().filter(|step| with_agent || !own(step)) {
            let row = [
                step.action.as_str().into(),
                step.when.as_deref().into(),
                i32::from(step.at).into(),
            ];
            database.add(table, row);
        }
    }
}

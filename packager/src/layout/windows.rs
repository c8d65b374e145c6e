//! Where things are on Windows: in `C:\Program Files\Orbit`, as Fleet has them.
//!
//! Paths begin with the Windows Installer's name for a folder of the system.

use wire::{envfile, settings::files};

use super::root::{Place, Root, require_wanted};
use crate::{
    error::AssembleError,
    package::{Lifecycle, Metadata, Package, Pointer, Service, SourceDate},
    payload::{Component, Os, Payload},
    spec::PackageSpec,
    tree::Role,
};

const ROOT: &str = "/ProgramFiles64Folder/Orbit";

/// As the service manager knows it.
const SERVICE: &str = "orbit";

const DESCRIPTION: &str = "\
The agent, orbit, enrolls the device with the Fleet server that this package
was built for. It keeps osquery running, hands it the queries that the server
asks, and returns the answers.";

pub(crate) fn assemble(
    spec: &PackageSpec,
    payload: &Payload,
    built_at: SourceDate,
) -> Result<Package, AssembleError> {
    require_wanted(spec, payload)?;
    let mut root = Root::new(ROOT, Os::Windows)?;
    root.add_configuration(spec)?;
    root.add(files::PACKAGED_SETTINGS, settings(spec), Role::Data)?;
    root.add_secret(files::PACKAGED_SECRET, spec)?;
    let pointers = payload
        .components()
        .map(|component| root.add_component(component).map(|place| pointer(component, place)))
        .collect::<Result<_, _>>()?;
    let lifecycle = Lifecycle {
        service: Some(Service { name: SERVICE, start: spec.service().start }),
        account: None,
        pointers,
        state: vec![root.path],
    };
    Ok(Package { metadata: metadata(spec, payload)?, tree: root.tree, lifecycle, built_at })
}

fn metadata(spec: &PackageSpec, payload: &Payload) -> Result<Metadata, AssembleError> {
    let version = payload.version().clone();
    if version.major > 255 || version.minor > 255 || version.patch > 65_535 {
        return Err(AssembleError::Version { version, limit: "255.255.65535" });
    }
    let publisher = spec.publisher();
    if !publisher.vendor().chars().all(is_latin) {
        return Err(AssembleError::Letters { name: publisher.vendor().to_owned() });
    }
    Ok(Metadata {
        name: "fleetd",
        version,
        platform: payload.platform(),
        summary: "Fleet agent, enrolls this device with its server and runs osquery",
        description: DESCRIPTION,
        publisher: publisher.clone(),
        license: Metadata::LICENSE,
        conflicts: &[],
        recommends: &[],
        libraries: Vec::new(),
    })
}

/// Whether an installer's tables can hold a letter: those of ISO 8859-1 and no others.
fn is_latin(letter: char) -> bool {
    letter.is_ascii() || ('\u{a0}'..='\u{ff}').contains(&letter)
}

/// What the agent merges into its service's environment when it is configured.
fn settings(spec: &PackageSpec) -> String {
    let vars = spec.settings().to_vars();
    let mut text = envfile::render(vars.iter().map(|(name, value)| (*name, value.as_str())));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The agent itself is pointed to by its service, the others by a file that names a folder.
fn pointer(component: &Component, place: Place) -> Pointer {
    Pointer {
        component: component.kind,
        link: place.folder.join("current"),
        packaged: place.program,
        version: component.version.clone(),
    }
}

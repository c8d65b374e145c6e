//! Where things are on Windows: in `C:\Program Files\Orbit`, as Fleet has them.
//!
//! Paths begin with the Windows Installer's name for a folder of the system.

use wire::{envfile, settings::files};

use super::root::{self, Root, require_no_password, require_wanted};
use crate::{
    error::AssembleError,
    package::{Lifecycle, Metadata, Package, Service, SourceDate},
    payload::{Os, Payload},
    spec::PackageSpec,
    tree::Role,
};

const ROOT: &str = "/ProgramFiles64Folder/Orbit";

/// As the service manager knows it.
const SERVICE: &str = "orbit";

pub(crate) fn assemble(
    spec: &PackageSpec,
    payload: &Payload,
    built_at: SourceDate,
) -> Result<Package, AssembleError> {
    require_wanted(spec, payload)?;
    require_no_password(spec)?;
    let mut root = Root::new(ROOT, Os::Windows)?;
    root.add_configuration(spec)?;
    root.add(files::PACKAGED_SETTINGS, settings(spec), Role::Secret)?;
    root.add_secret(files::PACKAGED_SECRET, spec)?;
    let pointers = root.add_components(payload)?;
    let lifecycle = Lifecycle {
        service: Some(Service { name: SERVICE, start: spec.service().start }),
        account: None,
        pointers,
        state: vec![root.path],
    };
    Ok(Package { metadata: metadata(spec, payload)?, tree: root.tree, lifecycle, built_at })
}

fn metadata(spec: &PackageSpec, payload: &Payload) -> Result<Metadata, AssembleError> {
    let metadata = root::metadata(spec, payload);
    let version = &metadata.version;
    if version.major > 255 || version.minor > 255 || version.patch > 65_535 {
        return Err(AssembleError::Version { version: version.clone(), limit: "255.255.65535" });
    }
    let vendor = metadata.publisher.vendor();
    if !vendor.chars().all(is_latin) {
        return Err(AssembleError::Letters { name: vendor.to_owned() });
    }
    Ok(metadata)
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

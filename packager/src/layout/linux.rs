//! Where things are on Linux: below `/opt/orbit`, as Fleet has them.

mod environment;

use wire::settings::files;

use super::root::{self, Root, require_wanted};
use crate::{
    error::AssembleError,
    package::{Lifecycle, Metadata, Package, Service, SourceDate},
    payload::{Os, Payload},
    spec::PackageSpec,
    template::{Unit, rendered},
    tree::{Entry, InstallPath, Role},
};

const ROOT: &str = "/opt/orbit";
const ENVIRONMENT: &str = "/etc/default/orbit";
const UNITS: &str = "/usr/lib/systemd/system/orbit.service";
const COMMAND: &str = "/usr/bin/orbit";
const LOGS: &str = "/var/log/orbit";
const SERVICE: &str = "orbit.service";

const DESCRIPTION: &str = "\
The agent, orbit, enrolls the device with the Fleet server that this package
was built for. It keeps osquery running, hands it the queries that the server
asks, and returns the answers.

The package carries the server's address in /etc/default/orbit. Settings there
can be edited, and survive upgrades. Removing the package keeps the device's
identity.";

pub(crate) fn assemble(
    spec: &PackageSpec,
    payload: &Payload,
    built_at: SourceDate,
) -> Result<Package, AssembleError> {
    require_wanted(spec, payload)?;
    let mut root = Root::new(ROOT, Os::Linux)?;
    add_system_files(&mut root, spec)?;
    root.add_configuration(spec)?;
    root.add_secret(files::ENROLL_SECRET, spec)?;
    let pointers = root.add_components(payload)?;
    let lifecycle = Lifecycle {
        service: Some(Service { name: SERVICE, start: spec.service().start }),
        account: None,
        pointers,
        state: vec![root.path, InstallPath::fixed(LOGS)],
    };
    Ok(Package { metadata: metadata(spec, payload), tree: root.tree, lifecycle, built_at })
}

fn metadata(spec: &PackageSpec, payload: &Payload) -> Metadata {
    Metadata {
        description: DESCRIPTION,
        conflicts: &["fleet-osquery"],
        recommends: &["ca-certificates"],
        ..root::metadata(spec, payload)
    }
}

/// What lies outside of the root.
fn add_system_files(root: &mut Root, spec: &PackageSpec) -> Result<(), AssembleError> {
    let unit = rendered(&Unit { service: SERVICE, cpu_quota: spec.service().cpu_quota });
    let settings = environment::render(spec, SERVICE, &root.path.join(files::ENROLL_SECRET));
    let program = root.path.join("bin").join("orbit").join("orbit");
    root.tree.insert(InstallPath::fixed(UNITS), Entry::bytes(unit, Role::Data))?;
    root.tree.insert(InstallPath::fixed(ENVIRONMENT), Entry::bytes(settings, Role::Config))?;
    root.tree.insert(InstallPath::fixed(COMMAND), Entry::symlink(program))
}

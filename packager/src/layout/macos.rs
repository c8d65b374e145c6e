//! Where things are on macOS: below `/opt/orbit`, as Fleet has them, started by launchd.
//!
//! The package owns `bin/<component>/packaged/` and no symlink: after installation `orbit installer
//! configure` points to the newest version of each program, and makes `secret.txt` of
//! `packaged.secret` if that differs from what the package before it brought. An installer that
//! repairs therefore never brings back an old secret.

mod launchd;

use wire::settings::files;

use super::root::{self, Root, require_no_password, require_wanted};
use crate::{
    error::AssembleError,
    package::{Lifecycle, Metadata, Package, Service, SourceDate},
    payload::{ComponentKind, Os, Payload},
    spec::PackageSpec,
    template::{LICENSES, MacosUninstall, rendered},
    tree::{Entry, InstallPath, Owner, Role},
};

const ROOT: &str = "/opt/orbit";
const LOGS: &str = "/var/log/orbit";
/// Fleet's, so that its agent is replaced and not fought.
const LABEL: &str = "com.fleetdm.orbit";
const DAEMON: &str = "/Library/LaunchDaemons/com.fleetdm.orbit.plist";
/// Not Fleet's, whose agent starts its icon by itself.
const ICON_LABEL: &str = "com.fleetdm.fleet-desktop";
const ICON: &str = "/Library/LaunchAgents/com.fleetdm.fleet-desktop.plist";
const UNINSTALL: &str = "uninstall.sh";

const DESCRIPTION: &str = "\
The agent, orbit, enrolls the device with the Fleet server that this package
was built for. It keeps osquery running, hands it the queries that the server
asks, and returns the answers.

Removing it: sudo sh /opt/orbit/uninstall.sh";

pub(crate) fn assemble(
    spec: &PackageSpec,
    payload: &Payload,
    built_at: SourceDate,
) -> Result<Package, AssembleError> {
    require_wanted(spec, payload)?;
    require_no_password(spec)?;
    let mut root = Root::new(ROOT, Os::Macos)?;
    let pointers = root.add_components(payload)?;
    root.add_configuration(spec)?;
    root.add_secret(files::PACKAGED_SECRET, spec)?;
    add_licenses(&mut root)?;
    let lifecycle = Lifecycle {
        service: Some(Service { name: LABEL, start: spec.service().start }),
        account: None,
        pointers,
        state: vec![root.path.clone(), InstallPath::fixed(LOGS)],
    };
    add_uninstaller(&mut root, &lifecycle)?;
    let daemon = Entry::bytes(launchd::render(spec, LABEL), Role::Data);
    root.tree.insert(InstallPath::fixed(DAEMON), daemon)?;
    if payload.has(ComponentKind::Desktop) {
        let icon = Entry::bytes(launchd::render_icon(ICON_LABEL), Role::Data);
        root.tree.insert(InstallPath::fixed(ICON), icon)?;
    }
    let tree = root.tree.owned_by(Owner::WHEEL);
    Ok(Package { metadata: metadata(spec, payload), tree, lifecycle, built_at })
}

fn metadata(spec: &PackageSpec, payload: &Payload) -> Metadata {
    Metadata { description: DESCRIPTION, ..root::metadata(spec, payload) }
}

fn add_licenses(root: &mut Root) -> Result<(), AssembleError> {
    let folder = root.path.join("licenses");
    root.tree.insert(folder.clone(), Entry::dir())?;
    for (name, text) in LICENSES {
        root.tree.insert(folder.join(name), Entry::bytes(text, Role::License))?;
    }
    Ok(())
}

/// A script of the administrator's, which is no part of the package's own life.
fn add_uninstaller(root: &mut Root, lifecycle: &Lifecycle) -> Result<(), AssembleError> {
    let components = root.path.join("bin");
    let is_component = |path: &InstallPath| path.ancestors().any(|above| above == components);
    let paths = root.tree.iter().map(|(path, _)| path);
    let owned = paths.filter(|path| !is_component(path) && **path != components);
    let mut owned: Vec<_> = owned.filter(|path| **path != root.path).cloned().collect();
    owned.push(root.path.join(UNINSTALL));
    // What is in a folder comes before the folder.
    owned.sort_by(|one, other| other.cmp(one));
    let script = MacosUninstall {
        service: LABEL,
        pointers: lifecycle.pointers.iter().map(|pointer| &pointer.link).collect(),
        owned,
        state: &lifecycle.state,
    };
    root.add(UNINSTALL, rendered(&script), Role::Program)
}

//! Where things are on Linux: below `/opt/orbit`, as Fleet has them.

mod environment;

use bytes::Bytes;
use wire::settings::files;

use crate::{
    error::AssembleError,
    package::{Lifecycle, Metadata, Package, Pointer, SourceDate},
    payload::{Component, ComponentKind, Os, Payload},
    spec::{ClientIdentity, PackageSpec, Trust},
    template::{Unit, rendered},
    tree::{Entry, FileTree, InstallPath, Role, Source},
};

const ROOT: &str = "/opt/orbit";
const ENVIRONMENT: &str = "/etc/default/orbit";
const UNITS: &str = "/usr/lib/systemd/system/orbit.service";
const COMMAND: &str = "/usr/bin/orbit";
const LOGS: &str = "/var/log/orbit";
const SERVICE: &str = "orbit.service";
const HOMEPAGE: &str = "https://fleetd.example/";

const DESCRIPTION: &str = "\
The agent, orbit, enrolls the device with the Fleet server that this package
was built for. It keeps osquery running, hands it the queries that the server
asks, and returns the answers.

The package carries the server's address in /etc/default/orbit. Settings there
can be edited, and survive upgrades. Removing the package keeps the device's
identity.";

/// What the flagfile says if none is given.
const NO_OSQUERY_FLAGS: &[u8] = b"# Flags of osqueryd, one a line: --name=value\n";

pub(crate) fn assemble(
    spec: &PackageSpec,
    payload: &Payload,
    built_at: SourceDate,
) -> Result<Package, AssembleError> {
    if spec.settings().fleet_desktop && !payload.has(ComponentKind::Desktop) {
        return Err(AssembleError::Missing { kind: ComponentKind::Desktop });
    }
    let mut layout = Layout { tree: FileTree::new(), root: InstallPath::fixed(ROOT) };
    layout.add_system_files(spec)?;
    layout.add_configuration(spec)?;
    layout.tree.insert(layout.root.join("bin"), Entry::dir())?;
    let pointers = payload
        .components()
        .map(|component| layout.add_component(component))
        .collect::<Result<_, _>>()?;
    let lifecycle = Lifecycle {
        service: SERVICE,
        start: spec.service().start,
        pointers,
        state: vec![layout.root, InstallPath::fixed(LOGS)],
    };
    Ok(Package { metadata: metadata(payload), tree: layout.tree, lifecycle, built_at })
}

fn metadata(payload: &Payload) -> Metadata {
    Metadata {
        name: "fleetd",
        version: payload.version().clone(),
        platform: payload.platform(),
        summary: "Fleet agent, enrolls this device with its server and runs osquery",
        description: DESCRIPTION,
        homepage: HOMEPAGE,
        vendor: "fleetd",
        maintainer: "The fleetd authors <maintainers@fleetd.example>",
        license: "Apache-2.0 OR MIT",
        conflicts: &["fleet-osquery"],
        needs_libc: payload.components().any(|component| component.dynamic),
    }
}

/// A tree in the making.
struct Layout {
    tree: FileTree,
    root: InstallPath,
}

impl Layout {
    /// What lies outside of the root.
    fn add_system_files(&mut self, spec: &PackageSpec) -> Result<(), AssembleError> {
        let cpu_quota = spec.service().cpu_quota;
        let unit = rendered(&Unit { service: SERVICE, homepage: HOMEPAGE, cpu_quota });
        let settings = environment::render(spec, SERVICE, &self.root.join(files::ENROLL_SECRET));
        let program = self.root.join("bin").join("orbit").join("orbit");
        self.tree.insert(InstallPath::fixed(UNITS), file(unit, Role::Data))?;
        self.tree.insert(InstallPath::fixed(ENVIRONMENT), file(settings, Role::Config))?;
        self.tree.insert(InstallPath::fixed(COMMAND), Entry::symlink(program))
    }

    fn add_configuration(&mut self, spec: &PackageSpec) -> Result<(), AssembleError> {
        let flags = match spec.osquery_flags() {
            flags if flags.is_empty() => Bytes::from_static(NO_OSQUERY_FLAGS),
            flags => flags.clone(),
        };
        self.tree.insert(self.root.clone(), Entry::dir())?;
        self.add(files::OSQUERY_FLAGS, flags, Role::Secret)?;
        if let Some(secret) = spec.enroll_secret() {
            self.add(files::ENROLL_SECRET, format!("{}\n", secret.expose()), Role::Secret)?;
        }
        if let Trust::Pinned(chain) = spec.trust() {
            self.add(files::SERVER_CA, chain.pem().clone(), Role::Data)?;
        }
        self.add_identity(spec.client_identity(), [files::CLIENT_CERTIFICATE, files::CLIENT_KEY])?;
        self.add_update_trust(spec)
    }

    fn add_update_trust(&mut self, spec: &PackageSpec) -> Result<(), AssembleError> {
        let updates = spec.updates();
        if let Some(root) = &updates.root {
            self.add(files::UPDATE_ROOT, root.clone(), Role::Data)?;
        }
        if let Some(chain) = &updates.certificate {
            self.add(files::UPDATE_CA, chain.pem().clone(), Role::Data)?;
        }
        self.add_identity(
            updates.client_identity.as_ref(),
            [files::UPDATE_CLIENT_CERTIFICATE, files::UPDATE_CLIENT_KEY],
        )
    }

    fn add_identity(
        &mut self,
        identity: Option<&ClientIdentity>,
        [certificate, key]: [&'static str; 2],
    ) -> Result<(), AssembleError> {
        let Some(identity) = identity else { return Ok(()) };
        self.add(certificate, identity.certificate.pem().clone(), Role::Data)?;
        self.add(key, identity.key.pem().clone(), Role::Secret)
    }

    fn add_component(&mut self, component: &Component) -> Result<Pointer, AssembleError> {
        let Component { kind, version, source, .. } = component;
        let folder = self.root.join("bin").join(kind.name());
        let packaged = folder.join("packaged");
        self.tree.insert(folder.clone(), Entry::dir())?;
        self.tree.insert(packaged.clone(), Entry::dir())?;
        let program = kind.program(Os::Linux);
        let packaged = packaged.join(program);
        self.tree.insert(packaged.clone(), Entry::file(source.clone(), Role::Program))?;
        let link = folder.join(program);
        Ok(Pointer { component: *kind, link, packaged, version: version.clone() })
    }

    /// Adds a file below the root.
    fn add(
        &mut self,
        name: &'static str,
        content: impl Into<Bytes>,
        role: Role,
    ) -> Result<(), AssembleError> {
        self.tree.insert(self.root.join(name), file(content, role))
    }
}

fn file(content: impl Into<Bytes>, role: Role) -> Entry {
    Entry::file(Source::Bytes(content.into()), role)
}

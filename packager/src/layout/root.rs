//! The agent's root folder. What is in it is the same on every system but for a few names.

use bytes::Bytes;
use wire::settings::files;

use crate::{
    error::AssembleError,
    package::{Metadata, Pointer},
    payload::{Bundle, Component, ComponentKind, Content, Os, Payload},
    spec::{ClientIdentity, PackageSpec, Trust},
    tree::{Entry, FileTree, InstallPath, Role},
};

/// What the flagfile says if none is given.
const NO_OSQUERY_FLAGS: &[u8] = b"# Flags of osqueryd, one a line: --name=value\n";

/// Debian wants what an administrator edits below `/etc`; the agent finds it by a symlink.
const LINUX_CONFIGURATION: &str = "/etc/orbit";

const DESCRIPTION: &str = "\
The agent, orbit, enrolls the device with the Fleet server that this package
was built for. It keeps osquery running, hands it the queries that the server
asks, and returns the answers.";

/// A tree in the making, with the agent's root folder in it.
pub(super) struct Root {
    pub(super) tree: FileTree,
    pub(super) path: InstallPath,
    os: Os,
}

impl Root {
    /// The root at `path` on `os`, with `bin` in it and nothing else.
    pub(super) fn new(path: &'static str, os: Os) -> Result<Self, AssembleError> {
        let path = InstallPath::fixed(path);
        let mut tree = FileTree::new();
        tree.insert(path.clone(), Entry::dir())?;
        tree.insert(path.join("bin"), Entry::dir())?;
        Ok(Self { tree, path, os })
    }

    /// Adds flagfile, certificates and keys under the names that [`files`] gives them.
    pub(super) fn add_configuration(&mut self, spec: &PackageSpec) -> Result<(), AssembleError> {
        self.add_osquery_flags(spec.osquery_flags())?;
        if let Trust::Pinned(chain) = spec.trust() {
            self.add(files::SERVER_CA, chain.pem().clone(), Role::Data)?;
        }
        self.add_identity(spec.client_identity(), [files::CLIENT_CERTIFICATE, files::CLIENT_KEY])?;
        self.add_update_trust(spec)
    }

    fn add_osquery_flags(&mut self, flags: &Bytes) -> Result<(), AssembleError> {
        let none = flags.is_empty();
        let flags = if none { Bytes::from_static(NO_OSQUERY_FLAGS) } else { flags.clone() };
        if self.os != Os::Linux {
            return self.add(files::OSQUERY_FLAGS, flags, Role::Secret);
        }
        let folder = InstallPath::fixed(LINUX_CONFIGURATION);
        let path = folder.join(files::OSQUERY_FLAGS);
        self.tree.insert(folder, Entry::dir())?;
        self.tree.insert(path.clone(), Entry::bytes(flags, Role::Config))?;
        self.tree.insert(self.path.join(files::OSQUERY_FLAGS), Entry::symlink(path))
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

    /// Adds the enroll secret, if there is one, as the file called `name`.
    pub(super) fn add_secret(
        &mut self,
        name: &'static str,
        spec: &PackageSpec,
    ) -> Result<(), AssembleError> {
        let Some(secret) = spec.enroll_secret() else { return Ok(()) };
        self.add(name, format!("{}\n", secret.expose()), Role::Secret)
    }

    /// Adds every component of the payload. Gives the pointers to them.
    pub(super) fn add_components(
        &mut self,
        payload: &Payload,
    ) -> Result<Vec<Pointer>, AssembleError> {
        payload.components().map(|component| self.add_component(component)).collect()
    }

    /// Adds a program as `bin/<component>/packaged/<program>`, a bundle as
    /// `bin/<component>/packaged/<component>.app`. Adds the version, which the agent compares with
    /// those of updates.
    fn add_component(&mut self, component: &Component) -> Result<Pointer, AssembleError> {
        let folder = self.path.join("bin").join(component.kind.name());
        let packaged = folder.join(files::PACKAGED);
        self.tree.insert(folder.clone(), Entry::dir())?;
        self.tree.insert(packaged.clone(), Entry::dir())?;
        let program = match &component.content {
            Content::Program(source) => {
                let program = packaged.join(component.kind.program(self.os));
                self.tree.insert(program.clone(), Entry::file(source.clone(), Role::Program))?;
                program
            }
            Content::Bundle(bundle) => {
                self.add_bundle(&packaged.join(bundle_name(component.kind)), bundle)?
            }
        };
        let version = Entry::bytes(format!("{}\n", component.version), Role::Data);
        self.tree.insert(packaged.join(files::PACKAGED_VERSION), version)?;
        Ok(Pointer {
            component: component.kind,
            link: self.link(&folder, component.kind),
            packaged: program,
            version: component.version.clone(),
        })
    }

    /// On Windows the agent itself is pointed to by its service, the others by a file that names a
    /// folder.
    fn link(&self, folder: &InstallPath, kind: ComponentKind) -> InstallPath {
        match self.os {
            Os::Linux | Os::Macos => folder.join(kind.program(self.os)),
            Os::Windows => folder.join(files::CURRENT),
        }
    }

    /// Gives the path of the bundle's program.
    fn add_bundle(
        &mut self,
        folder: &InstallPath,
        bundle: &Bundle,
    ) -> Result<InstallPath, AssembleError> {
        self.tree.insert(folder.clone(), Entry::dir())?;
        for (path, entry) in bundle.entries() {
            self.tree.insert(folder.join_bundled(path)?, entry.clone())?;
        }
        Ok(folder.join_bundled(bundle.program())?)
    }

    /// Adds a file below the root.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        content: impl Into<Bytes>,
        role: Role,
    ) -> Result<(), AssembleError> {
        self.tree.insert(self.path.join(name), Entry::bytes(content, role))
    }
}

/// What the folder of a bundle is called here. Archives may have white space in its name, which no
/// signature covers.
const fn bundle_name(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Orbit => "orbit.app",
        ComponentKind::Osqueryd => "osquery.app",
        ComponentKind::Desktop => "fleet-desktop.app",
    }
}

/// What the agent's package says of itself on every system.
pub(super) fn metadata(spec: &PackageSpec, payload: &Payload) -> Metadata {
    Metadata {
        name: "fleetd",
        version: payload.version().clone(),
        platform: payload.platform(),
        summary: "Fleet agent, enrolls this device with its server and runs osquery",
        description: DESCRIPTION,
        publisher: spec.publisher().clone(),
        license: Metadata::LICENSE,
        conflicts: &[],
        recommends: &[],
        libraries: payload.libraries(),
    }
}

/// Fails if the spec wants a component that the payload has not, or a path that its system does
/// not know.
pub(super) fn require_wanted(spec: &PackageSpec, payload: &Payload) -> Result<(), AssembleError> {
    if spec.settings().fleet_desktop && !payload.has(ComponentKind::Desktop) {
        return Err(AssembleError::Missing { kind: ComponentKind::Desktop });
    }
    let os = payload.platform().os;
    match &spec.settings().osquery_db {
        Some(path) if !os.is_absolute(path) => {
            Err(AssembleError::ForeignPath { path: path.clone(), os })
        }
        Some(_) | None => Ok(()),
    }
}

/// Fails if a setting's URL has a password in it, where everybody can read what services are
/// started with: a Mac tells a daemon's environment, Windows keeps its packages.
pub(super) fn require_no_password(spec: &PackageSpec) -> Result<(), AssembleError> {
    match spec.settings().with_password().next() {
        Some(what) => Err(AssembleError::Exposed { what }),
        None => Ok(()),
    }
}

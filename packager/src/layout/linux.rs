//! Where things are on Linux: below `/opt/orbit`, as Fleet has them.

use bytes::Bytes;
use wire::{envfile, settings::files};

use crate::{
    error::AssembleError,
    package::{Lifecycle, Metadata, Package, Pointer, SourceDate},
    payload::{Component, ComponentKind, Payload},
    spec::{ClientIdentity, PackageSpec, Trust},
    tree::{Entry, FileTree, InstallPath, Role, Source},
};

const ROOT: &str = "/opt/orbit";
const ENVIRONMENT: &str = "/etc/default/orbit";

pub(crate) fn assemble(
    spec: &PackageSpec,
    payload: Payload,
    built_at: SourceDate,
) -> Result<Package, AssembleError> {
    if spec.settings().fleet_desktop && !payload.has(ComponentKind::Desktop) {
        return Err(AssembleError::Missing { kind: ComponentKind::Desktop });
    }
    let metadata = metadata(&payload);
    let mut tree = FileTree::new();
    add_configuration(&mut tree, spec)?;
    let pointers = payload
        .components()
        .map(|component| add_component(&mut tree, component))
        .collect::<Result<_, _>>()?;
    let lifecycle = Lifecycle {
        service: "orbit.service",
        start: spec.service().start,
        pointers,
        state: Vec::new(),
    };
    Ok(Package { metadata, tree, lifecycle, built_at })
}

fn metadata(payload: &Payload) -> Metadata {
    Metadata {
        name: "fleetd",
        version: payload.version().clone(),
        platform: payload.platform(),
        summary: "agent that enrolls this device and runs osquery",
        description: &[],
        homepage: "https://fleetdm.com",
        vendor: "fleetd",
        maintainer: "The fleetd authors <fleetd@example.com>",
        license: "Apache-2.0 OR MIT",
        replaces: &["fleet-osquery"],
        needs_libc: payload.components().any(|component| component.dynamic),
    }
}

fn add_configuration(tree: &mut FileTree, spec: &PackageSpec) -> Result<(), AssembleError> {
    let root = InstallPath::fixed(ROOT);
    let vars = spec.settings().to_vars();
    let text = envfile::render(vars.iter().map(|(name, value)| (*name, value.as_str())));
    tree.insert(root.clone(), Entry::dir())?;
    tree.insert(InstallPath::fixed(ENVIRONMENT), file(text, Role::Config))?;
    tree.insert(root.join(files::OSQUERY_FLAGS), file(spec.osquery_flags().clone(), Role::Secret))?;
    if let Some(secret) = spec.enroll_secret() {
        let line = format!("{}\n", secret.expose());
        tree.insert(root.join(files::ENROLL_SECRET), file(line, Role::Secret))?;
    }
    if let Trust::Pinned(chain) = spec.trust() {
        tree.insert(root.join(files::SERVER_CA), file(chain.pem().clone(), Role::Data))?;
    }
    if let Some(identity) = spec.client_identity() {
        add_identity(tree, identity, [files::CLIENT_CERTIFICATE, files::CLIENT_KEY])?;
    }
    Ok(())
}

fn add_identity(
    tree: &mut FileTree,
    identity: &ClientIdentity,
    [certificate, key]: [&'static str; 2],
) -> Result<(), AssembleError> {
    let root = InstallPath::fixed(ROOT);
    tree.insert(root.join(certificate), file(identity.certificate.pem().clone(), Role::Data))?;
    tree.insert(root.join(key), file(identity.key.pem().clone(), Role::Secret))
}

fn add_component(tree: &mut FileTree, component: &Component) -> Result<Pointer, AssembleError> {
    let Component { kind, version, source, .. } = component;
    let folder = InstallPath::fixed(ROOT).join("bin").join(kind.name());
    let packaged = folder.join("packaged").join(kind.program());
    tree.insert(packaged.clone(), Entry::file(source.clone(), Role::Program))?;
    let link = folder.join(kind.program());
    Ok(Pointer { component: *kind, link, packaged, version: version.clone() })
}

fn file(content: impl Into<Bytes>, role: Role) -> Entry {
    Entry::file(Source::Bytes(content.into()), role)
}

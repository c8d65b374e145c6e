//! `fleet-server` as a container image: the program, an account, and nothing to log in to.

use super::Release;
use crate::{
    error::AssembleError,
    image::{self, Image},
    package::Metadata,
    payload::{Os, Platform},
    template::IMAGE_CONFIG,
    tree::{Entry, FileTree, InstallPath, Mode, Owner, Role},
};

const NAME: &str = "fleet-server";
const OWNER: Owner = Owner { user: NAME, group: NAME };

/// Lays out images of `releases`, which are of `fleet-server`, one an architecture and alike in all
/// else; at least one. Pure.
pub fn fleet_server_image(first: &Release, others: &[Release]) -> Result<Image, AssembleError> {
    let releases = std::iter::once(first).chain(others);
    Ok(Image {
        version: first.version.to_string(),
        title: NAME,
        description: super::server::ABOUT.summary,
        license: Metadata::LICENSE,
        vendor: super::publisher().vendor().to_owned(),
        entrypoint: "/usr/bin/fleet-server",
        arguments: &["serve"],
        environment: &["PATH=/usr/bin", "FLEET_SERVER_CONFIG=/etc/fleet-server/config.yaml"],
        health: &["/usr/bin/fleet-server", "health"],
        port: 8443,
        volume: "/data",
        user: image::ACCOUNT,
        layers: releases.map(layer).collect::<Result<_, _>>()?,
        built_at: first.built_at,
    })
}

fn layer(release: &Release) -> Result<(Platform, FileTree), AssembleError> {
    let platform = release.program.platform;
    if platform.os != Os::Linux {
        return Err(AssembleError::NoLayout { os: platform.os });
    }
    let id = image::ACCOUNT;
    let users =
        format!("root:x:0:0:root:/:/sbin/nologin\n{NAME}:x:{id}:{id}::/data:/sbin/nologin\n");
    let groups = format!("root:x:0:\n{NAME}:x:{id}:\n");
    let entries = [
        ("/data", Entry { mode: Mode::PRIVATE_DIR, owner: OWNER, ..Entry::dir() }),
        ("/etc/fleet-server", Entry::dir()),
        ("/etc/fleet-server/config.yaml", Entry::bytes(IMAGE_CONFIG, Role::Data)),
        ("/etc/group", Entry::bytes(groups, Role::Data)),
        ("/etc/passwd", Entry::bytes(users, Role::Data)),
        ("/tmp", Entry { mode: Mode::SHARED_DIR, ..Entry::dir() }),
        ("/usr/bin/fleet-server", Entry::file(release.program.source.clone(), Role::Program)),
    ];
    let mut tree = FileTree::new();
    for (path, entry) in entries {
        tree.insert(InstallPath::fixed(path), entry)?;
    }
    Ok((platform, tree))
}

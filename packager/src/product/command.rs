//! `fleetctl`: a program, its manual and its completions. Nothing runs.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{About, Release};
use crate::{
    compression::gzipped,
    error::AssembleError,
    package::{Lifecycle, Package},
    tree::{Entry, FileTree, InstallPath, Role},
};

const ABOUT: About = About {
    name: "fleetctl",
    summary: "Command line of Fleet: packages the agent, manages the server",
    description: "\
fleetctl makes installers of the Fleet agent for Linux, macOS and Windows,
on any machine and without other tools. It publishes the agent's updates, and
manages devices, people and secrets of a Fleet server.",
};

/// What `fleetctl generate` writes.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// Manual pages of section 1 by file name, e.g. `fleetctl-devices.1`.
    pub manual: BTreeMap<String, Bytes>,
    pub bash: Bytes,
    pub zsh: Bytes,
    pub fish: Bytes,
}

/// Lays out `release`, which is of `fleetctl`. Pure.
pub fn fleetctl(release: &Release, documents: &Documents) -> Result<Package, AssembleError> {
    let mut tree = FileTree::new();
    let program = Entry::file(release.program.source.clone(), Role::Program);
    tree.insert(InstallPath::fixed("/usr/bin/fleetctl"), program)?;
    for (name, page) in &documents.manual {
        let path = InstallPath::new(format!("/usr/share/man/man1/{name}.gz"))?;
        tree.insert(path, Entry::bytes(gzipped(page), Role::Doc))?;
    }
    add_completions(&mut tree, documents)?;
    let (metadata, lifecycle) = (release.metadata(&ABOUT)?, Lifecycle::none());
    Ok(Package { metadata, tree, lifecycle, built_at: release.built_at })
}

fn add_completions(tree: &mut FileTree, documents: &Documents) -> Result<(), AssembleError> {
    let files = [
        ("/usr/share/bash-completion/completions/fleetctl", &documents.bash),
        ("/usr/share/fish/vendor_completions.d/fleetctl.fish", &documents.fish),
        ("/usr/share/zsh/site-functions/_fleetctl", &documents.zsh),
        // Debian's zsh looks there and not in the other.
        ("/usr/share/zsh/vendor-completions/_fleetctl", &documents.zsh),
    ];
    for (path, script) in files {
        tree.insert(InstallPath::fixed(path), Entry::bytes(script.clone(), Role::Data))?;
    }
    Ok(())
}

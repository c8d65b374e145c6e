//! Cargo.lock: the crates that everything here is built from.

use std::fs;

use anyhow::Context as _;
use serde::Deserialize;

use crate::workspace::Workspace;

#[derive(Debug, Deserialize)]
pub(crate) struct Lockfile {
    pub(crate) package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) version: String,
    /// None for crates of this workspace.
    pub(crate) source: Option<String>,
    /// SHA-256 of the crate's archive, in hexadecimal. None for crates of this workspace.
    pub(crate) checksum: Option<String>,
}

impl Lockfile {
    pub(crate) fn read(workspace: &Workspace) -> anyhow::Result<Self> {
        let problem = "could not read `Cargo.lock`";
        let text = fs::read_to_string(workspace.root.join("Cargo.lock")).context(problem)?;
        toml::from_str(&text).context(problem)
    }
}

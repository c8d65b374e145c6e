//! `fleetctl package --dry-run`: what would be on a device's disk.

use packager::{FileTree, Package, tree::Node};
use serde::Serialize;

use super::{Packed, order::Type};
use crate::{
    flags::Output,
    output::{self, Table},
    session::Session,
};

/// An entry of a tree that is only shown.
#[derive(Debug, Serialize)]
struct Listed {
    path: String,
    kind: &'static str,
    mode: String,
    owner: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// A package that is only shown.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    file_name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    arch: String,
    version: String,
    /// The date of everything in it.
    date: String,
    files: Vec<Listed>,
}

/// What `packed` would be, which is printed here unless it is data.
pub(super) fn list(packed: &[Packed], output: Output, session: &Session) -> anyhow::Result<()> {
    let mut plans = Vec::new();
    for (order, package) in packed.iter().flat_map(Packed::each) {
        for kind in super::kinds(order, package) {
            let format = super::format(kind, order);
            let (name, tree) = (format.file_name(&package.metadata), format.tree(package));
            if output.format == output::Format::Table {
                session.shell.line(format!("{name}:"))?;
                session.shell.raw(tree.to_string().as_bytes())?;
            }
            plans.push(plan(package, kind, name, &tree));
        }
    }
    match output.format {
        output::Format::Table => Ok(()),
        output::Format::Json | output::Format::Yaml => {
            session.shell.data(output.format, &plans, |_| Table::properties([]))
        }
    }
}

fn plan(package: &Package, kind: Type, file_name: String, tree: &FileTree) -> Plan {
    let files = tree.iter().map(|(path, entry)| Listed {
        path: path.to_string(),
        kind: match &entry.node {
            Node::Dir => "dir",
            Node::File { .. } => "file",
            Node::Symlink { .. } => "symlink",
        },
        mode: format!("{:04o}", entry.mode.bits()),
        owner: format!("{}:{}", entry.owner.user, entry.owner.group),
        size: entry.size(),
        target: match &entry.node {
            Node::Symlink { target } => Some(target.to_string()),
            Node::Dir | Node::File { .. } => None,
        },
    });
    Plan {
        file_name,
        kind: kind.name(),
        arch: package.metadata.platform.arch.to_string(),
        version: package.metadata.version.to_string(),
        date: package.built_at.timestamp().to_string(),
        files: files.collect(),
    }
}

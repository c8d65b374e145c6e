//! Bills of materials: what is linked into each program of a target, for those who must know.
//!
//! One document a target in each of two formats, [`cyclonedx`] and [`spdx`]. Both list programs
//! with their hashes, crates with licences, origins and hashes, and who uses whom, so that the
//! part of one program can be told from the whole.

mod cyclonedx;
mod spdx;

use anyhow::Context as _;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    Release,
    built::Target,
    checksums,
    graph::{Catalogue, Graph, Id},
};

/// What both formats say.
struct Bill<'a> {
    release: &'a Release<'a>,
    target: &'a Target,
    /// When the commit was made: RFC 3339, in UTC, whole seconds.
    created: String,
    programs: Vec<Program>,
    graph: Graph,
    /// The same for the same content.
    id: Uuid,
}

struct Program {
    name: &'static str,
    sha256: String,
    /// The crate that has it. One crate may have several programs.
    root: Id,
}

/// Writes both documents for `target`.
pub(super) fn write(release: &Release<'_>, target: &Target) -> anyhow::Result<()> {
    let bill = Bill::of(release, target)?;
    let name = release.name(target.name());
    release.write(&format!("{name}.cdx.json"), cyclonedx::text(&bill)?)?;
    release.write(&format!("{name}.spdx.json"), spdx::text(&bill)?)
}

impl<'a> Bill<'a> {
    fn of(release: &'a Release<'a>, target: &'a Target) -> anyhow::Result<Self> {
        let catalogue = Catalogue::read(release.workspace)?;
        let mut graph = Graph::default();
        let mut programs = Vec::new();
        for program in &target.programs {
            let root = catalogue.package(program.name)?;
            for part in target.reach.parts() {
                graph.absorb(catalogue.graph(release.workspace, root, part.triple)?);
            }
            programs.push(Program {
                name: program.name,
                sha256: checksums::of_file(&program.path)?,
                root: root.clone(),
            });
        }
        let created = Timestamp::from_second(release.version.date).context("no such date")?;
        let created = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let id = identity(release, target, &programs);
        Ok(Self { release, target, created, programs, graph, id })
    }

    /// The version of what `id` is: crates of this workspace are as the release is.
    fn version_of<'b>(&'b self, id: &'b Id) -> &'b str {
        let ours = self.graph.crates.get(id).is_some_and(|about| about.checksum.is_none());
        if ours { &self.release.version.text } else { &id.version }
    }
}

/// Programs are what they are: a document about the same ones is the same document.
fn identity(release: &Release<'_>, target: &Target, programs: &[Program]) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(&release.version.text);
    hash.update(target.name());
    for program in programs {
        hash.update(program.name);
        hash.update(&program.sha256);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

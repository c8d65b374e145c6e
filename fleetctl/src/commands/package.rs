//! `fleetctl package`: flags to artifacts.
//!
//! ```text
//! PackageArgs ──order──▶ Order ──payload──▶ Payload ──assemble──▶ Package ──staged──▶ temporary file ──keep──▶ artifact
//!                (exit 2 up to here)                                (exit 1 from here on)
//! ```

mod args;
mod check;
mod components;
mod diff;
pub(crate) mod files;
mod flags;
mod inspect;
mod macos;
mod order;
mod reading;
pub(crate) mod signing;
mod staged;
mod verify;
mod windows;

use std::{path::PathBuf, thread};

use anyhow::Context as _;
use camino::Utf8Path;
use packager::{
    FileTree, Format, Package, WriteSeek,
    format::{
        deb::Deb,
        msi::Msi,
        pkg::{Gzip, Pkg},
        rpm::Rpm,
    },
    sign::Keys,
    tree::Node,
};
use serde::Serialize;

pub(crate) use self::args::PackageArgs;
use self::args::PackageCommand;
use self::{
    order::{Destination, Order, Type},
    staged::{Digest, Staged, Unfinished},
};
use crate::{
    cli::Output,
    config::Environment,
    output::{self, Steps, Table},
    session::Session,
};

/// A file that was made.
#[derive(Debug, Serialize)]
struct Artifact {
    path: PathBuf,
    size: u64,
    /// In lower-case hexadecimal; none if it is not shown.
    sha256: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    arch: String,
    version: String,
    /// The fingerprint of the key that signed it, in hexadecimal; none if it is not signed.
    signer: Option<String>,
}

/// A package in one of the formats it is wanted in.
struct Job<'a> {
    package: &'a Package,
    kind: Type,
    format: Box<dyn Format>,
    path: PathBuf,
    keys: &'a Keys,
}

impl Job<'_> {
    fn artifact(&self, made: &Staged) -> Artifact {
        Artifact {
            path: self.path.clone(),
            size: made.size,
            sha256: made.sha256.clone(),
            kind: self.kind.name(),
            arch: self.package.metadata.platform.arch.to_string(),
            version: self.package.metadata.version.to_string(),
            signer: self.format.signer(self.keys),
        }
    }
}

pub(crate) fn run(args: PackageArgs, session: &Session) -> anyhow::Result<()> {
    match args.command {
        None => pack(&args, session),
        Some(PackageCommand::Inspect(args)) => inspect::run(&args, session),
        Some(PackageCommand::Verify(args)) => verify::run(&args, session),
        Some(PackageCommand::Diff(args)) => diff::run(&args, session),
    }
}

fn pack(args: &PackageArgs, session: &Session) -> anyhow::Result<()> {
    let order = check::order(args, &Environment::read()?)?;
    mention_limits(&order, session);
    let scratch = tempfile::tempdir().context("could not make a temporary folder")?;
    let folder =
        Utf8Path::from_path(scratch.path()).context("the temporary folder is not UTF-8")?;
    let packages = components::payloads(&order, folder, session)?
        .into_iter()
        .map(|(payload, newest)| {
            let date = order.date.unwrap_or(newest);
            packager::assemble(&order.spec, &payload, date).context("could not lay out the package")
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    match &order.destination {
        Destination::Nowhere => list(&order, &packages, args.output, session),
        Destination::Folder(_) | Destination::File(_) => {
            make(&order, &packages, args.output, session)
        }
    }
}

/// What is asked for and osqueryd cannot do, though the agent can.
fn mention_limits(order: &Order, session: &Session) {
    let settings = order.spec.settings();
    let proxy = settings.proxy.as_ref();
    if !order.with_osqueryd {
        return;
    }
    if proxy.is_some_and(|proxy| !proxy.username().is_empty() || proxy.password().is_some()) {
        session.shell.warn(
            "osqueryd cannot show a name and password to a proxy: only the agent will use those",
        );
    }
    if settings.insecure {
        session.shell.warn(
            "--insecure is for the agent alone: osqueryd still checks certificates, \
             and reaches no server that has none of a known authority",
        );
    }
}

fn make(
    order: &Order,
    packages: &[Package],
    output: Output,
    session: &Session,
) -> anyhow::Result<()> {
    let jobs = jobs(order, packages)?;
    let unfinished = Unfinished::watched()?;
    let staged = build_all(&jobs, (&unfinished, digest(output)), session)?;
    let artifacts: Vec<_> =
        jobs.iter().zip(&staged).map(|(job, file)| job.artifact(file)).collect();
    unfinished.keep_all(staged, jobs.iter().map(|job| job.path.as_path()))?;
    session.shell.data(output.format, &artifacts, |artifacts| table(artifacts))
}

/// Every package in every format. The only place where a type becomes a format.
fn jobs<'a>(order: &'a Order, packages: &'a [Package]) -> anyhow::Result<Vec<Job<'a>>> {
    let mut jobs = Vec::new();
    for package in packages {
        for kind in kinds(order, package) {
            let format = format(kind, order);
            let name = format.file_name(&package.metadata);
            let path = match &order.destination {
                Destination::File(file) => file.clone(),
                Destination::Folder(folder) => folder.join(name),
                Destination::Nowhere => continue,
            };
            jobs.push(Job { package, kind, format, path, keys: &order.keys });
        }
    }
    if let Destination::Folder(folder) = &order.destination {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not create `{}`", folder.display()))?;
    }
    Ok(jobs)
}

/// The types asked for that install on the package's system.
fn kinds<'a>(order: &'a Order, package: &Package) -> impl Iterator<Item = Type> + use<'a> {
    let os = package.metadata.platform.os;
    order.types.iter().copied().filter(move |kind| kind.os() == os)
}

fn format(kind: Type, order: &Order) -> Box<dyn Format> {
    match (kind, order.compression) {
        (Type::Deb, None) => Box::new(Deb::default()),
        (Type::Deb, Some(compression)) => Box::new(Deb { compression, ..Deb::default() }),
        (Type::Rpm, None) => Box::new(Rpm::default()),
        (Type::Rpm, Some(compression)) => Box::new(Rpm { compression, ..Rpm::default() }),
        (Type::Msi, None) => Box::new(Msi::default()),
        (Type::Msi, Some(compression)) => Box::new(Msi { compression, ..Msi::default() }),
        (Type::Pkg, compression) => {
            let gzip = compression.and_then(Gzip::new).unwrap_or(Pkg::default().gzip);
            Box::new(Pkg { gzip, identifier: order.identifier.clone(), ..Pkg::default() })
        }
    }
}

/// A table has no room for digests.
fn digest(output: Output) -> Digest {
    match output.format {
        output::Format::Table => Digest::None,
        output::Format::Json | output::Format::Yaml => Digest::Sha256,
    }
}

/// Builds every job on a thread of its own. All succeed, or nothing stays.
fn build_all(
    jobs: &[Job<'_>],
    staging: (&Unfinished, Digest),
    session: &Session,
) -> anyhow::Result<Vec<Staged>> {
    let progress = session.shell.progress();
    thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .iter()
            .map(|job| {
                let what = format!("{} {}", job.kind.name(), job.package.metadata.platform.arch);
                let bar = progress.bytes(what, Some(job.format.tree(job.package).size()));
                scope.spawn(move || build(job, staging, &bar))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a builder does not panic")).collect()
    })
}

fn build(
    job: &Job<'_>,
    (unfinished, digest): (&Unfinished, Digest),
    bar: &Steps,
) -> anyhow::Result<Staged> {
    let signs = job.format.signer(job.keys).is_some();
    let first = if signs { Digest::None } else { digest };
    let mut staged = unfinished.stage(&job.path, first, |out: &mut dyn WriteSeek| {
        packager::build(job.package, &*job.format, out, &|bytes| bar.add(bytes))
            .context("could not build it")
    });
    if signs {
        staged = staged.and_then(|unsigned| sign(job, &unsigned, (unfinished, digest)));
    }
    bar.finish();
    staged.with_context(|| format!("could not make `{}`", job.path.display()))
}

fn sign(
    job: &Job<'_>,
    unsigned: &Staged,
    (unfinished, digest): (&Unfinished, Digest),
) -> anyhow::Result<Staged> {
    let mut package = unsigned.open().context("could not read it back")?;
    unfinished.stage(&job.path, digest, |out: &mut dyn WriteSeek| {
        job.format.sign(&mut package, job.keys, out).context("could not sign it")
    })
}

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
struct Plan {
    file_name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    arch: String,
    version: String,
    /// The date of everything in it.
    date: String,
    files: Vec<Listed>,
}

fn list(
    order: &Order,
    packages: &[Package],
    output: Output,
    session: &Session,
) -> anyhow::Result<()> {
    let mut plans = Vec::new();
    for package in packages {
        for kind in kinds(order, package) {
            let format = format(kind, order);
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

fn table(artifacts: &[Artifact]) -> Table {
    Table::list(
        ["path", "type", "arch", "version", "size"],
        artifacts.iter().map(|artifact| {
            [
                artifact.path.display().to_string(),
                artifact.kind.to_owned(),
                artifact.arch.clone(),
                artifact.version.clone(),
                artifact.size.to_string(),
            ]
        }),
    )
}

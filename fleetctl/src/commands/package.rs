//! `fleetctl package`: flags to artifacts.
//!
//! ```text
//! PackageArgs ──order──▶ Order ──payload──▶ Payload ──assemble──▶ Package ──staged──▶ temporary file ──keep──▶ artifact
//!                (exit 2 up to here)                                (exit 1 from here on)
//! ```

mod args;
mod bill;
mod check;
mod components;
mod diff;
pub(crate) mod files;
mod flags;
mod inspect;
mod macos;
mod notarize;
mod order;
mod plan;
pub(crate) mod reading;
mod served;
mod sheet;
pub(crate) mod signing;
mod staged;
mod verify;
mod windows;

use std::{collections::BTreeSet, fs::File, path::PathBuf, thread};

use anyhow::Context as _;
use camino::Utf8Path;
use packager::{
    Format, Package, WriteSeek,
    format::{
        Signature,
        deb::Deb,
        msi::Msi,
        pkg::{Gzip, Pkg},
        rpm::Rpm,
    },
};
use serde::Serialize;

use self::args::PackageCommand;
pub(crate) use self::{args::PackageArgs, sheet::schema};
use self::{
    bill::Part,
    order::{Destination, Order, Type},
    staged::{Digest, Staged, Unfinished},
};
use crate::{
    config::Environment,
    digest::sha256,
    exit::Stop,
    flags::Output,
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
    /// Its bill of materials, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sbom: Option<PathBuf>,
}

impl Artifact {
    /// A ticket makes the file longer.
    fn read_again(&mut self) -> anyhow::Result<()> {
        let problem = || format!("could not read `{}` back", self.path.display());
        let mut file = File::open(&self.path).with_context(problem)?;
        self.size = file.metadata().with_context(problem)?.len();
        if self.sha256.is_some() {
            self.sha256 = Some(sha256(&mut file).with_context(problem)?);
        }
        Ok(())
    }
}

/// A package in one of the formats it is wanted in.
struct Job<'a> {
    package: &'a Package,
    parts: &'a [Part],
    kind: Type,
    format: Box<dyn Format>,
    path: PathBuf,
    order: &'a Order,
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
            signer: self.signature().map(|signature| signature.signer),
            sbom: self.order.sbom.then(|| bill::path(&self.path)),
        }
    }

    fn signature(&self) -> Option<Signature<'_>> {
        self.format.signature(&self.order.keys)
    }

    /// What is made, in the order of what [`build`] gives.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let bill = self.order.sbom.then(|| bill::path(&self.path));
        std::iter::once(self.path.clone()).chain(bill)
    }
}

pub(crate) fn run(args: PackageArgs, session: &Session) -> anyhow::Result<()> {
    match args.command {
        None => pack(args, session),
        Some(PackageCommand::Inspect(args)) => inspect::run(&args, session),
        Some(PackageCommand::Verify(args)) => verify::run(&args, session),
        Some(PackageCommand::Diff(args)) => diff::run(&args, session),
        Some(PackageCommand::Notarize(args)) => notarize::run(&args, session),
    }
}

/// What is ordered, and the packages that it comes to.
struct Packed {
    order: Order,
    packages: Vec<(Package, Vec<Part>)>,
}

impl Packed {
    fn each(&self) -> impl Iterator<Item = (&Order, &Package)> {
        self.packages.iter().map(|(package, _)| (&self.order, package))
    }

    fn is_shown_only(&self) -> bool {
        self.order.destination == Destination::Nowhere
    }
}

fn pack(args: PackageArgs, session: &Session) -> anyhow::Result<()> {
    let output = args.output;
    let mut builds = match &args.spec {
        None => vec![args],
        Some(path) => {
            let line: Vec<_> = std::env::args_os().collect();
            sheet::read(path, &line)?
        }
    };
    for args in &mut builds {
        served::fill_in(args, session)?;
    }
    let orders = check::orders(&builds, &Environment::read()?)?;
    let scratch = tempfile::tempdir().context("could not make a temporary folder")?;
    let folder =
        Utf8Path::from_path(scratch.path()).context("the temporary folder is not UTF-8")?;
    let mut packed = Vec::new();
    for (number, order) in orders.into_iter().enumerate() {
        let folder = folder.join(number.to_string());
        std::fs::create_dir(&folder).context("could not make a temporary folder")?;
        packed.push(assemble(order, &folder, session)?);
    }
    if packed.iter().all(Packed::is_shown_only) {
        plan::list(&packed, output, session)
    } else {
        make(&packed, output, session)
    }
}

fn assemble(order: Order, scratch: &Utf8Path, session: &Session) -> anyhow::Result<Packed> {
    let packages = components::payloads(&order, scratch, session)?
        .into_iter()
        .map(|(payload, newest)| {
            let date = order.date.unwrap_or(newest);
            let package = packager::assemble(&order.spec, &payload, date)
                .context("could not lay out the package")?;
            let parts = payload.components().map(|it| (it.kind, it.version.clone())).collect();
            Ok((package, parts))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Packed { order, packages })
}

fn make(packed: &[Packed], output: Output, session: &Session) -> anyhow::Result<()> {
    let mut jobs = Vec::new();
    for packed in packed {
        jobs.extend(self::jobs(packed)?);
    }
    refuse_same_paths(&jobs)?;
    let unfinished = Unfinished::watched()?;
    let staged = build_all(&jobs, (&unfinished, digest(output)), session)?;
    let mut artifacts: Vec<_> =
        jobs.iter().zip(&staged).map(|(job, files)| job.artifact(&files[0])).collect();
    let paths: Vec<_> = jobs.iter().flat_map(Job::paths).collect();
    unfinished
        .keep_all(staged.into_iter().flatten().collect(), paths.iter().map(PathBuf::as_path))?;
    for (job, artifact) in jobs.iter().zip(&mut artifacts) {
        let notary = job.order.notary.as_ref().filter(|_| job.kind == Type::Pkg);
        if let Some(notary) = notary {
            notarize::notarize_made(notary, &job.path, session)?;
            artifact.read_again()?;
        }
    }
    session.shell.data(output.format, &artifacts, |artifacts| table(artifacts))
}

/// Every package in every format. The only place where a type becomes a format.
fn jobs(Packed { order, packages }: &Packed) -> anyhow::Result<Vec<Job<'_>>> {
    let mut jobs = Vec::new();
    for (package, parts) in packages {
        for kind in kinds(order, package) {
            let format = format(kind, order);
            let name = format.file_name(&package.metadata);
            let path = match &order.destination {
                Destination::File(file) => file.clone(),
                Destination::Folder(folder) => folder.join(name),
                Destination::Nowhere => continue,
            };
            jobs.push(Job { package, parts, kind, format, path, order });
        }
    }
    if let Destination::Folder(folder) = &order.destination {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not create `{}`", folder.display()))?;
    }
    Ok(jobs)
}

/// Fails if two builds of a file of flags make the same file.
fn refuse_same_paths(jobs: &[Job<'_>]) -> Result<(), Stop> {
    let mut paths = BTreeSet::new();
    let twice = jobs.iter().flat_map(Job::paths).find(|path| !paths.insert(path.clone()));
    twice.map_or(Ok(()), |path| {
        let path = path.display();
        let reason = format!("`{path}` would be made twice: give each build an out-dir of its own");
        Err(Stop::usage(reason))
    })
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
) -> anyhow::Result<Vec<Vec<Staged>>> {
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

/// The package, and after it its bill of materials, if that is wanted.
fn build(
    job: &Job<'_>,
    (unfinished, digest): (&Unfinished, Digest),
    bar: &Steps,
) -> anyhow::Result<Vec<Staged>> {
    let digest = if job.order.sbom { Digest::Sha256 } else { digest };
    let staged = package(job, (unfinished, digest), bar);
    bar.finish();
    let package = staged.with_context(|| format!("could not make `{}`", job.path.display()))?;
    let Some(sha256) = package.sha256.as_deref().filter(|_| job.order.sbom) else {
        return Ok(vec![package]);
    };
    let path = bill::path(&job.path);
    let bill = bill::text((job.package, job.parts), (&package, sha256))
        .and_then(|text| unfinished.stage(&path, Digest::None, |out| Ok(out.write_all(&text)?)))
        .with_context(|| format!("could not make `{}`", path.display()))?;
    Ok(vec![package, bill])
}

fn package(
    job: &Job<'_>,
    (unfinished, digest): (&Unfinished, Digest),
    bar: &Steps,
) -> anyhow::Result<Staged> {
    let signature = job.signature();
    let first = if signature.is_some() { Digest::None } else { digest };
    let staged = unfinished.stage(&job.path, first, |out: &mut dyn WriteSeek| {
        packager::build(job.package, &*job.format, out, &|bytes| bar.add(bytes))
            .context("could not build it")
    })?;
    match signature {
        None => Ok(staged),
        Some(signature) => sign(job, &signature, &staged, (unfinished, digest)),
    }
}

fn sign(
    job: &Job<'_>,
    signature: &Signature<'_>,
    unsigned: &Staged,
    (unfinished, digest): (&Unfinished, Digest),
) -> anyhow::Result<Staged> {
    let mut package = unsigned.open().context("could not read it back")?;
    unfinished.stage(&job.path, digest, |out: &mut dyn WriteSeek| {
        signature.add(&mut package, out).context("could not sign it")
    })
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

//! Packs our own programs, as `cargo xtask release` does.
//!
//! `product DIST DOCUMENTS OUT VERSION DATE`
//!
//! - DIST has a folder for each target, of which the Linux ones are looked at:
//!   `x86_64-unknown-linux-musl/fleetctl`, `…/fleet-server`. What is not there is not packed.
//! - DOCUMENTS has what `fleetctl generate` writes: `man/man1/*.1`, `completions/fleetctl.bash`,
//!   `completions/_fleetctl`, `completions/fleetctl.fish`.
//! - OUT is a folder. The names of what is written to it are printed, one a line.
//! - DATE is that of `SOURCE_DATE_EPOCH`.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    process::ExitCode,
};

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use packager::{
    Format, Package, Platform, Program, SourceDate,
    format::{deb::Deb, rpm::Rpm},
    payload::{Arch, Os},
    product::{self, Documents, Release},
};
use semver::Version;

const TARGETS: [(&str, Arch); 2] =
    [("x86_64-unknown-linux-musl", Arch::Amd64), ("aarch64-unknown-linux-musl", Arch::Arm64)];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for on the command line.
struct Order {
    dist: Utf8PathBuf,
    documents: Utf8PathBuf,
    out: Utf8PathBuf,
    version: Version,
    date: SourceDate,
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: product DIST DOCUMENTS OUT VERSION DATE");
    let order = Order {
        dist: next()?.into(),
        documents: next()?.into(),
        out: next()?.into(),
        version: next()?.parse()?,
        date: next()?.parse()?,
    };
    let mut servers = Vec::new();
    for (target, arch) in TARGETS {
        let folder = order.dist.join(target);
        if let Some(release) = order.release(&folder.join("fleetctl"), arch)? {
            order.write(&product::fleetctl(&release, &documents(&order.documents)?)?)?;
        }
        if let Some(release) = order.release(&folder.join("fleet-server"), arch)? {
            order.write(&product::fleet_server(&release)?)?;
            servers.push(release);
        }
    }
    order.write_image(&servers)
}

impl Order {
    /// The program at `path`, if there is one.
    fn release(&self, path: &Utf8Path, arch: Arch) -> Result<Option<Release>, Box<dyn Error>> {
        if !path.exists() {
            return Ok(None);
        }
        let program = Program::open(path, Platform { os: Os::Linux, arch })?;
        Ok(Some(Release { version: self.version.clone(), program, built_at: self.date }))
    }

    fn write(&self, package: &Package) -> Result<(), Box<dyn Error>> {
        let formats: [&dyn Format; 2] = [&Deb::default(), &Rpm::default()];
        for format in formats {
            let path = self.out.join(format.file_name(&package.metadata));
            packager::build(package, format, &mut File::create(&path)?, &|_| ())?;
            writeln!(std::io::stdout(), "{path}")?;
        }
        Ok(())
    }

    /// One image for all architectures.
    fn write_image(&self, servers: &[Release]) -> Result<(), Box<dyn Error>> {
        let [first, others @ ..] = servers else { return Ok(()) };
        let image = product::fleet_server_image(first, others)?;
        let path = self.out.join(format!("fleet-server-{}.oci.tar", self.version));
        let mut out = BufWriter::new(File::create(&path)?);
        packager::image::write(&image, &mut out, &|_| ())?;
        out.flush()?;
        writeln!(std::io::stdout(), "{path}")?;
        Ok(())
    }
}

fn documents(folder: &Utf8Path) -> Result<Documents, Box<dyn Error>> {
    let read = |path: &str| fs::read(folder.join(path)).map(Bytes::from);
    let mut manual = BTreeMap::new();
    for entry in folder.join("man/man1").read_dir_utf8()? {
        let entry = entry?;
        manual.insert(entry.file_name().to_owned(), fs::read(entry.path())?.into());
    }
    Ok(Documents {
        manual,
        bash: read("completions/fleetctl.bash")?,
        zsh: read("completions/_fleetctl")?,
        fish: read("completions/fleetctl.fish")?,
    })
}

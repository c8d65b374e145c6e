//! Packs our own programs, as `cargo xtask release` does.
//!
//! `product DOCUMENTS OUT VERSION DATE ARCH=PROGRAM…`
//!
//! - DOCUMENTS has what `fleetctl generate` writes: `man/man1/*.1`, `completions/fleetctl.bash`,
//!   `completions/_fleetctl`, `completions/fleetctl.fish`.
//! - OUT is a folder. The names of what is written to it are printed, one a line.
//! - DATE is that of `SOURCE_DATE_EPOCH`.
//! - ARCH is `amd64` or `arm64`, PROGRAM the path of a program for Linux. `fleetctl` and
//!   `fleet-server` are packed, others are not.

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
    documents: Utf8PathBuf,
    out: Utf8PathBuf,
    version: Version,
    date: SourceDate,
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: product DOCUMENTS OUT VERSION DATE ARCH=PROGRAM…");
    let order = Order {
        documents: next()?.into(),
        out: next()?.into(),
        version: next()?.parse()?,
        date: next()?.parse()?,
    };
    let mut servers = Vec::new();
    for program in args {
        let (arch, path) = program.split_once('=').ok_or("a program has no architecture")?;
        let path = Utf8Path::new(path);
        match path.file_name() {
            Some("fleetctl") => {
                let release = order.release(path, arch)?;
                order.write(&product::fleetctl(&release, &documents(&order.documents)?)?)?;
            }
            Some("fleet-server") => {
                let release = order.release(path, arch)?;
                order.write(&product::fleet_server(&release)?)?;
                servers.push(release);
            }
            _ => {}
        }
    }
    order.write_image(&servers)
}

impl Order {
    fn release(&self, path: &Utf8Path, arch: &str) -> Result<Release, Box<dyn Error>> {
        let arch = match arch {
            "amd64" => Arch::Amd64,
            "arm64" => Arch::Arm64,
            _ => return Err(format!("there is no architecture `{arch}`").into()),
        };
        let program = Program::open(path, Platform { os: Os::Linux, arch })?;
        Ok(Release { version: self.version.clone(), program, built_at: self.date })
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

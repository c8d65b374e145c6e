//! Packs programs as `orbit`, `osqueryd` and `fleet-desktop`: the library in one screen.
//!
//! `pack FORMAT COMPRESSION OUT CORES ORBIT [OSQUERYD [DESKTOP]]`

use std::{error::Error, fs::File, io::Write, num::NonZeroUsize, process::ExitCode};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Draft, Format, PackageSpec, Payload, Platform, SourceDate,
    format::{deb::Deb, rpm::Rpm},
    payload::{Arch, Os},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: pack FORMAT COMPRESSION OUT CORES ORBIT...");
    let (format, compression, out) = (next()?, next()?.parse()?, next()?);
    let cores: NonZeroUsize = next()?.parse()?;
    let format: Box<dyn Format> = match format.as_str() {
        "deb" => Box::new(Deb { compression, cores }),
        "rpm" => Box::new(Rpm { compression, cores }),
        _ => return Err("FORMAT is deb or rpm".into()),
    };
    let arch = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::Amd64 };
    let platform = Platform { os: Os::Linux, arch };
    let components = ComponentKind::ALL.into_iter().zip(args).map(|(kind, path)| {
        Component::open(kind, semver::Version::new(1, 2, 3), Utf8Path::new(&path), platform)
    });
    let payload = Payload::new(platform, components.collect::<Result<Vec<_>, _>>()?)?;
    let spec = PackageSpec::try_from(Draft::default())?;
    let package = packager::assemble(&spec, &payload, SourceDate::from_unix(1_790_000_000))?;
    packager::build(&package, &*format, &mut File::create(out)?, &|_| ())?;
    Ok(())
}

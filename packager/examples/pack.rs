//! Packs programs as `orbit`, `osqueryd` and `fleet-desktop`: the library in one screen.
//!
//! `pack FORMAT COMPRESSION OUT CORES ORBIT [OSQUERYD [DESKTOP]]`

use std::{error::Error, fs::File, io::Write, num::NonZeroUsize, process::ExitCode};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Draft, Format, PackageSpec, Payload, Platform, SourceDate,
    format::{
        deb::Deb,
        msi::Msi,
        pkg::{Gzip, Pkg},
        rpm::Rpm,
    },
    payload::{Arch, Content, Os},
    tree::Source,
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
        "msi" => Box::new(Msi { compression, cores }),
        "pkg" => {
            let gzip = Gzip::new(compression).ok_or("a pkg is squeezed with gzip")?;
            Box::new(Pkg { gzip, cores, ..Pkg::default() })
        }
        _ => return Err("FORMAT is deb, rpm, msi or pkg".into()),
    };
    let platform = match format.name() {
        "msi" => Platform { os: Os::Windows, arch: Arch::Amd64 },
        "pkg" => Platform { os: Os::Macos, arch: Arch::Universal },
        _ if cfg!(target_arch = "aarch64") => Platform { os: Os::Linux, arch: Arch::Arm64 },
        _ => Platform { os: Os::Linux, arch: Arch::Amd64 },
    };
    let components = ComponentKind::ALL.into_iter().zip(args);
    let components = components.map(|(kind, path)| component(kind, &path, platform));
    let payload = Payload::new(platform, components.collect::<Result<Vec<_>, _>>()?)?;
    let spec = PackageSpec::try_from(Draft::default())?;
    let package = packager::assemble(&spec, &payload, SourceDate::from_unix(1_790_000_000))?;
    packager::build(&package, &*format, &mut File::create(out)?, &|_| ())?;
    Ok(())
}

/// For other systems than this one, whatever the file holds: programs for them may not be at hand.
fn component(
    kind: ComponentKind,
    path: &str,
    platform: Platform,
) -> Result<Component, Box<dyn Error>> {
    let (path, version) = (Utf8Path::new(path), semver::Version::new(1, 2, 3));
    if platform.os == Os::Linux {
        return Ok(Component::open(kind, version, path, platform)?);
    }
    let source = Source::Path { path: path.to_owned(), size: path.metadata()?.len() };
    Ok(Component { kind, version, content: Content::Program(source), libraries: Vec::new() })
}

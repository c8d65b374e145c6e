//! Reads packages that were changed at random, signed and unsigned, until its time is up. A panic, a hang
//! or an allocation beyond what the process may have ends it; the package that did it is left in the folder.
//!
//! `fuzz SECONDS FOLDER IDENTITY [SEED]`; `cargo xtask fuzz` runs it.

use std::{
    error::Error,
    fs,
    io::Cursor,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use fastrand::Rng;
use packager::{
    Component, ComponentKind, Draft, Format, PackageSpec, Payload, Platform, SourceDate,
    format::{
        deb::Deb,
        msi::{self, Msi},
        pkg::{self, Pkg},
        rpm::Rpm,
    },
    payload::{Arch, Content, Os},
    read::{self, layout},
    sign::{
        CodeSigner, Identity, Keys, Trust,
        openpgp::{Certificates, check_deb, check_rpm},
    },
    tree::Source,
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [seconds, folder, identity, seed @ ..] = args.as_slice() else {
        return Err("usage: fuzz SECONDS FOLDER IDENTITY [SEED]".into());
    };
    let seed = seed.first().map_or(Ok(1), |seed| seed.parse())?;
    let packages = packages(&fs::read(identity)?)?;
    let reads = run(&packages, (Duration::from_secs(seconds.parse()?), seed), folder.as_ref())?;
    fs::write(Path::new(folder).join("reads"), reads.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Gives how many packages were read.
#[expect(clippy::disallowed_methods, reason = "who fuzzes says for how long")]
fn run(
    packages: &[Vec<u8>],
    (time, seed): (Duration, u64),
    folder: &Path,
) -> Result<u64, Box<dyn Error>> {
    let end = Instant::now() + time;
    let mut random = Rng::with_seed(seed);
    let mut reads = 0;
    while Instant::now() < end {
        let changed = change(&packages[random.usize(..packages.len())], &mut random);
        // What ends the process here is found here.
        fs::write(folder.join("package"), &changed)?;
        read(&changed);
        reads += 1;
    }
    fs::remove_file(folder.join("package"))?;
    Ok(reads)
}

/// As `fleetctl package inspect` and `verify` do. Whatever they find is right here.
fn read(package: &[u8]) {
    let mut file = Cursor::new(package);
    if let Ok(contents) = read::open(&mut file) {
        let _ = layout::check(&contents);
    }
    let trust = Trust::default();
    for verify in [msi::verify, pkg::verify] {
        file.set_position(0);
        let _ = verify(&mut file, &trust);
    }
    for check in [check_deb, check_rpm] {
        file.set_position(0);
        let _ = check(&mut file, &Certificates::default());
    }
}

/// A package in every format, and again signed where `identity` can.
fn packages(identity: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let identity = Identity::from_file(identity, &|| None)?;
    let signer = CodeSigner { identity, timestamper: None };
    let mut keys = Keys::default();
    keys.windows = Some(signer.clone());
    keys.macos_installer = Some(signer);
    let formats: [(Os, Box<dyn Format>); 4] = [
        (Os::Linux, Box::new(Deb::default())),
        (Os::Linux, Box::new(Rpm::default())),
        (Os::Windows, Box::new(Msi::default())),
        (Os::Macos, Box::new(Pkg::default())),
    ];
    let mut packages = Vec::new();
    for (os, format) in &formats {
        let package = package(*os, &**format)?;
        if let Some(signature) = format.signature(&keys) {
            let mut signed = Cursor::new(Vec::new());
            signature.add(&mut Cursor::new(&package), &mut signed)?;
            packages.push(signed.into_inner());
        }
        packages.push(package);
    }
    Ok(packages)
}

fn package(os: Os, format: &dyn Format) -> Result<Vec<u8>, Box<dyn Error>> {
    let arch = if os == Os::Macos { Arch::Universal } else { Arch::Amd64 };
    let draft = Draft {
        fleet_url: Some("https://fleet.example.com".to_owned()),
        enroll_secret: Some("a secret of some length".to_owned()),
        ..Draft::default()
    };
    let program = b"a program ".repeat(5_000);
    let orbit = Component {
        kind: ComponentKind::Orbit,
        version: "1.2.3".parse()?,
        content: Content::Program(Source::Bytes(program.into())),
        libraries: Vec::new(),
    };
    let payload = Payload::new(Platform { os, arch }, [orbit])?;
    let spec = PackageSpec::try_from(draft)?;
    let package = packager::assemble(&spec, &payload, SourceDate::from_unix(1_700_000_000))?;
    let mut out = Cursor::new(Vec::new());
    packager::build(&package, format, &mut out, &|_| ())?;
    Ok(out.into_inner())
}

/// A few bytes overwritten, filled, cut off, copied elsewhere; more often in the first 4 KiB.
fn change(package: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = package.to_vec();
    for _ in 0..=random.usize(..8) {
        let front = random.usize(..2) == 0;
        let length = if front { bytes.len().min(4096) } else { bytes.len() };
        let at = random.usize(..length);
        let end = (at + random.usize(..64)).min(bytes.len());
        match random.usize(..6) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] ^= 1 << random.usize(..8),
            2 => bytes[at..end].fill([0, 0xff, b'9', b'7'][random.usize(..4)]),
            3 => bytes.truncate(at.max(64)),
            4 => bytes.copy_within(at..end, random.usize(..length - (end - at) + 1)),
            _ => (at..end).for_each(|at| bytes[at] = random.u8(..)),
        }
    }
    bytes
}

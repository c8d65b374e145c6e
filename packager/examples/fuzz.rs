//! Reads packages that were changed at random, signed and unsigned, until its time is up. A panic, a hang
//! or an allocation beyond what the process may have ends it; the package that did it is left in the folder.
//!
//! `fuzz SECONDS FOLDER IDENTITY OPENPGP-KEY [SEED]`; `cargo xtask fuzz` runs it.

#[path = "../tests/it/macho/program.rs"]
#[expect(clippy::unwrap_used, reason = "the programs that it makes are short")]
mod program;

use std::{
    error::Error,
    fs,
    io::Cursor,
    num::NonZeroUsize,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use fastrand::Rng;
use packager::{
    Component, ComponentKind, Compression, Draft, Format, Package, PackageSpec, Payload, Platform,
    SourceDate,
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
        bundle::{self, Signing},
        macho::{self, Details},
        openpgp::{Certificates, SigningKey, check_deb, check_rpm},
    },
    tree::{Entry, InstallPath, Role, Source},
};

use program::{ARM64, X86_64, thin, universal};

/// When packages are made and signed.
const DATE: SourceDate = SourceDate::from_unix(1_700_000_000);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [seconds, folder, identity, key, seed @ ..] = args.as_slice() else {
        return Err("usage: fuzz SECONDS FOLDER IDENTITY OPENPGP-KEY [SEED]".into());
    };
    let seed = seed.first().map_or(Ok(1), |seed| seed.parse())?;
    let folder = Utf8Path::new(folder);
    let keys = keys(&fs::read(identity)?, &fs::read(key)?)?;
    let packages = packages(&keys, folder)?;
    let reader = Reader::new(&keys, folder)?;
    let time = Duration::from_secs(seconds.parse()?);
    let reads = run(&packages, &reader, (time, seed), folder.as_ref())?;
    fs::write(folder.join("reads"), reads.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Gives how many packages were read.
#[expect(clippy::disallowed_methods, reason = "who fuzzes says for how long")]
fn run(
    packages: &[Vec<u8>],
    reader: &Reader<'_>,
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
        reader.read(&changed);
        reads += 1;
    }
    fs::remove_file(folder.join("package"))?;
    Ok(reads)
}

/// Who reads, and whom they trust.
struct Reader<'a> {
    folder: &'a Utf8Path,
    trust: Trust,
    certificates: Certificates,
}

impl<'a> Reader<'a> {
    /// One who trusts `keys`.
    fn new(keys: &Keys, folder: &'a Utf8Path) -> Result<Self, Box<dyn Error>> {
        let key = keys.openpgp.as_ref().ok_or("there is no OpenPGP key")?;
        let certificates = Certificates::parse(&key.certificate())?;
        Ok(Self { folder, trust: Trust::default(), certificates })
    }

    /// Does as `fleetctl package inspect` and `verify` do. Whatever they find is right here.
    fn read(&self, package: &[u8]) {
        let mut file = Cursor::new(package);
        if let Ok(contents) = read::open(&mut file) {
            let _ = layout::check(&contents);
        }
        for verify in [msi::verify, pkg::verify] {
            file.set_position(0);
            let _ = verify(&mut file, &self.trust);
        }
        file.set_position(0);
        let _ = read::check_code(&mut file, &self.folder.join("programs"), &self.trust);
        for check in [check_deb, check_rpm] {
            file.set_position(0);
            let _ = check(&mut file, &self.certificates);
        }
    }
}

/// Of `identity` for everything that takes it, and of the OpenPGP key for the rest.
fn keys(identity: &[u8], openpgp: &[u8]) -> Result<Keys, Box<dyn Error>> {
    let signer =
        CodeSigner { identity: Identity::from_file(identity, &|| None)?, timestamper: None };
    let mut keys = Keys::default();
    keys.openpgp = Some(SigningKey::from_secret_key(openpgp, None, DATE)?);
    keys.windows = Some(signer.clone());
    keys.macos = Some(signer.clone());
    keys.macos_installer = Some(signer);
    Ok(keys)
}

/// A package in every format, in some of its compressions, each signed and not.
fn packages(keys: &Keys, folder: &Utf8Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut formats: Vec<(Os, Box<dyn Format>)> =
        vec![(Os::Windows, Box::new(Msi::default())), (Os::Macos, Box::new(Pkg::default()))];
    let cores = NonZeroUsize::MIN;
    for compression in ["none", "gzip:6", "xz:0", "zstd:3"] {
        let compression: Compression = compression.parse()?;
        formats.push((Os::Linux, Box::new(Deb { compression, cores })));
        formats.push((Os::Linux, Box::new(Rpm { compression, cores })));
    }
    let mut packages = Vec::new();
    for (os, format) in &formats {
        let package = package(*os, &**format, (keys, folder))?;
        let signature = format.signature(keys).ok_or("there is no key for a format")?;
        let mut signed = Cursor::new(Vec::new());
        signature.add(&mut Cursor::new(&package), &mut signed)?;
        packages.extend([package, signed.into_inner()]);
    }
    Ok(packages)
}

fn package(
    os: Os,
    format: &dyn Format,
    (keys, folder): (&Keys, &Utf8Path),
) -> Result<Vec<u8>, Box<dyn Error>> {
    let arch = if os == Os::Macos { Arch::Universal } else { Arch::Amd64 };
    let draft = Draft {
        fleet_url: Some("https://fleet.example.com".to_owned()),
        enroll_secret: Some("a secret of some length".to_owned()),
        ..Draft::default()
    };
    let program = match (os, &keys.macos) {
        (Os::Macos, Some(by)) => signed_program(by)?,
        _ => b"a program ".repeat(5_000),
    };
    let orbit = Component {
        kind: ComponentKind::Orbit,
        version: "1.2.3".parse()?,
        content: Content::Program(Source::Bytes(program.into())),
        libraries: Vec::new(),
    };
    let payload = Payload::new(Platform { os, arch }, [orbit])?;
    let spec = PackageSpec::try_from(draft)?;
    let mut package = packager::assemble(&spec, &payload, DATE)?;
    if let (Os::Macos, Some(by)) = (os, &keys.macos) {
        add_bundle(&mut package, by, folder)?;
    }
    let mut out = Cursor::new(Vec::new());
    packager::build(&package, format, &mut out, &|_| ())?;
    Ok(out.into_inner())
}

fn unsigned_program() -> Vec<u8> {
    universal(&[(X86_64, thin(X86_64, 300)), (ARM64, thin(ARM64, 305))])
}

fn signed_program(by: &CodeSigner) -> Result<Vec<u8>, Box<dyn Error>> {
    let details = Details { identifier: "com.example.orbit".to_owned(), ..Details::default() };
    let mut signed = Vec::new();
    macho::sign(&mut Cursor::new(unsigned_program()), &details, by, &mut signed)?;
    Ok(signed)
}

/// What a bundle says of itself.
const INFO: &str = "<plist version=\"1.0\"><dict>
<key>CFBundleIdentifier</key><string>com.example.agent</string>
<key>CFBundleExecutable</key><string>agent</string>
</dict></plist>";

/// Adds a signed bundle, whose program gets a copy in `folder`.
fn add_bundle(
    package: &mut Package,
    by: &CodeSigner,
    folder: &Utf8Path,
) -> Result<(), Box<dyn Error>> {
    let program = Entry::file(Source::Bytes(unsigned_program().into()), Role::Program);
    let entries = [
        ("Contents/Info.plist", Entry::bytes(INFO, Role::Data)),
        ("Contents/MacOS/agent", program),
        ("Contents/Resources/en.lproj/a.strings", Entry::bytes("text", Role::Data)),
    ];
    let entries = entries.map(|(path, entry)| (path.to_owned(), entry));
    let scratch = folder.join("bundle");
    let _absent = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch)?;
    let signing = Signing { by, entitlements: None, signed_at: None, scratch: &scratch };
    let bundle = InstallPath::new("/opt/agent.app")?;
    package.tree.insert(bundle.clone(), Entry::dir())?;
    for (path, entry) in bundle::sign(entries, &signing)? {
        package.tree.insert(InstallPath::new(format!("{}/{path}", bundle.as_str()))?, entry)?;
    }
    Ok(())
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

//! Packages to look at.

use std::{io::Cursor, path::Path, process::Command};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Draft, Format, Package, PackageSpec, Payload, Platform, SourceDate,
    payload::{Arch, Os},
};

/// What this machine runs.
pub(crate) fn platform() -> Platform {
    let arch = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::Amd64 };
    Platform { os: Os::Linux, arch }
}

/// A draft with nothing unusual.
pub(crate) fn draft() -> Draft {
    Draft {
        fleet_url: Some("https://fleet.example.com:8443".into()),
        enroll_secret: Some("s3cret with $pecial \"chars\"".into()),
        ..Draft::default()
    }
}

pub(crate) fn spec(draft: Draft) -> PackageSpec {
    PackageSpec::try_from(draft).expect("the draft is a good one")
}

/// Orbit at `version`; a real program stands in for it.
pub(crate) fn payload(version: &str) -> Payload {
    Payload::new(platform(), [component(ComponentKind::Orbit, version)]).unwrap()
}

/// All components.
pub(crate) fn full_payload(version: &str) -> Payload {
    let components = ComponentKind::ALL.map(|kind| component(kind, version));
    Payload::new(platform(), components).unwrap()
}

pub(crate) fn component(kind: ComponentKind, version: &str) -> Component {
    let version = version.parse().unwrap();
    Component::open(kind, version, Utf8Path::new("/bin/true"), platform()).unwrap()
}

pub(crate) fn package(draft: Draft, version: &str) -> Package {
    packager::assemble(&spec(draft), &payload(version), DATE).unwrap()
}

pub(crate) const DATE: SourceDate = SourceDate::from_unix(1_790_000_000);

pub(crate) fn bytes(package: &Package, format: &dyn Format) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    packager::build(package, format, &mut out, &|_| ()).unwrap();
    out.into_inner()
}

/// Writes the package under its conventional name.
pub(crate) fn write(package: &Package, format: &dyn Format, folder: &Path) -> std::path::PathBuf {
    let path = folder.join(format.file_name(&package.metadata));
    std::fs::write(&path, bytes(package, format)).unwrap();
    path
}

/// Runs a program that must succeed; returns what it prints.
#[expect(clippy::disallowed_methods, reason = "tests ask the tools of the distributions")]
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("could not start `{program}`: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {text}{errors}");
    text
}

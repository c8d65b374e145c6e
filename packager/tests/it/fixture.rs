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
        maintainer: "Example Inc. <it@example.com>".into(),
        homepage: Some("https://it.example.com/".into()),
        ..Draft::default()
    }
}

pub(crate) fn spec(draft: Draft) -> PackageSpec {
    PackageSpec::try_from(draft).expect("the draft is a good one")
}

/// Orbit at `version`. Real programs stand in for all components.
pub(crate) fn payload(version: &str) -> Payload {
    Payload::new(platform(), [component(ComponentKind::Orbit, version)]).unwrap()
}

/// All components.
pub(crate) fn full_payload(version: &str) -> Payload {
    let components = ComponentKind::ALL.map(|kind| component(kind, version));
    Payload::new(platform(), components).unwrap()
}

pub(crate) fn component(kind: ComponentKind, version: &str) -> Component {
    let program = match kind {
        ComponentKind::Orbit => "/bin/true",
        ComponentKind::Osqueryd => "/bin/false",
        ComponentKind::Desktop => "/bin/echo",
    };
    let version = version.parse().unwrap();
    Component::open(kind, version, Utf8Path::new(program), platform()).unwrap()
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

/// The example of that name, which is built with the tests.
pub(crate) fn pack() -> String {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join("pack");
    built.to_str().unwrap().to_owned()
}

/// Runs a program that must succeed; returns what it prints.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let (success, text) = execute(program, args);
    assert!(success, "{program} {args:?}: {text}");
    text
}

/// Runs a program that tells by its exit code what it found; returns what it prints.
pub(crate) fn output(program: &str, args: &[&str]) -> String {
    execute(program, args).1
}

/// Runs a program that wants to be root, if only in a namespace of its own.
pub(crate) fn as_root(program: &str, args: &[&str]) -> String {
    if run("id", &["-u"]).trim() == "0" {
        return run(program, args);
    }
    run("unshare", &[&["--map-root-user", program], args].concat())
}

#[expect(clippy::disallowed_methods, reason = "tests ask the tools of the distributions")]
fn execute(program: &str, args: &[&str]) -> (bool, String) {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let output =
        Command::new(program).args(args).env("LC_ALL", "C.UTF-8").env("PATH", path).output();
    let output = output.unwrap_or_else(|error| panic!("could not start `{program}`: {error}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

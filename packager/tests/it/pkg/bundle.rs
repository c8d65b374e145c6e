//! Application bundles, as Fleet's repositories have them.

use std::{fs, os::unix::fs::symlink, path::Path};

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Draft, Payload, PayloadError, assemble, format::pkg::Pkg,
};

use super::{MAC, Unpacked, bill_and_payload, component};
use crate::fixture::{DATE, run, spec};

/// A universal program of two empty halves. Source: `mach-o/fat.h`.
fn universal(archs: &[u32]) -> Vec<u8> {
    let mut program = vec![0xca, 0xfe, 0xba, 0xbe];
    program.extend(u32::try_from(archs.len()).unwrap().to_be_bytes());
    for (at, arch) in (1u32..).zip(archs) {
        for number in [*arch, 0, at * 4096, 16, 12] {
            program.extend(number.to_be_bytes());
        }
    }
    program.resize(4096 * (archs.len() + 2), 7);
    program
}

const X86_64: u32 = 0x0100_0007;
const ARM64: u32 = 0x0100_000c;

/// A bundle with everything awkward in it, archived by tar(1).
fn archive(folder: &Path, program: &[u8], change: impl FnOnce(&Path)) -> String {
    let app = folder.join("os query.app");
    for inner in ["Contents/MacOS", "Contents/Resources/ä & <b>"] {
        fs::create_dir_all(app.join(inner)).unwrap();
    }
    fs::write(app.join("Contents/MacOS/osqueryd"), program).unwrap();
    run("chmod", &["755", app.join("Contents/MacOS/osqueryd").to_str().unwrap()]);
    fs::write(app.join("Contents/Info.plist"), "<plist/>").unwrap();
    fs::write(app.join("Contents/Resources/ä & <b>/it's $HOME.txt"), "text").unwrap();
    symlink("../MacOS/osqueryd", app.join("Contents/Resources/link")).unwrap();
    change(&app);
    let archive = folder.join("osqueryd.app.tar.gz").to_str().unwrap().to_owned();
    run("tar", &["-czf", &archive, "-C", folder.to_str().unwrap(), "os query.app"]);
    archive
}

fn open(folder: &Path, archive: &str) -> Result<Component, PayloadError> {
    let scratch = folder.join("scratch");
    let paths = [Utf8Path::new(archive), Utf8Path::from_path(&scratch).unwrap()];
    Component::open_bundle(ComponentKind::Osqueryd, "5.1.0".parse().unwrap(), paths, MAC)
}

#[test]
fn a_bundle_is_laid_as_it_was_archived() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &universal(&[X86_64, ARM64]), |_| ());
    let osqueryd = open(folder.path(), &archive).unwrap();
    let orbit = component(ComponentKind::Orbit, "1.0.0", b"#!/bin/sh\n");
    let payload = Payload::new(MAC, [orbit, osqueryd]).unwrap();
    let package = assemble(&spec(Draft::default()), &payload, DATE).unwrap();
    let unpacked = Unpacked::new(&package, &Pkg::default());
    let laid = unpacked.path("Payload/opt/orbit/bin/osqueryd/packaged/osquery.app");
    let archived = folder.path().join("os query.app");
    run("diff", &["-r", "--no-dereference", archived.to_str().unwrap(), laid.to_str().unwrap()]);
    run("test", &["-x", laid.join("Contents/MacOS/osqueryd").to_str().unwrap()]);
    let (listed, laid) = bill_and_payload(&unpacked);
    assert_eq!(listed, laid);
}

#[test]
fn what_is_no_bundle_for_this_system_is_refused() {
    let refused = |program: &[u8], change: fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), program, change);
        open(folder.path(), &archive).unwrap_err().to_string()
    };
    let universal = universal(&[X86_64, ARM64]);
    let thin = refused(&super::bundle::universal(&[ARM64]), |_| ());
    assert!(thin.contains("is a program for macos/arm64, not for macos/universal"), "{thin}");
    let escape = refused(&universal, |app| symlink("../../etc", app.join("out")).unwrap());
    assert!(escape.contains("the symlink `out` leads out of it"), "{escape}");
    let none = refused(&universal, |app| {
        fs::remove_file(app.join("Contents/MacOS/osqueryd")).unwrap();
    });
    assert!(none.contains("it has no file `*.app/Contents/MacOS/osqueryd`"), "{none}");
    let pipe = refused(&universal, |app| {
        run("mkfifo", &[app.join("pipe").to_str().unwrap()]);
    });
    assert!(pipe.contains("`pipe` is no file, folder or symlink"), "{pipe}");
}

#[test]
fn a_damaged_archive_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &universal(&[X86_64, ARM64]), |_| ());
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    assert!(open(folder.path(), &archive).unwrap_err().to_string().contains("could not read"));
}

//! Packages that one system's `fleetctl` makes, held against those of this machine's, byte by byte.

use std::path::Path;

use anyhow::bail;

use super::runner::{Emulator, Runner};
use crate::{deployment::Desk, dist};

/// What both are told. A script stands for the programs of every system that starts scripts.
const FLAGS: &str =
    "--without-osqueryd --package-version 1.2.3 --fleet-url https://fleet.example.com";

/// Fails unless `fleetctl` of `runner` makes the same packages as this machine's, of each type that
/// there are programs for. `programs` is the folder with those that `runner` starts.
pub(super) fn compare(desk: &Desk, runner: &Runner, programs: &Path) -> anyhow::Result<()> {
    desk.run("mkdir kit here there && printf '#!/bin/sh\\n' > kit/orbit && chmod 755 kit/orbit")?;
    desk.run("printf 'of-packages-alone\\r\\n' > packed.txt && chmod 600 packed.txt")?;
    let mut kits = vec![("deb,rpm,pkg", "'kit'".to_owned(), runner.path("kit"))];
    if runner.emulator() == Emulator::Wine {
        kits.push(("msi", format!("'{}'", programs.display()), runner.foreign(programs)));
    }
    for (types, here, there) in &kits {
        let flags = format!("package --type {types} {FLAGS}");
        desk.run(&format!(
            "fleetctl {flags} --components {here} --enroll-secret-file packed.txt --out-dir here"
        ))?;
        let (secret, out) = (runner.path("packed.txt"), runner.path("there"));
        let args =
            format!("{flags} --components {there} --enroll-secret-file {secret} --out-dir {out}");
        desk.run(&runner.line("fleetctl", &args))?;
    }
    let (here, there) = (desk.dir.join("here"), desk.dir.join("there"));
    let expected = kits.iter().flat_map(|(types, ..)| types.split(',')).count();
    let made = dist::compare(&here, &there)?;
    if made < expected {
        bail!("{made} packages were made of {expected} types");
    }
    Ok(())
}

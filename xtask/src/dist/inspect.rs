//! Reads programs that this machine may be unable to run: what they ask of the system that they
//! are for, and whether it has that.

mod elf;
mod macho;
mod pe;

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use super::target::{System, Target, UNIVERSAL};

/// Fails with everything at `path` that the oldest supported system of `target` would refuse or that
/// is not what is shipped; `name` is what the program is called.
pub(crate) fn check(target: &Target, name: &str, path: &Path) -> anyhow::Result<()> {
    let bytes = read(path)?;
    let problems = match target.system {
        System::Linux => elf::problems(&bytes, target.cpu),
        System::Windows => pe::problems(&bytes, target.cpu),
        System::Macos => macho::problems(&bytes, target.cpu, name),
    };
    let problems = problems.with_context(|| format!("could not read `{}`", path.display()))?;
    fail_with(target.triple, name, &problems)
}

/// The same for a program of two macOS targets.
pub(crate) fn check_universal(name: &str, path: &Path) -> anyhow::Result<()> {
    let bytes = read(path)?;
    let problems = macho::universal_problems(&bytes, name)
        .with_context(|| format!("could not read `{}`", path.display()))?;
    fail_with(UNIVERSAL, name, &problems)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("could not read `{}`", path.display()))
}

fn fail_with(target: &str, name: &str, problems: &[String]) -> anyhow::Result<()> {
    if !problems.is_empty() {
        bail!("`{name}` for {target} cannot be shipped: {}", problems.join("; "));
    }
    Ok(())
}

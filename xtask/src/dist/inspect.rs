//! Reads programs that this machine may be unable to run: what they ask of the system that they
//! are for, and whether it has that.

mod elf;
mod macho;
mod pe;

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use super::target::{Reach, System};

/// Fails with everything at `path` that the oldest supported system of `reach` would refuse or that
/// is not what is shipped; `name` is what the program is called.
pub(crate) fn check(reach: Reach, name: &str, path: &Path) -> anyhow::Result<()> {
    let problem = || format!("could not read `{}`", path.display());
    let bytes = fs::read(path).with_context(problem)?;
    let problems = match reach {
        Reach::Universal => macho::universal_problems(&bytes, name),
        Reach::One(target) => match target.system {
            System::Linux => elf::problems(&bytes, target.cpu),
            System::Windows => pe::problems(&bytes, target.cpu),
            System::Macos => macho::problems(&bytes, target.cpu, name),
        },
    };
    let problems = problems.with_context(problem)?;
    if !problems.is_empty() {
        bail!("`{name}` for {} cannot be shipped: {}", reach.name(), problems.join("; "));
    }
    Ok(())
}

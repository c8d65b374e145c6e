//! `cargo xtask setup --cross`: what building for other systems needs, and nothing that the asked
//! targets do not. It goes below the user's cache folder, and what is there is not fetched again.

mod debian;

use std::fs;

use anyhow::Context as _;
use xshell::cmd;

use crate::{
    cross::{Cross, zig_requirements},
    dist::{
        target::{Choice, Linker, Target},
        toolchain::{self, Origin},
    },
    python, terminal,
    workspace::Workspace,
};

/// Gets ready for the targets called `names`, all if there are none; with compilers from `wanted`
/// and nowhere else if that is given.
pub(super) fn run(
    workspace: &Workspace,
    names: &[String],
    wanted: Option<Origin>,
) -> anyhow::Result<()> {
    let cross = Cross::new()?;
    let choice = Choice::new(names)?;
    if choice.targets.iter().any(|target| target.linker != Linker::Mingw) {
        cross.dir()?;
        let requirements = zig_requirements();
        let requirements = requirements.each_ref().map(String::as_str);
        python::install(workspace, &cross.zig(), &requirements)?;
    }
    for target in choice.targets {
        library(workspace, &cross, target, wanted)
            .with_context(|| format!("could not get ready for {}", target.triple))?;
    }
    Ok(())
}

/// Sees to a standard library for `target`.
fn library(
    workspace: &Workspace,
    cross: &Cross,
    target: &Target,
    wanted: Option<Origin>,
) -> anyhow::Result<()> {
    if wanted != Some(Origin::Debian) && from_rustup(workspace, cross, target)? {
        return Ok(());
    }
    if wanted == Some(Origin::Rustup) {
        anyhow::bail!("rustup has no standard library for it");
    }
    debian::install(workspace, cross, target)
}

/// Tells whether rustup has the standard library, asking it to fetch it if it is not there.
fn from_rustup(workspace: &Workspace, cross: &Cross, target: &Target) -> anyhow::Result<bool> {
    let rustc = toolchain::compiler(workspace, cross, Origin::Rustup)?;
    if toolchain::has_library(workspace, &rustc, target)? {
        return Ok(true);
    }
    let (sh, triple) = (&workspace.sh, target.triple);
    terminal::note(&format!("asking rustup for the standard library of {triple}"));
    let output = cmd!(sh, "rustup target add {triple}").quiet().ignore_status().output();
    let told = match output {
        Ok(output) if output.status.success() => return Ok(true),
        Ok(output) => last_error(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => error.to_string(),
    };
    terminal::note(&format!("rustup cannot: {told}"));
    cross.dir()?;
    fs::write(cross.refusal(triple), told).context("could not note what rustup said")?;
    Ok(false)
}

/// What went wrong, of all that rustup has printed.
fn last_error(text: &str) -> String {
    let mut errors = text.lines().filter_map(|line| line.strip_prefix("error: "));
    errors.next_back().unwrap_or_else(|| text.trim()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_told_from_what_comes_before() {
        let text = "info: downloading component\nerror: could not download file\ncaused by: x\n";
        assert_eq!(last_error(text), "could not download file");
        assert_eq!(last_error("no such command\n"), "no such command");
    }
}

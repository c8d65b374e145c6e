//! Tools from PyPI, each in a virtual environment of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::cmd;

use crate::{terminal, workspace::Workspace};

/// The file in an environment that says what was installed, all of it.
const STAMP: &str = ".installed";

/// Installs `requirement`, `name==version`, once, and gives the directory of its programs.
pub(crate) fn tool(workspace: &Workspace, requirement: &str) -> anyhow::Result<PathBuf> {
    environment(workspace, &requirement.replace("==", "-"), &[requirement])
}

/// Installs `requirements` once, together, in an environment called `name`; gives the directory of
/// its programs.
pub(crate) fn environment(
    workspace: &Workspace,
    name: &str,
    requirements: &[&str],
) -> anyhow::Result<PathBuf> {
    let venv = workspace.target.join("tools").join(name);
    install(workspace, &venv, requirements)?;
    Ok(venv.join("bin"))
}

/// Installs `requirements` into an environment of their own at `venv`, unless they are there.
pub(crate) fn install(
    workspace: &Workspace,
    venv: &Path,
    requirements: &[&str],
) -> anyhow::Result<()> {
    if has(venv, requirements) {
        return Ok(());
    }
    terminal::note(&format!("installing {} from PyPI", requirements.join(", ")));
    let sh = &workspace.sh;
    cmd!(sh, "python3 -m venv --clear {venv}").quiet().run()?;
    let python = venv.join("bin").join("python");
    cmd!(sh, "{python} -m pip install --quiet {requirements...}").quiet().run()?;
    fs::write(venv.join(STAMP), requirements.join("\n")).context("could not note what is installed")
}

/// Tells whether the environment at `venv` has just `requirements`.
pub(crate) fn has(venv: &Path, requirements: &[&str]) -> bool {
    fs::read_to_string(venv.join(STAMP)).is_ok_and(|it| it == requirements.join("\n"))
}

//! Tools from PyPI, in a virtual environment of their own below the target directory.

use std::{fs, path::PathBuf};

use xshell::cmd;

use crate::{terminal, workspace::Workspace};

/// Installs `requirement` (`name==version`) once, and gives the directory of its programs.
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
    let programs = venv.join("bin");
    let stamp = venv.join(".installed");
    let wanted = requirements.join("\n");
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
        terminal::note(&format!("installing {}", requirements.join(", ")));
        let sh = &workspace.sh;
        cmd!(sh, "python3 -m venv --clear {venv}").quiet().run()?;
        let python = programs.join("python");
        cmd!(sh, "{python} -m pip install --quiet {requirements...}").quiet().run()?;
        fs::write(stamp, wanted)?;
    }
    Ok(programs)
}

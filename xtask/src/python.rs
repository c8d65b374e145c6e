//! Tools from PyPI, in a virtual environment of their own below the target directory.

use std::{fs, path::PathBuf};

use xshell::cmd;

use crate::{terminal, workspace::Workspace};

/// Installs `requirement` (`name==version`) once, and gives the directory of its programs.
pub(crate) fn tool(workspace: &Workspace, requirement: &str) -> anyhow::Result<PathBuf> {
    let venv = workspace.target.join("tools").join(requirement.replace("==", "-"));
    let programs = venv.join("bin");
    let stamp = venv.join(".installed");
    if !stamp.exists() {
        terminal::note(&format!("installing {requirement}"));
        let sh = &workspace.sh;
        cmd!(sh, "python3 -m venv --clear {venv}").quiet().run()?;
        let python = programs.join("python");
        cmd!(sh, "{python} -m pip install --quiet {requirement}").quiet().run()?;
        fs::write(stamp, "")?;
    }
    Ok(programs)
}

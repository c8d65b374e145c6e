//! `cargo xtask codegen`: reference documents that the programs write about themselves.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use xshell::cmd;

use crate::{
    terminal,
    tidy::rows,
    workspace::{Programs, Workspace},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a document is out of date
    #[arg(long)]
    pub(crate) check: bool,
}

/// Writes the documents, or checks that they are what the programs would write.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let programs = workspace.programs()?;
    let mut stale = Vec::new();
    for (path, text) in documents(workspace, &programs)? {
        let file = workspace.root.join(path);
        if fs::read_to_string(&file).is_ok_and(|old| old == text) {
            continue;
        }
        if args.check {
            stale.push(path);
        } else {
            write(&file, &text)?;
            terminal::line(&format!("wrote {path}"));
        }
    }
    if !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask codegen`", stale.join(", "));
    }
    Ok(())
}

fn documents(
    workspace: &Workspace,
    programs: &Programs,
) -> anyhow::Result<[(&'static str, String); 5]> {
    let sh = &workspace.sh;
    let (fleetctl, server) = (&programs.fleetctl, &programs.server);
    let cli = cmd!(sh, "{fleetctl} generate markdown").quiet().read()?;
    let openapi = cmd!(sh, "{server} openapi").quiet().read()?;
    let permissions = cmd!(sh, "{server} permissions").quiet().read()?;
    let schema = cmd!(sh, "{fleetctl} generate schema").quiet().read()?;
    Ok([
        (rows::PAGE, acceptance(workspace)?),
        ("docs/fleet-package.schema.json", format!("{schema}\n")),
        ("docs/cli.md", format!("{cli}\n")),
        ("docs/openapi.json", format!("{openapi}\n")),
        ("docs/permissions.md", format!("{permissions}\n")),
    ])
}

/// Which test shows which row, collected from the tests.
fn acceptance(workspace: &Workspace) -> anyhow::Result<String> {
    let sh = &workspace.sh;
    let listed =
        cmd!(sh, "git ls-files --cached --others --exclude-standard server/tests server/src")
            .quiet()
            .read()?;
    let mut sources = Vec::new();
    for path in listed.lines().filter(|path| path.ends_with(".rs")) {
        let file = workspace.root.join(path);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("could not read `{}`", file.display()))?;
        sources.push((path, text));
    }
    Ok(rows::page(sources.iter().map(|(path, text)| (*path, text.as_str()))))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("could not make `{}`", dir.display()))?;
    }
    fs::write(file, text).with_context(|| format!("could not write `{}`", file.display()))
}

//! `fleetctl generate`: what follows from the command line's own description, and what follows from a
//! package for device management.

mod markdown;
mod mdm;

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory as _, Subcommand};
use clap_complete::Shell as CompletedShell;

use crate::{cli::Cli, output::Shell};

/// Writes completions, manual pages, the reference of all commands, or what device management pushes
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl generate completions bash > /etc/bash_completion.d/fleetctl
  fleetctl generate man --out-dir /usr/local/share/man/man1
  fleetctl generate markdown > docs/cli.md")]
pub(crate) enum GenerateCommand {
    /// Prints completions for a shell
    #[command(after_help = "\
Examples:
  fleetctl generate completions bash > /etc/bash_completion.d/fleetctl
  fleetctl generate completions zsh > ~/.zfunc/_fleetctl
  fleetctl generate completions fish > ~/.config/fish/completions/fleetctl.fish")]
    Completions(CompletionsArgs),
    /// Writes a manual page for each command, or prints the main one
    #[command(
        after_help = "Examples:\n  fleetctl generate man | man -l -\n  fleetctl generate man --out-dir man1"
    )]
    Man(ManArgs),
    /// Prints the reference of all commands
    #[command(after_help = "Examples:\n  fleetctl generate markdown > docs/cli.md")]
    Markdown,
    Mdm(mdm::MdmArgs),
    /// Prints the JSON schema of `fleetctl package --spec`'s file
    #[command(after_help = "Examples:\n  fleetctl generate schema > fleet-package.schema.json")]
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: CompletedShell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages, made when missing
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

pub(crate) fn run(command: GenerateCommand, shell: Shell) -> anyhow::Result<()> {
    match command {
        GenerateCommand::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "fleetctl", &mut script);
            shell.raw(&script)
        }
        GenerateCommand::Man(args) => man(args, shell),
        GenerateCommand::Mdm(args) => mdm::run(&args, shell),
        GenerateCommand::Schema => {
            let schema = serde_json::to_string_pretty(&super::package::schema());
            shell.line(schema.context("could not write JSON")?)
        }
        GenerateCommand::Markdown => shell.raw(markdown::reference(&built()).as_bytes()),
    }
}

fn man(args: ManArgs, shell: Shell) -> anyhow::Result<()> {
    let command = built();
    let Some(folder) = args.out_dir else { return shell.raw(&page(&command)?) };
    fs::create_dir_all(&folder)
        .with_context(|| format!("could not create `{}`", folder.display()))?;
    for (name, page) in pages(&command)? {
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, page).with_context(|| format!("could not write `{}`", path.display()))?;
    }
    shell.done(format!("manual pages are in `{}`", folder.display()));
    Ok(())
}

/// The page of `command` and of each command below it, by name.
fn pages(command: &Command) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut all = vec![(name(command), page(command)?)];
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        all.extend(pages(below)?);
    }
    Ok(all)
}

fn page(command: &Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render(&mut page).context("could not write a manual page")?;
    Ok(page)
}

/// `fleetctl-devices-list` for `fleetctl devices list`.
fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

/// The whole command line, with what clap adds to it.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

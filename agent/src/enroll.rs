//! `orbit enroll`: a device that was installed without configuration is told its server.

use std::{
    fs,
    io::{self, Read as _},
    process::ExitCode,
};

use agent::{
    config::{Config, Sources},
    installer::InstallerError,
    platform,
    secrets::{self, SecretSource, Secrets},
};
use anyhow::Context as _;
use camino::Utf8Path;
use wire::{
    EnrollSecret,
    settings::{self, vars},
};

use crate::cli::Cli;

/// A longer file is no secret.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Checks everything that was given, writes it, and starts the service unless `no_start`.
pub(crate) fn run(cli: &Cli, secret: &Utf8Path, no_start: bool) -> anyhow::Result<ExitCode> {
    let mut sources = crate::installed(cli)?;
    let mut given = cli.variables();
    // Where the service lives is not for it to be told here.
    given.remove(vars::ROOT_DIR);
    let secret = read_secret(secret)?;
    check(&mut sources, &secret)?;
    let path = secrets::packaged(&sources.root());
    let secrets = Secrets::new(SecretSource::Packaged(path.clone()), sources.vault());
    secrets.welcome(&path, &secret).context("could not write the enroll secret")?;
    platform::add_settings(&given).context("could not write the settings")?;
    if !no_start {
        platform::restart_service().context("could not start the service")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_secret(path: &Utf8Path) -> anyhow::Result<EnrollSecret> {
    let mut text = String::new();
    let read = if path == "-" {
        io::stdin().take(MAX_SECRET_FILE).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_SECRET_FILE).read_to_string(&mut text))
    };
    read.with_context(|| format!("could not read the enroll secret from `{path}`"))?;
    let secret = settings::secret_from_file_text(&text).map_err(|error| {
        bad_input(vec![format!("the enroll secret in `{path}` cannot be used: {error}")])
    })?;
    Ok(secret)
}

/// Whether the agent could run with it.
fn check(sources: &mut Sources, secret: &EnrollSecret) -> anyhow::Result<()> {
    sources.flags.insert(vars::ENROLL_SECRET, secret.expose().to_owned());
    Config::read(sources).map(drop).map_err(|error| bad_input(error.problems).into())
}

fn bad_input(problems: Vec<String>) -> InstallerError {
    InstallerError::Settings { problems }
}

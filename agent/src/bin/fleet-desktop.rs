//! Entry point of `fleet-desktop`: what whoever sits at the device can ask about it.

#[path = "../output.rs"]
mod output;

use std::{io::Write as _, process::ExitCode};

use agent::{
    VERSION,
    desktop::{self, Link, redirect::Redirect},
    platform,
};
use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};
use wire::{api::DeviceStatus, orbit::DeviceSummary};

use self::output::Output;

/// Shows how this device stands with its Fleet server, to whoever sits at it.
///
/// Examples:
///   fleet-desktop status
///   fleet-desktop open
#[derive(Debug, Parser)]
#[command(name = "fleet-desktop", version = VERSION, max_term_width = 100, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where the agent keeps its state.
    #[arg(long, global = true, value_name = "DIR", env = "ORBIT_ROOT_DIR")]
    root_dir: Option<Utf8PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what the server knows of this device.
    ///
    /// Exit code 0: it is online. 1: it is not, or nothing can be told. 2: wrong usage.
    Status {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Open this device's page in the browser.
    Open,
    /// Print the version.
    Version {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let root = cli.root_dir.unwrap_or_else(platform::default_root);
    let outcome = match cli.command {
        Command::Status { output } => status(&root, output),
        Command::Open => open(&root),
        Command::Version { output } => {
            output::print_version(output, "fleet-desktop").map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

fn status(root: &Utf8Path, output: Output) -> anyhow::Result<ExitCode> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing has installed a provider before");
    let (link, token) = (Link::load(root)?, desktop::token(root)?);
    let summary = runtime()?.block_on(link.summary(&token))?;
    output::print(output, &summary, |summary| text(&link, summary))?;
    let online = summary.status == DeviceStatus::Online;
    Ok(if online { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(link: &Link, summary: &DeviceSummary) -> String {
    let rows = [
        ("device", summary.hostname.as_str()),
        ("status", summary.status.as_str()),
        ("last seen", &summary.last_seen_at.to_string()),
        ("server", link.server_url.as_str()),
        ("system", &summary.os_version),
        ("orbit", &summary.orbit_version),
        ("osquery", &summary.osquery_version),
    ];
    let known = rows.iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| format!("{name:<11}{value}\n")).collect()
}

fn open(root: &Utf8Path) -> anyhow::Result<ExitCode> {
    let page = Link::load(root)?.page(&desktop::token(root)?)?;
    let led = runtime()?.block_on(async {
        let redirect = Redirect::to(page).await?;
        let url = redirect.url()?;
        opener::open(url.as_str()).context("could not open a browser")?;
        anyhow::Ok(redirect.serve().await)
    })?;
    if !led {
        bail!("could not open the page: no browser has come for it");
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")
}

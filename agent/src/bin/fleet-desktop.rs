//! Entry point of `fleet-desktop`: what whoever sits at the device can ask about it.

#[path = "../output.rs"]
mod output;
#[cfg(not(target_os = "linux"))]
#[path = "fleet-desktop/succession.rs"]
mod succession;

use std::{io::Write as _, process::ExitCode};

use agent::{
    VERSION,
    desktop::{
        self, Link,
        tray::{self, Face},
    },
    log::{self, Style},
    platform,
};
use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};
use tokio::sync::{mpsc, watch};
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
    /// Show an icon beside the clock, until the user logs off: how the device stands, and the way to its page.
    ///
    /// Where there is nothing to show it with, or nothing to show, it waits until there is.
    Tray,
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
        Command::Tray => tray(root),
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
    use_crypto();
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
    runtime()?.block_on(desktop::open(root))?;
    Ok(ExitCode::SUCCESS)
}

/// The main thread is the icon's: some systems draw on no other. What is asked and done meanwhile is
/// on a thread of its own.
fn tray(root: Utf8PathBuf) -> anyhow::Result<ExitCode> {
    #[cfg(windows)]
    platform::leave_console();
    use_crypto();
    let style = Style { debug: false, journal: false };
    let (subscriber, _) = log::subscriber(style, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).context("could not set up logging")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    #[cfg(not(target_os = "linux"))]
    {
        let version = succession::Version::own(root.clone())?;
        if let Some(successor) = runtime.block_on(version.wait_for_use()) {
            return succession::hand_over(&successor);
        }
        runtime.spawn(version.watch());
    }
    let (faces, shown) = watch::channel(Face::default());
    let (wishes, wished) = mpsc::unbounded_channel();
    runtime.spawn(tray::tend(root, faces, wished));
    platform::show_icon(runtime.handle(), shown, wishes).context("could not show an icon")?;
    Ok(ExitCode::SUCCESS)
}

fn use_crypto() {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing has installed a provider before");
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")
}

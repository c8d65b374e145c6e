//! `fleetctl debug`: finds out why something does not work.

mod connection;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    exit::Stop,
    flags::Output,
    output::{Format, Table},
    session::{Session, trust_of, url_of},
};

/// Finds out why something does not work
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  fleetctl debug connection https://fleet.example.com")]
pub(crate) enum DebugCommand {
    /// Tries what an agent does to reach a server, step by step
    ///
    /// Looks up the name, connects, checks the certificate, and enrolls with a secret that nobody
    /// has: a fleet-server refuses that in a certain way.
    #[command(after_help = "\
Examples:
  fleetctl debug connection https://fleet.example.com
  fleetctl debug connection localhost:8080 --fleet-certificate ca.pem --output json")]
    Connection(ConnectionArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// Server's address
    url: String,
    /// PEM file of the CA (or certificate) of the server, instead of the system's
    #[arg(long, value_name = "PEM")]
    fleet_certificate: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long, conflicts_with = "fleet_certificate")]
    insecure: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(command: DebugCommand, session: &Session) -> anyhow::Result<()> {
    let DebugCommand::Connection(args) = command;
    let server = url_of(&args.url)?;
    let trust = trust_of(args.fleet_certificate.as_deref(), args.insecure)?;
    let steps = connection::check(&server, &trust).await?;
    match args.output.format {
        Format::Table => {
            for step in &steps {
                session.shell.line(step)?;
            }
        }
        Format::Json | Format::Yaml => {
            session.shell.data(args.output.format, &steps, |_| Table::properties([]))?;
        }
    }
    if steps.iter().all(|step| step.ok) { Ok(()) } else { Err(Stop::Reported.into()) }
}

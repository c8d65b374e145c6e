//! `fleetctl login`: signs in and keeps a context.

mod code;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::Args;
use url::{Host, Url};
use wire::api::{ClientKind, LoginRequest, SessionTokens};

use crate::{
    client::{Access, Client, save_session, session_of},
    config::Context,
    exit::Stop,
    prompt,
    session::{Session, trust_of, url_of},
    trust::Trust,
};

/// Signs in and keeps what that gives in a context
///
/// At a terminal it shows a code, to be approved in a browser, which may be on another machine. With
/// --email or --password-stdin it takes a password. Without --url, signs in again to the server of
/// the current context.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetctl login --url https://fleet.example.com
  fleetctl login --url https://fleet.example.com --email ann@example.com
  fleetctl login --url https://localhost:8080 --fleet-certificate ca.pem
  fleetctl login --context staging --url https://staging.example.com")]
pub(crate) struct LoginArgs {
    /// Server's address
    #[arg(long)]
    url: Option<String>,
    /// PEM file of the CA (or certificate) of the server, instead of the system's
    #[arg(long, value_name = "PEM", requires = "url")]
    fleet_certificate: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long, requires = "url", conflicts_with = "fleet_certificate")]
    insecure: bool,
    /// Email address, to sign in with a password
    #[arg(long)]
    email: Option<String>,
    /// Read the password from standard input instead of asking
    #[arg(long)]
    password_stdin: bool,
    /// Show a code also where nobody is at the terminal
    #[arg(long, conflicts_with_all = ["email", "password_stdin"])]
    code: bool,
    /// Open no browser
    #[arg(long)]
    no_browser: bool,
}

/// A server and the certificates it may show.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Server's address
    #[arg(long)]
    url: String,
    /// PEM file of the CA (or certificate) of the server, instead of the system's
    #[arg(long, value_name = "PEM")]
    fleet_certificate: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long, conflicts_with = "fleet_certificate")]
    insecure: bool,
}

impl Reach {
    /// The address and the trust, checked. Warns of what travels in the clear.
    pub(crate) fn resolve(&self, session: &Session) -> anyhow::Result<(Url, Trust)> {
        let server = url_of(&self.url)?;
        if server.scheme() == "http" && !is_loopback(&server) {
            session.shell.warn("without https, passwords and tokens travel in the clear");
        }
        Ok((server, trust_of(self.fleet_certificate.as_deref(), self.insecure)?))
    }
}

pub(crate) async fn run(args: LoginArgs, session: &Session) -> anyhow::Result<()> {
    let (server, trust, known) = match args.url {
        Some(url) => {
            let reach =
                Reach { url, fleet_certificate: args.fleet_certificate, insecure: args.insecure };
            let (server, trust) = reach.resolve(session)?;
            (server, trust, None)
        }
        None => current(session)?,
    };
    let mut client = Client::new(server.clone(), &trust, Access::Nobody)?;
    let with_password = args.email.is_some() || args.password_stdin;
    let tokens = if args.code || (!with_password && io::stdin().is_terminal()) {
        code::sign_in(session, &mut client, &server, !args.no_browser).await?
    } else {
        let request = LoginRequest {
            email: prompt::text(args.email.or(known), "Email: ", "--email")?,
            password: prompt::password(args.password_stdin)?,
            client: ClientKind::Cli,
        };
        client.create("/auth/login", &request).await?
    };
    sign_in_as(session, server, &trust, tokens)
}

/// The server of the context in use, and who was signed in there.
fn current(session: &Session) -> anyhow::Result<(Url, Trust, Option<String>)> {
    let contexts = session.context_file()?.read()?;
    let name = contexts.name(session.asked_context());
    let context = contexts
        .contexts
        .get(name)
        .ok_or_else(|| Stop::usage("no server is known yet: give --url URL"))?;
    Ok((context.url.clone(), context.trust(), context.email.clone()))
}

/// Keeps `tokens` in the context in use, and says whose they are.
pub(crate) fn sign_in_as(
    session: &Session,
    server: Url,
    trust: &Trust,
    tokens: SessionTokens,
) -> anyhow::Result<()> {
    let file = session.context_file()?;
    let name = file.read()?.name(session.asked_context()).to_owned();
    let user = tokens.user.clone();
    let context = Context {
        email: Some(user.email.clone()),
        session: Some(session_of(tokens)?),
        ..Context::new(server, trust)
    };
    save_session(&file, &name, context)?;
    session.shell.done(format!(
        "signed in to {} as {} ({}), context `{name}`",
        user.organization, user.email, user.role
    ));
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

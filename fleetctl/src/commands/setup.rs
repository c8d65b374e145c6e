//! `fleetctl setup`: the first person of an empty server.

use clap::Args;
use wire::api::{ClientKind, Hidden, RegisterRequest, SessionTokens};

use super::login::{Reach, sign_in_as};
use crate::{
    client::{Access, Client},
    prompt,
    session::Session,
};

/// Sets up an empty server: makes its owner, signs in and keeps a context
///
/// The server prints the code when it first starts. It is good once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetctl setup --url https://fleet.example.com --code ABCD-EFGH-JKLM
  fleetctl setup --url https://localhost:8080 --fleet-certificate ca.pem --code ABCD-EFGH-JKLM \\
      --email ann@example.com --name Ann --organization Example --password-stdin < password.txt")]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    reach: Reach,
    /// Set-up code that the server printed
    #[arg(long, value_parser = prompt::hidden)]
    code: Hidden,
    #[command(flatten)]
    owner: OwnerArgs,
}

/// Whose organization is made.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct OwnerArgs {
    /// Email address to sign in with; asked for unless given
    #[arg(long)]
    email: Option<String>,
    /// Name of the owner; asked for unless given
    #[arg(long)]
    name: Option<String>,
    /// Name of the organization; asked for unless given
    #[arg(long)]
    organization: Option<String>,
    /// Read the password from standard input instead of asking
    #[arg(long)]
    password_stdin: bool,
}

impl OwnerArgs {
    /// Asks for what was not given.
    pub(crate) fn request(self, setup_code: Option<Hidden>) -> anyhow::Result<RegisterRequest> {
        Ok(RegisterRequest {
            setup_code,
            email: prompt::text(self.email, "Email: ", "--email")?,
            name: prompt::text(self.name, "Your name: ", "--name")?,
            organization: prompt::text(self.organization, "Organization: ", "--organization")?,
            password: prompt::new_password(self.password_stdin)?,
            client: ClientKind::Cli,
        })
    }
}

pub(crate) async fn run(args: SetupArgs, session: &Session) -> anyhow::Result<()> {
    let (server, trust) = args.reach.resolve(session)?;
    let request = args.owner.request(Some(args.code))?;
    let mut client = Client::new(server.clone(), &trust, Access::Nobody)?;
    let tokens: SessionTokens = client.create("/auth/register", &request).await?;
    sign_in_as(session, server, &trust, tokens)
}

//! The command line: every command and flag, described nowhere else.

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        account, api_keys, audit, context, debug, devices, enroll_secrets, generate, login, logout,
        orgs, package, repo, roles, sessions, setup, teams, updates, users, verify_release,
        version,
    },
    flags::Global,
};

const AFTER_HELP: &str = "\
Environment:
  FLEET_URL          Server to talk to, instead of the context's
  FLEET_API_KEY      API key to present, instead of the context's session
  FLEET_CERTIFICATE  PEM file of the CA of the server that FLEET_URL names
  FLEET_CONTEXT      Context to use, as --context
  FLEET_CONFIG       File of contexts, as --config
  NO_COLOR           Set: no colour, unless --color says otherwise

  `fleetctl package` reads more: see its help.

Exit codes:
  0  done
  1  failed
  2  the command line or a file named on it is wrong; nothing was done
  4  nobody is signed in, or the credentials are refused

Examples:
  fleetctl setup --url https://fleet.example.com --code ABCD-EFGH-JKLM \\
      --email ann@example.com --name Ann --organization Example
  fleetctl package --type deb,rpm --components ./bin \\
      --fleet-url https://fleet.example.com --enroll-secret-file secret.txt
  fleetctl devices list";

/// Builds installers of the fleetd agent and talks to its server.
#[derive(Debug, Parser)]
#[command(
    name = "fleetctl",
    version = wire::VERSION,
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Everything that `fleetctl` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Package(Box<package::PackageArgs>),
    Setup(setup::SetupArgs),
    Login(login::LoginArgs),
    Logout(logout::LogoutArgs),
    #[command(subcommand)]
    Account(Box<account::AccountCommand>),
    #[command(subcommand)]
    Context(context::ContextCommand),
    #[command(subcommand)]
    EnrollSecrets(enroll_secrets::EnrollSecretsCommand),
    #[command(subcommand)]
    ApiKeys(api_keys::ApiKeysCommand),
    #[command(subcommand)]
    Devices(devices::DevicesCommand),
    #[command(subcommand)]
    Teams(teams::TeamsCommand),
    #[command(subcommand)]
    Users(users::UsersCommand),
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    #[command(subcommand)]
    Orgs(orgs::OrgsCommand),
    #[command(subcommand)]
    Roles(roles::RolesCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Updates(updates::UpdatesCommand),
    #[command(subcommand)]
    Repo(repo::RepoCommand),
    #[command(subcommand)]
    Debug(debug::DebugCommand),
    #[command(subcommand)]
    Generate(generate::GenerateCommand),
    VerifyRelease(verify_release::VerifyReleaseArgs),
    Version(version::VersionArgs),
}

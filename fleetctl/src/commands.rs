//! What each command does: one module a command, with its flags and a `run`.

pub(crate) mod account;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod context;
pub(crate) mod debug;
pub(crate) mod devices;
pub(crate) mod enroll_secrets;
pub(crate) mod expiry;
mod find;
pub(crate) mod generate;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod orgs;
pub(crate) mod package;
pub(crate) mod repo;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod setup;
pub(crate) mod teams;
pub(crate) mod updates;
pub(crate) mod users;
pub(crate) mod verify_release;
pub(crate) mod version;

use jiff::Timestamp;

use crate::{cli::Command, session::Session};

/// Does what the command line says.
pub(crate) fn run(command: Command, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Package(args) => package::run(*args, session),
        Command::Setup(args) => session.wait(setup::run(args, session)),
        Command::Login(args) => session.wait(login::run(args, session)),
        Command::Logout(args) => session.wait(logout::run(args, session)),
        Command::Account(command) => session.wait(account::run(*command, session)),
        Command::Context(command) => context::run(command, session),
        Command::EnrollSecrets(command) => session.wait(enroll_secrets::run(command, session)),
        Command::ApiKeys(command) => session.wait(api_keys::run(command, session)),
        Command::Devices(command) => session.wait(devices::run(command, session)),
        Command::Teams(command) => session.wait(teams::run(command, session)),
        Command::Users(command) => session.wait(users::run(command, session)),
        Command::Sessions(command) => session.wait(sessions::run(command, session)),
        Command::Orgs(command) => session.wait(orgs::run(command, session)),
        Command::Roles(command) => session.wait(roles::run(command, session)),
        Command::Audit(command) => session.wait(audit::run(command, session)),
        Command::Updates(command) => session.wait(updates::run(command, session)),
        Command::Repo(command) => session.wait(repo::run(command, session)),
        Command::Debug(command) => session.wait(debug::run(command, session)),
        Command::Generate(command) => generate::run(command, session.shell),
        Command::VerifyRelease(args) => verify_release::run(&args, session.shell),
        Command::Version(args) => version::run(args, session.shell),
    }
}

/// Whether something that can be revoked or expire still works.
fn state(revoked: Option<Timestamp>, expires: Option<Timestamp>, now: Timestamp) -> &'static str {
    match (revoked, expires) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now => "expired",
        (None, _) => "active",
    }
}

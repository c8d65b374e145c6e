//! `fleetctl users`: the people of the organization.

use clap::{Args, Subcommand};
use wire::{
    Role,
    api::{NewUser, User},
};

use super::find;
use crate::{
    flags::Output,
    output::{Table, time},
    prompt,
    session::Session,
};

/// Lists, creates and deletes people who can sign in
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl users create --email bob@example.com --name Bob --role operator
  fleetctl users list")]
pub(crate) enum UsersCommand {
    /// Lists the people
    #[command(visible_alias = "ls", after_help = "Examples:\n  fleetctl users list --output json")]
    List(Output),
    /// Creates a person, with a password that is asked for
    #[command(after_help = "\
Examples:
  fleetctl users create --email bob@example.com --name Bob --role operator
  fleetctl users create --email bob@example.com --name Bob --role viewer --password-stdin < password.txt")]
    Create(CreateArgs),
    /// Deletes a person and ends their sessions
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  fleetctl users delete bob@example.com --yes"
    )]
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Email address to sign in with
    #[arg(long)]
    email: String,
    /// Person's name
    #[arg(long)]
    name: String,
    /// What they may do: viewer, operator, admin or owner
    #[arg(long)]
    role: Role,
    /// Read the password from standard input instead of asking
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Person's email address or id
    user: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: UsersCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        UsersCommand::List(output) => {
            let users: Vec<User> = client.list("/users", &[]).await?;
            session.shell.data(output.format, &users, |users| table(users))
        }
        UsersCommand::Create(args) => {
            let password = prompt::new_password(args.password_stdin)?;
            let new = NewUser { email: args.email, name: args.name, role: args.role, password };
            let user: User = client.create("/users", &new).await?;
            if session.shell.is_quiet() {
                return session.shell.line(user.id);
            }
            session.shell.data(args.output.format, &user, |user| table(std::slice::from_ref(user)))
        }
        UsersCommand::Delete(args) => {
            let users: Vec<User> = client.list("/users", &[]).await?;
            let user = find::only("user", &args.user, users, |user| {
                (user.id.to_string(), vec![&user.email])
            })?;
            prompt::confirm(args.yes, &format!("Delete {} ({})?", user.email, user.role))?;
            client.delete(&format!("/users/{}", user.id)).await?;
            session.shell.done(format!("{} is deleted", user.email));
            Ok(())
        }
    }
}

fn table(users: &[User]) -> Table {
    Table::list(
        ["email", "name", "role", "last login", "id"],
        users.iter().map(|user| {
            [
                user.email.clone(),
                user.name.clone(),
                user.role.to_string(),
                time(user.last_login_at),
                user.id.to_string(),
            ]
        }),
    )
}

//! `fleetctl users`: the people of the organization.

use clap::{Args, Subcommand};
use reqwest::Method;
use wire::{
    RoleName,
    api::{AddedUser, ChangeUser, CreatedInvitation, Invitation, NewInvitation, NewUser, User},
};

use super::find;
use crate::{
    client::Client,
    flags::Output,
    output::{Table, time},
    prompt,
    session::Session,
};

/// Lists, creates, changes and deletes people who can sign in
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl users create --email bob@example.com --name Bob --role operator
  fleetctl users set-role bob@example.com admin
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
    /// Invites somebody; by mail where the server sends mail
    #[command(after_help = "Examples:\n  fleetctl users invite bob@example.com --role operator")]
    Invite(InviteArgs),
    /// Lists invitations that nobody has accepted
    #[command(after_help = "Examples:\n  fleetctl users invitations --output json")]
    Invitations(Output),
    /// Takes an invitation back
    #[command(after_help = "Examples:\n  fleetctl users uninvite bob@example.com")]
    Uninvite(NamedArgs),
    /// Gives a person another role
    #[command(after_help = "Examples:\n  fleetctl users set-role bob@example.com admin")]
    SetRole(SetRoleArgs),
    /// Shuts a person out: their sessions end, their API keys rest
    #[command(after_help = "Examples:\n  fleetctl users disable bob@example.com")]
    Disable(NamedArgs),
    /// Lets a person in again who was shut out
    #[command(after_help = "Examples:\n  fleetctl users enable bob@example.com")]
    Enable(NamedArgs),
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
    /// What they may do: viewer, operator, admin, owner or a role of the organization's own
    #[arg(long)]
    role: RoleName,
    /// Read the password from standard input instead of asking
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// Email address
    email: String,
    /// What they may do: viewer, operator, admin, owner or a role of the organization's own
    #[arg(long)]
    role: RoleName,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct SetRoleArgs {
    /// Person's email address or id
    user: String,
    /// viewer, operator, admin, owner or a role of the organization's own
    role: RoleName,
}

#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// Person's email address or id
    user: String,
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
            let user = match client.create("/users", &new).await? {
                AddedUser::Added(user) => user,
                AddedUser::Invited(made) => return show_invited(&made, &args.output, session),
            };
            if session.shell.is_quiet() {
                return session.shell.line(user.id);
            }
            session.shell.data(args.output.format, &user, |user| table(std::slice::from_ref(user)))
        }
        UsersCommand::Invite(args) => invite(&mut client, args, session).await,
        UsersCommand::Invitations(output) => {
            let open: Vec<Invitation> = client.list("/invitations", &[]).await?;
            session.shell.data(output.format, &open, |open| invitation_table(open))
        }
        UsersCommand::Uninvite(args) => {
            let open: Vec<Invitation> = client.list("/invitations", &[]).await?;
            let describe = |invitation: &Invitation| invitation.id.to_string();
            let invitation = find::only("invitation", &args.user, open, |invitation| {
                (describe(invitation), vec![&invitation.email])
            })?;
            client.delete(&format!("/invitations/{}", invitation.id)).await?;
            session.shell.done(format!("{} is no longer invited", invitation.email));
            Ok(())
        }
        UsersCommand::SetRole(args) => {
            let change = ChangeUser { role: Some(args.role), disabled: None };
            let user = changed(&mut client, &args.user, &change).await?;
            session.shell.done(format!("{} has the role {} now", user.email, user.role));
            Ok(())
        }
        UsersCommand::Disable(args) => {
            let change = ChangeUser { role: None, disabled: Some(true) };
            let user = changed(&mut client, &args.user, &change).await?;
            session.shell.done(format!("{} is shut out", user.email));
            Ok(())
        }
        UsersCommand::Enable(args) => {
            let change = ChangeUser { role: None, disabled: Some(false) };
            let user = changed(&mut client, &args.user, &change).await?;
            session.shell.done(format!("{} may sign in", user.email));
            Ok(())
        }
        UsersCommand::Delete(args) => {
            let user = named(&mut client, &args.user).await?;
            prompt::confirm(args.yes, &format!("Delete {} ({})?", user.email, user.role))?;
            client.delete(&format!("/users/{}", user.id)).await?;
            session.shell.done(format!("{} is deleted", user.email));
            Ok(())
        }
    }
}

async fn invite(client: &mut Client, args: InviteArgs, session: &Session) -> anyhow::Result<()> {
    let new = NewInvitation { email: args.email, role: args.role };
    let made: CreatedInvitation = client.create("/invitations", &new).await?;
    show_invited(&made, &args.output, session)
}

fn show_invited(
    made: &CreatedInvitation,
    output: &Output,
    session: &Session,
) -> anyhow::Result<()> {
    let Some(token) = &made.token else {
        session.shell.done(format!("a mail to {} is on its way", made.invitation.email));
        return Ok(());
    };
    if session.shell.is_quiet() {
        return session.shell.line(&token.0);
    }
    session.shell.data(output.format, made, |made| {
        Table::properties([
            ("Email", made.invitation.email.clone()),
            ("Role", made.invitation.role.to_string()),
            ("Expires", time(Some(made.invitation.expires_at))),
            ("Token", token.0.clone()),
        ])
    })?;
    session.shell.note("pass the token on: `fleetctl account accept-invitation` takes it");
    Ok(())
}

fn invitation_table(open: &[Invitation]) -> Table {
    Table::list(
        ["email", "role", "expires", "id"],
        open.iter().map(|it| {
            [it.email.clone(), it.role.to_string(), time(Some(it.expires_at)), it.id.to_string()]
        }),
    )
}

/// The person whose address or id `wanted` is.
pub(crate) async fn named(client: &mut Client, wanted: &str) -> anyhow::Result<User> {
    let users: Vec<User> = client.list("/users", &[]).await?;
    let describe = |user: &User| user.id.to_string();
    Ok(find::only("user", wanted, users, |user| (describe(user), vec![&user.email]))?)
}

async fn changed(client: &mut Client, wanted: &str, change: &ChangeUser) -> anyhow::Result<User> {
    let user = named(client, wanted).await?;
    client.change(Method::PATCH, &format!("/users/{}", user.id), change).await
}

fn table(users: &[User]) -> Table {
    Table::list(
        ["email", "name", "role", "state", "last login", "id"],
        users.iter().map(|user| {
            [
                user.email.clone(),
                user.name.clone(),
                user.role.to_string(),
                if user.disabled_at.is_some() { "disabled" } else { "active" }.to_owned(),
                time(user.last_login_at),
                user.id.to_string(),
            ]
        }),
    )
}

//! `fleetctl sessions`: where one is signed in, and where others are.

use clap::{Args, Subcommand};
use wire::{
    SessionId, UserId,
    api::{ClientKind, Revocation, Session as Listed, SessionState, User},
};

use super::{find, logout, users};
use crate::{
    client::Client,
    flags::Output,
    output::{Table, time},
    prompt,
    session::Session,
};

/// Lists, shows and ends sessions, your own and other people's
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl sessions list
  fleetctl sessions list --user bob@example.com
  fleetctl sessions revoke --user bob@example.com --all --yes")]
pub(crate) enum SessionsCommand {
    /// Lists your sessions, or another person's
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  fleetctl sessions list
  fleetctl sessions list --user bob@example.com --output json"
    )]
    List(ListArgs),
    /// Shows all that is known of a session
    #[command(after_help = "\
Examples:
  fleetctl sessions show 01900000-0000-7000-8000-000000000000")]
    Show(ShowArgs),
    /// Ends sessions: their tokens are refused at once
    #[command(
        visible_alias = "rm",
        after_help = "\
Examples:
  fleetctl sessions revoke 01900000-0000-7000-8000-000000000000
  fleetctl sessions revoke --all --yes
  fleetctl sessions revoke --user bob@example.com --all --yes
  fleetctl sessions revoke --everybody
  fleetctl sessions revoke --token 6a1d6a0e-6f0e-4f57-9a1c-2f6f1a0c9b7e"
    )]
    Revoke(RevokeArgs),
}

/// Whose sessions are meant.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// Another person's (email address or id) instead of your own
    #[arg(long)]
    user: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Session's id
    session: SessionId,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Session's id
    #[arg(required_unless_present_any = ["all", "everybody", "token"])]
    session: Option<SessionId>,
    #[command(flatten)]
    whose: Whose,
    /// Every session of that person, the one that asks too
    #[arg(long, conflicts_with = "session")]
    all: bool,
    /// Every session of everybody in the organization, the one that asks too
    #[arg(long, conflicts_with_all = ["session", "user", "all"])]
    everybody: bool,
    /// An access token alone, by its `jti`; its session goes on
    #[arg(long, value_name = "JTI", conflicts_with_all = ["session", "user", "all", "everybody"])]
    token: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: SessionsCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        SessionsCommand::List(args) => {
            let user = person(&mut client, &args.whose).await?;
            let sessions = sessions_of(&mut client, user.as_ref()).await?;
            session.shell.data(args.output.format, &sessions, |sessions| table(sessions))
        }
        SessionsCommand::Show(args) => {
            let user = person(&mut client, &args.whose).await?;
            let shown = with_id(&mut client, user.as_ref(), args.session).await?;
            session.shell.data(args.output.format, &shown, properties)
        }
        SessionsCommand::Revoke(RevokeArgs { everybody: true, yes, .. }) => {
            revoke_everybodys(&mut client, session, yes).await
        }
        SessionsCommand::Revoke(RevokeArgs { token: Some(jti), .. }) => {
            client.tell("/auth/revocations", &Revocation::Token { jti: jti.clone() }).await?;
            session.shell.done(format!("the access token {jti} is refused"));
            Ok(())
        }
        SessionsCommand::Revoke(args) => {
            let user = person(&mut client, &args.whose).await?;
            match args.session {
                Some(id) => revoke(&mut client, session, (user, id)).await,
                None => revoke_all(&mut client, session, (user, args.yes)).await,
            }
        }
    }
}

async fn revoke(
    client: &mut Client,
    session: &Session,
    (user, id): (Option<User>, SessionId),
) -> anyhow::Result<()> {
    let ended = with_id(client, user.as_ref(), id).await?;
    match user {
        Some(_) => client.tell("/auth/revocations", &Revocation::Session { id }).await?,
        None => client.delete(&format!("/auth/sessions/{id}")).await?,
    }
    if ended.current {
        forget(session)?;
    }
    session.shell.done(format!("session {id} has ended"));
    Ok(())
}

async fn revoke_all(
    client: &mut Client,
    session: &Session,
    (user, yes): (Option<User>, bool),
) -> anyhow::Result<()> {
    let Some(user) = user else {
        prompt::confirm(yes, "End all of your sessions, this one too?")?;
        client.delete("/auth/sessions").await?;
        forget(session)?;
        session.shell.done("all of your sessions have ended");
        return Ok(());
    };
    let own = sessions_of(client, Some(&user)).await?.iter().any(|it| it.current);
    prompt::confirm(yes, &format!("End all sessions of {}?", user.email))?;
    client.tell("/auth/revocations", &Revocation::User { id: user.id }).await?;
    if own {
        forget(session)?;
    }
    session.shell.done(format!("all sessions of {} have ended", user.email));
    Ok(())
}

async fn revoke_everybodys(
    client: &mut Client,
    session: &Session,
    yes: bool,
) -> anyhow::Result<()> {
    prompt::confirm(yes, "End all sessions of everybody in the organization, this one too?")?;
    client.tell("/auth/revocations", &Revocation::Organization).await?;
    forget(session)?;
    session.shell.done("all sessions of everybody in the organization have ended");
    Ok(())
}

/// Drops tokens that the server refuses from here on.
fn forget(session: &Session) -> anyhow::Result<()> {
    let file = session.context_file()?;
    let name = file.read()?.name(session.asked_context()).to_owned();
    logout::forget(&file, &name)
}

/// The person that `--user` names, if it was given.
async fn person(client: &mut Client, whose: &Whose) -> anyhow::Result<Option<User>> {
    match &whose.user {
        Some(wanted) => users::named(client, wanted).await.map(Some),
        None => Ok(None),
    }
}

async fn sessions_of(client: &mut Client, user: Option<&User>) -> anyhow::Result<Vec<Listed>> {
    match user.map(|user| user.id) {
        Some(UserId(id)) => client.list(&format!("/users/{id}/sessions"), &[]).await,
        None => client.list("/auth/sessions", &[]).await,
    }
}

async fn with_id(
    client: &mut Client,
    user: Option<&User>,
    id: SessionId,
) -> anyhow::Result<Listed> {
    let sessions = sessions_of(client, user).await?;
    Ok(find::only("session", &id.to_string(), sessions, |it| (it.id.to_string(), Vec::new()))?)
}

fn properties(session: &Listed) -> Table {
    Table::properties([
        ("Id", session.id.to_string()),
        ("Device", session.device.clone()),
        ("Client", client_name(session.client).to_owned()),
        ("Address", session.address.clone()),
        ("Place", session.place.clone().unwrap_or_default()),
        ("State", state(session.state).to_owned()),
        ("Signed in", time(Some(session.created_at))),
        ("Last action", time(Some(session.last_action_at))),
        ("Expires", time(Some(session.expires_at))),
        ("Current", yes(session.current).to_owned()),
        ("User agent", session.user_agent.clone()),
    ])
}

fn table(sessions: &[Listed]) -> Table {
    Table::list(
        ["device", "client", "address", "state", "signed in", "last action", "current", "id"],
        sessions.iter().map(|session| {
            [
                session.device.clone(),
                client_name(session.client).to_owned(),
                session.address.clone(),
                state(session.state).to_owned(),
                time(Some(session.created_at)),
                time(Some(session.last_action_at)),
                yes(session.current).to_owned(),
                session.id.to_string(),
            ]
        }),
    )
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "" }
}

fn client_name(client: ClientKind) -> &'static str {
    match client {
        ClientKind::Browser => "browser",
        ClientKind::Cli => "cli",
    }
}

fn state(state: SessionState) -> &'static str {
    match state {
        SessionState::Authenticated => "authenticated",
        SessionState::Active => "active",
        SessionState::Idle => "idle",
        SessionState::Warning => "warning",
        SessionState::Expired => "expired",
    }
}

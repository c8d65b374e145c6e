//! `fleetctl logout`: ends the session of a context.

use clap::Args;
use serde_json::json;

use crate::{
    client::{Access, Client, ContextSession},
    config::ContextFile,
    session::Session,
};

/// Signs out; the context keeps the server's address
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetctl logout
  fleetctl logout --context staging")]
pub(crate) struct LogoutArgs {}

pub(crate) async fn run(_args: LogoutArgs, session: &Session) -> anyhow::Result<()> {
    let file = session.context_file()?;
    let contexts = file.read()?;
    let name = contexts.name(session.asked_context()).to_owned();
    let context = contexts.named(&name)?.clone();
    let Some(kept) = context.session.clone() else {
        session.shell.note(format!("nobody is signed in, context `{name}`"));
        return Ok(());
    };
    let access = Access::Session(ContextSession {
        file: file.clone(),
        context: name.clone(),
        session: kept,
    });
    let mut client = Client::new(context.url.clone(), &context.trust(), access)?;
    let told = client.tell("/auth/logout", &json!({})).await;
    forget(&file, &name)?;
    match told {
        Ok(()) => session.shell.done(format!("signed out, context `{name}`")),
        Err(error) => session
            .shell
            .warn(format!("the tokens are forgotten here, but the server was not told: {error:#}")),
    }
    Ok(())
}

/// Drops the tokens that the context keeps for its session.
pub(crate) fn forget(file: &ContextFile, name: &str) -> anyhow::Result<()> {
    file.change(|contexts| {
        if let Some(context) = contexts.contexts.get_mut(name) {
            context.session = None;
        }
        Ok(())
    })
}

//! `fleetctl context`: which servers are known, and which one is talked to.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use url::Url;

use crate::{
    config::{Context, Contexts},
    flags::Output,
    output::Table,
    session::{Session, trust_of, url_of},
    trust::Trust,
};

/// Lists and chooses the servers that fleetctl knows
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl context list
  fleetctl context use staging
  FLEET_CONTEXT=staging fleetctl devices list")]
pub(crate) enum ContextCommand {
    /// Lists the contexts
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  fleetctl context list --output json"
    )]
    List(Output),
    /// Shows a context, without its tokens
    #[command(after_help = "Examples:\n  fleetctl context show\n  fleetctl context show staging")]
    Show(ShowArgs),
    /// Makes a context the current one
    #[command(name = "use", after_help = "Examples:\n  fleetctl context use staging")]
    Use(NameArgs),
    /// Makes or changes a context; its session stays if its server does
    #[command(after_help = "\
Examples:
  fleetctl context set ci --url https://fleet.example.com --fleet-certificate ca.pem")]
    Set(SetArgs),
    /// Forgets a context and its session
    #[command(visible_alias = "rm", after_help = "Examples:\n  fleetctl context remove staging")]
    Remove(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Context's name
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Context's name; the current one unless given
    name: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Context's name
    name: String,
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

/// A context as it is shown: no tokens.
#[derive(Debug, Serialize)]
struct ContextView<'a> {
    name: &'a str,
    current: bool,
    url: &'a Url,
    trust: &'static str,
    email: Option<&'a str>,
    signed_in: bool,
}

impl<'a> ContextView<'a> {
    fn of(contexts: &'a Contexts, name: &'a str, context: &'a Context) -> Self {
        Self {
            name,
            current: contexts.current.as_deref() == Some(name),
            url: &context.url,
            trust: match context.trust() {
                Trust::System => "system",
                Trust::Pinned(_) => "pinned",
                Trust::Insecure => "insecure",
            },
            email: context.email.as_deref(),
            signed_in: context.session.is_some(),
        }
    }
}

pub(crate) fn run(command: ContextCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        ContextCommand::List(output) => list(session, output),
        ContextCommand::Show(args) => show(session, &args),
        ContextCommand::Use(args) => choose(session, args.name),
        ContextCommand::Set(args) => set(session, args),
        ContextCommand::Remove(args) => remove(session, &args.name),
    }
}

fn list(session: &Session, output: Output) -> anyhow::Result<()> {
    let contexts = session.context_file()?.read()?;
    let views: Vec<_> = contexts
        .contexts
        .iter()
        .map(|(name, context)| ContextView::of(&contexts, name, context))
        .collect();
    session.shell.data(output.format, &views, |views| {
        Table::list(
            ["current", "name", "url", "trust", "email", "signed in"],
            views.iter().map(|view| {
                [
                    if view.current { "*".to_owned() } else { " ".to_owned() },
                    view.name.to_owned(),
                    view.url.to_string(),
                    view.trust.to_owned(),
                    view.email.unwrap_or_default().to_owned(),
                    yes_or_no(view.signed_in),
                ]
            }),
        )
    })
}

fn show(session: &Session, args: &ShowArgs) -> anyhow::Result<()> {
    let contexts = session.context_file()?.read()?;
    let name = args.name.as_deref().unwrap_or_else(|| contexts.name(session.asked_context()));
    let view = ContextView::of(&contexts, name, contexts.named(name)?);
    session.shell.data(args.output.format, &view, |view| {
        Table::properties([
            ("Name", view.name.to_owned()),
            ("URL", view.url.to_string()),
            ("Trust", view.trust.to_owned()),
            ("Email", view.email.unwrap_or_default().to_owned()),
            ("Signed in", yes_or_no(view.signed_in)),
            ("Current", yes_or_no(view.current)),
        ])
    })
}

fn choose(session: &Session, name: String) -> anyhow::Result<()> {
    session.context_file()?.change(|contexts| {
        contexts.named(&name)?;
        contexts.current = Some(name.clone());
        Ok(())
    })?;
    session.shell.done(format!("`{name}` is the current context"));
    Ok(())
}

fn set(session: &Session, args: SetArgs) -> anyhow::Result<()> {
    let trust = trust_of(args.fleet_certificate.as_deref(), args.insecure)?;
    let context = Context::new(url_of(&args.url)?, &trust);
    session.context_file()?.change(|contexts| {
        let old = contexts.contexts.remove(&args.name).filter(|old| old.url == context.url);
        let (email, kept) = old.map_or((None, None), |old| (old.email, old.session));
        let context = Context { email, session: kept, ..context };
        contexts.contexts.insert(args.name.clone(), context);
        contexts.current.get_or_insert_with(|| args.name.clone());
        Ok(())
    })?;
    session.shell.done(format!("context `{}` is set", args.name));
    Ok(())
}

fn remove(session: &Session, name: &str) -> anyhow::Result<()> {
    session.context_file()?.change(|contexts| {
        contexts.named(name)?;
        contexts.contexts.remove(name);
        contexts.current.take_if(|current| current == name);
        Ok(())
    })?;
    session.shell.done(format!("context `{name}` is removed"));
    Ok(())
}

fn yes_or_no(it: bool) -> String {
    if it { "yes".to_owned() } else { "no".to_owned() }
}

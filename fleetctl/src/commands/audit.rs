//! `fleetctl audit`: what happened, and whether the record of it is whole.

use clap::{Args, Subcommand};
use wire::{
    api::{MAX_PAGE, Page},
    audit::{AuditEvent, AuditHead, TrailCheck},
};

use crate::{
    client::Client,
    exit::Stop,
    flags::Output,
    output::{Table, time},
    session::Session,
};

/// Lists, exports and verifies the audit trail
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl audit list --event session.login
  fleetctl audit export > audit.ndjson
  fleetctl audit verify")]
pub(crate) enum AuditCommand {
    /// Lists events, oldest first
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  fleetctl audit list
  fleetctl audit list --event api_key.created --output json"
    )]
    List(ListArgs),
    /// Prints every event, one JSON object a line
    #[command(after_help = "\
Examples:
  fleetctl audit export > audit.ndjson
  fleetctl audit export --after 1200 >> audit.ndjson")]
    Export(ExportArgs),
    /// Checks that no event was changed, added or taken away
    ///
    /// Each event holds the hash of the one before. That the newest were taken away shows when
    /// --head names an end that an earlier run printed.
    #[command(after_help = "\
Examples:
  fleetctl audit verify
  fleetctl audit verify --head 1200:7d1c83aa0b")]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this kind of event, e.g. session.login
    #[arg(long)]
    event: Option<String>,
    /// Only events after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only events after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Number and hash of an event that the trail had as its last, as this command prints them
    #[arg(long, value_name = "NUMBER:HASH", value_parser = parse_head)]
    head: Option<AuditHead>,
}

pub(crate) async fn run(command: AuditCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        AuditCommand::List(args) => {
            let event = args.event.unwrap_or_default();
            let mut events = Vec::new();
            each(&mut client, (args.after, &event), |event| {
                events.push(event);
                Ok(())
            })
            .await?;
            session.shell.data(args.output.format, &events, |events| table(events))
        }
        AuditCommand::Export(args) => {
            each(&mut client, (args.after, ""), |event| {
                session.shell.line(serde_json::to_string(&event)?)
            })
            .await
        }
        AuditCommand::Verify(args) => verify(&mut client, args.head, session).await,
    }
}

/// Reads events page by page.
async fn each(
    client: &mut Client,
    (mut after, event): (u64, &str),
    mut take: impl FnMut(AuditEvent) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let (limit, begin) = (MAX_PAGE.to_string(), after.to_string());
        let mut query = vec![("limit", limit.as_str()), ("after", begin.as_str())];
        if !event.is_empty() {
            query.push(("event", event));
        }
        let page: Page<AuditEvent> = client.query("/audit", &query).await?;
        let Some(last) = page.items.last() else { return Ok(()) };
        after = last.seq;
        page.items.into_iter().try_for_each(&mut take)?;
        if page.next.is_none() {
            return Ok(());
        }
    }
}

async fn verify(
    client: &mut Client,
    earlier: Option<AuditHead>,
    session: &Session,
) -> anyhow::Result<()> {
    let head: AuditHead = client.read("/audit/head").await?;
    let mut check = TrailCheck::default();
    let mut first = None;
    let mut found = None;
    each(client, (0, ""), |event| {
        first.get_or_insert(AuditHead { seq: event.seq - 1, hash: event.previous.clone() });
        if earlier.as_ref().is_some_and(|head| head.seq == event.seq) {
            found = Some(event.hash.clone());
        }
        check.take(&event).map_err(broken)
    })
    .await?;
    check.reaches(&head).map_err(broken)?;
    if let Some(earlier) = &earlier {
        check.reaches(earlier).map_err(broken)?;
        compare(earlier, (first.as_ref(), found))?;
    }
    let end = check.end();
    let first = first.map_or(0, |before| before.seq + 1);
    session.shell.done(format!("events {first} to {} are whole", end.seq));
    session.shell.line(format!("{}:{}", end.seq, end.hash))
}

/// Passes if `earlier` is an event of the trail, or the one before its first, which names it.
fn compare(
    earlier: &AuditHead,
    (before, found): (Option<&AuditHead>, Option<String>),
) -> anyhow::Result<()> {
    let before = before.filter(|before| before.seq == earlier.seq);
    match found.as_ref().or(before.map(|before| &before.hash)) {
        Some(hash) if *hash == earlier.hash => Ok(()),
        Some(_) => Err(broken(wire::audit::BrokenTrail::Replaced(earlier.seq))),
        None => {
            let help = "it is older than the server keeps events (audit.retention), or somebody \
                        took it away; compare with a later end";
            let message = format!("event {} of --head is not in the trail any more", earlier.seq);
            Err(Stop::failed(message, help).into())
        }
    }
}

fn broken(error: wire::audit::BrokenTrail) -> anyhow::Error {
    let help = "somebody wrote to the database, or a backup was put back: the log of the server \
                has the events, too";
    Stop::failed(format!("the audit trail is broken: {error}"), help).into()
}

fn parse_head(text: &str) -> Result<AuditHead, String> {
    let (seq, hash) = text.split_once(':').ok_or("it must be a number, a colon and a hash")?;
    let seq: u64 = seq.parse().map_err(|_| format!("`{seq}` is no number"))?;
    if (seq == 0) != hash.is_empty() {
        return Err("an event has a number from 1 and a hash".to_owned());
    }
    Ok(AuditHead { seq, hash: hash.to_owned() })
}

fn table(events: &[AuditEvent]) -> Table {
    Table::list(
        ["number", "time", "event", "actor", "subject", "outcome", "address"],
        events.iter().map(|event| {
            [
                event.seq.to_string(),
                time(Some(event.at)),
                event.event.clone(),
                event.actor.clone(),
                event.subject.clone(),
                event.outcome.clone(),
                event.address.clone(),
            ]
        }),
    )
}

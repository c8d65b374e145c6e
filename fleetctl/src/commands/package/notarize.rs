//! `fleetctl package notarize`, and `--notarize`: Apple looks at a package and gives a ticket, which is
//! appended to it.
//!
//! ```text
//! package ──submit, upload──▶ state file ──verdict──▶ ticket ──staple──▶ package, by rename
//! ```

mod args;
mod key;
mod service;
mod state;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use packager::{WriteSeek, format::pkg};
use serde::Serialize;

pub(crate) use self::args::{NotarizeArgs, Notary, NotaryArgs};
use self::{
    service::{Service, Verdict},
    state::State,
};
use super::staged::{Digest, Unfinished};
use crate::{digest::sha256, exit::Stop, output::Table, session::Session};

/// How often it is asked for a ticket that Apple has promised.
const TICKET_TRIES: u32 = 12;

/// A package that was sent to Apple.
#[derive(Debug, Serialize)]
struct Notarized {
    path: PathBuf,
    /// By which Apple knows it.
    submission: String,
    /// `accepted`, or `submitted` if nobody waited.
    status: &'static str,
    /// Whether the ticket is in the package.
    stapled: bool,
}

pub(super) fn run(args: &NotarizeArgs, session: &Session) -> anyhow::Result<()> {
    let notary = args.notary.checked();
    let notary = notary.map_err(|problems| Stop::Usage { problems, help: None })?;
    let known = args.submission.as_deref();
    let notarized = session.wait(notarize(&notary, &args.file, known, session))?;
    session.shell.data(args.output.format, &notarized, |it| {
        Table::properties([
            ("path", it.path.display().to_string()),
            ("submission", it.submission.clone()),
            ("status", it.status.to_owned()),
            ("stapled", it.stapled.to_string()),
        ])
    })
}

/// Has the package at `path`, which is signed, notarized.
pub(super) fn notarize_made(notary: &Notary, path: &Path, session: &Session) -> anyhow::Result<()> {
    session.wait(notarize(notary, path, None, session)).map(drop)
}

async fn notarize(
    notary: &Notary,
    path: &Path,
    known: Option<&str>,
    session: &Session,
) -> anyhow::Result<Notarized> {
    let shown = path.display();
    let name = ticket_name(path)?;
    let service = notary.service()?;
    let id = match known {
        Some(id) => id.to_owned(),
        None => {
            let submitted = submit(&service, path, session).await;
            submitted.with_context(|| format!("could not send `{shown}` to Apple's notary"))?
        }
    };
    let mut notarized = Notarized {
        path: path.to_owned(),
        submission: id.clone(),
        status: "submitted",
        stapled: false,
    };
    if !notary.wait {
        return Ok(notarized);
    }
    session.shell.note(format!("waiting for Apple's notary; its number for `{shown}` is {id}"));
    wait(&service, notary, &id).await.with_context(|| format!("could not notarize `{shown}`"))?;
    notarized.status = "accepted";
    let ticket = ticket(&service, notary, &name).await;
    let ticket = ticket.with_context(|| format!("could not get the ticket of `{shown}`"))?;
    staple(path, &ticket).with_context(|| format!("could not append the ticket to `{shown}`"))?;
    State::delete(path)?;
    notarized.stapled = true;
    Ok(notarized)
}

/// By which Apple will know the ticket. Fails for what Apple would refuse anyway.
fn ticket_name(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let unusable = |reason: String| Stop::usage(format!("`{shown}` cannot be notarized: {reason}"));
    let mut file = File::open(path).map_err(|error| unusable(error.to_string()))?;
    let name = pkg::ticket_name(&mut file);
    let name = name.map_err(|_| unusable("it is no package of type pkg".to_owned()))?;
    if !pkg::is_signed(&mut file).with_context(|| format!("could not read `{shown}`"))? {
        return Err(unusable("it is not signed".to_owned()).into());
    }
    Ok(name)
}

/// Sends the package unless it was sent before; gives its number.
async fn submit(service: &Service, path: &Path, session: &Session) -> anyhow::Result<String> {
    let mut file = File::open(path).context("could not read it")?;
    let sha256 = sha256(&mut file).context("could not read it")?;
    if let Some(state) = State::read(path, &sha256)? {
        session.shell.note(format!("`{}` was sent before", path.display()));
        return Ok(state.submission);
    }
    let name = path.file_name().map(|it| it.to_string_lossy()).unwrap_or_default();
    let submission = service.submit(&name, &sha256).await?;
    service.upload(&submission, path).await.context("could not upload it")?;
    let id = submission.id;
    State { submission: id.clone(), sha256 }.write(path)?;
    Ok(id)
}

async fn wait(service: &Service, notary: &Notary, id: &str) -> anyhow::Result<()> {
    let waiting = async {
        loop {
            match service.verdict(id).await? {
                Verdict::InProgress => tokio::time::sleep(notary.interval).await,
                Verdict::Accepted => return Ok(()),
                Verdict::Refused(status) => return Err(refused(service, id, &status).await),
            }
        }
    };
    match tokio::time::timeout(notary.patience, waiting).await {
        Ok(done) => done,
        Err(_) => Err(Stop::failed(
            format!("Apple's notary has not decided about submission {id} yet"),
            "run `fleetctl package notarize` for the same file later: it goes on from here",
        )
        .into()),
    }
}

/// Why, as far as the notary tells.
async fn refused(service: &Service, id: &str, status: &str) -> anyhow::Error {
    let mut lines = vec![format!("Apple's notary says \"{status}\" of submission {id}")];
    match service.log(id).await {
        Ok(log) => {
            let issues = log["issues"].as_array().into_iter().flatten();
            lines.extend(issues.map(|issue| {
                let text = |key: &str| issue[key].as_str().unwrap_or_default();
                format!("{}: {}", text("path"), text("message"))
            }));
            if let (1, Some(summary)) = (lines.len(), log["statusSummary"].as_str()) {
                lines.push(summary.to_owned());
            }
        }
        Err(error) => lines.push(format!("its log cannot be had: {error:#}")),
    }
    anyhow::Error::msg(lines.join("; "))
}

/// A ticket may be some seconds behind the verdict.
async fn ticket(service: &Service, notary: &Notary, name: &str) -> anyhow::Result<Vec<u8>> {
    for _ in 1..TICKET_TRIES {
        if let Some(ticket) = service.ticket(name).await? {
            return Ok(ticket);
        }
        tokio::time::sleep(notary.interval).await;
    }
    service.ticket(name).await?.context("Apple has none for it")
}

/// Exchanges the package at `path` for one with `ticket`.
fn staple(path: &Path, ticket: &[u8]) -> anyhow::Result<()> {
    let unfinished = Unfinished::default();
    let mut package = File::open(path)?;
    let staged = unfinished.stage(path, Digest::None, |out: &mut dyn WriteSeek| {
        pkg::staple(&mut package, ticket, out).context("could not copy it")
    })?;
    unfinished.keep_all(vec![staged], [path])
}

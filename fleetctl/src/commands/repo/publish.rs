//! `fleetctl repo … publish`: a bucket becomes what the folder is.
//!
//! Packages and lists under their digests go first, then the catalogue, which stands for all the rest: it is written
//! only in the place of the one that was looked at. The index comes last, then what nobody needs any more goes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packager::repository::shipment::{Shipment, Turn, index_of, is_entry};
use serde::Serialize;
use wire::updates::Keeping;

use super::{PathArgs, refused};
use crate::{
    bucket::{AT_ONCE, BucketArgs, Condition, Object, Shelf, is_address},
    exit::Stop,
    flags::Output,
    output::Table,
    session::Session,
};

/// What the help of `publish` ends with, before its example.
pub(super) const ENVIRONMENT: &str = "\
Environment:
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
          Keys of the bucket";

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Bucket to bring up to date, s3://BUCKET/PREFIX
    #[arg(value_name = "S3-ADDRESS")]
    to: String,
    #[command(flatten)]
    path: PathArgs,
    /// List what would be copied and removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    bucket: BucketArgs,
    #[command(flatten)]
    output: Output,
}

/// What a bucket has of a repository.
struct Seen {
    lengths: BTreeMap<String, u64>,
    /// What the bucket calls each catalogue that was looked at.
    catalogues: BTreeMap<String, Option<String>>,
}

/// What is to be done, in order.
#[derive(Debug, Serialize)]
struct Plan {
    copied: Vec<String>,
    removed: Vec<String>,
}

pub(super) async fn run(args: PublishArgs, session: &Session) -> anyhow::Result<()> {
    let shelf = shelf(&args.to, &args.bucket)?;
    let shipment = Shipment::of(&args.path.path).map_err(refused)?;
    let seen = look(&shelf, &shipment).await?;
    let plan = plan(&shelf, &shipment, &seen).await?;
    if !args.dry_run {
        carry_out(&shelf, &shipment, (&plan, &seen)).await?;
    }
    show(&plan, &args, session)
}

/// The bucket at `address`.
pub(super) fn shelf(address: &str, args: &BucketArgs) -> anyhow::Result<Shelf> {
    if !is_address(address) {
        let problem = format!("`{address}` is no bucket: an address begins with s3://");
        let help = Some("a folder needs no copy: any web server can serve it".to_owned());
        return Err(Stop::Usage { problems: vec![problem], help }.into());
    }
    Shelf::new(address, args)
}

/// Fails unless the bucket is empty, or has what the folder had once.
async fn look(shelf: &Shelf, shipment: &Shipment) -> anyhow::Result<Seen> {
    let look = || format!("could not look into `{}`", shelf.place);
    let lengths = shelf.list(|name| Turn::of(name).is_some()).await.with_context(look)?;
    let mut catalogues = BTreeMap::new();
    for name in lengths.keys().filter(|name| Turn::of(name) == Some(Turn::Catalogue)) {
        let (content, tag) = shelf.get(name).await.with_context(look)?;
        if !shipment.succeeds(name, &content).map_err(refused)? {
            let place = &shelf.place;
            let problem = format!("`{place}` has changes that the folder does not have: `{name}`");
            let help =
                "bring them here with `fetch`, into another folder if this one has changes too";
            return Err(Stop::Usage { problems: vec![problem], help: Some(help.into()) }.into());
        }
        catalogues.insert(name.clone(), tag);
    }
    Ok(Seen { lengths, catalogues })
}

async fn plan(shelf: &Shelf, shipment: &Shipment, seen: &Seen) -> anyhow::Result<Plan> {
    let files = shipment.files();
    // What readers ask for first is written last: where that is right, all of the index is.
    let mut behind = Vec::new();
    for entry in files.iter().filter(|file| is_entry(file)) {
        let is_there = seen.lengths.contains_key(entry);
        if !is_there || shelf.get(entry).await?.0 != read(shipment, entry)? {
            behind.push(index_of(entry));
        }
    }
    let is_missing = |file: &&String| match Turn::of(file) {
        Some(Turn::Lasting) | None => !seen.lengths.contains_key(*file),
        Some(_) if index_of(file).is_none() => !behind.is_empty(),
        Some(_) => behind.contains(&index_of(file)),
    };
    let copied = files.iter().filter(is_missing).cloned().collect();
    let kept: BTreeSet<_> = files.iter().collect();
    let removed = seen.lengths.keys().filter(|name| !kept.contains(name)).cloned().collect();
    Ok(Plan { copied, removed })
}

fn read(shipment: &Shipment, file: &str) -> anyhow::Result<Vec<u8>> {
    let (mut content, mut bytes) = (shipment.open(file).map_err(refused)?.0, Vec::new());
    std::io::Read::read_to_end(&mut content, &mut bytes)
        .with_context(|| format!("could not read `{file}`"))?;
    Ok(bytes)
}

async fn carry_out(
    shelf: &Shelf,
    shipment: &Shipment,
    (plan, seen): (&Plan, &Seen),
) -> anyhow::Result<()> {
    let (lasting, others): (Vec<_>, Vec<_>) =
        plan.copied.iter().partition(|file| Turn::of(file) == Some(Turn::Lasting));
    let puts = lasting.into_iter().map(|file| put(shelf, shipment, file, None));
    stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    for file in others {
        let condition = match (Turn::of(file), seen.catalogues.get(file)) {
            (Some(Turn::Catalogue), None) => Some(Condition::Absent),
            (Some(Turn::Catalogue), Some(Some(tag))) => Some(Condition::Same(tag)),
            _ => None,
        };
        put(shelf, shipment, file, condition).await?;
    }
    let removals = plan.removed.iter().map(|name| shelf.remove(name));
    stream::iter(removals).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

async fn put(
    shelf: &Shelf,
    shipment: &Shipment,
    name: &str,
    condition: Option<Condition<'_>>,
) -> anyhow::Result<()> {
    let is_lasting = Turn::of(name) == Some(Turn::Lasting);
    let keeping = if is_lasting { Keeping::Forever } else { Keeping::Not };
    let object = Object { name, keeping, condition };
    shelf.put(&object, || Ok(shipment.open(name)?)).await
}

fn show(plan: &Plan, args: &PublishArgs, session: &Session) -> anyhow::Result<()> {
    session.shell.data(args.output.format, plan, |plan| {
        let would =
            |done: &str| if args.dry_run { format!("would be {done}") } else { done.into() };
        let copied = plan.copied.iter().map(|name| [would("copied"), name.clone()]);
        let removed = plan.removed.iter().map(|name| [would("removed"), name.clone()]);
        Table::list(["change", "file"], copied.chain(removed))
    })
}

//! A bucket with the copy of a repository of updates that readers see.
//!
//! Targets go first, then metadata, one after the other, the timestamp last.

use std::collections::BTreeMap;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use update::editor::{Stock, Upload};
use wire::updates::Keeping;

use crate::bucket::{AT_ONCE, BucketArgs, Condition, Object, Shelf};

const TIMESTAMP: &str = "timestamp.json";

/// The timestamp that was looked at.
struct Seen {
    stock: Stock,
    timestamp: Option<String>,
}

/// The files that the bucket at `to` lacks; brings them, unless `is_rehearsal`.
pub(super) async fn publish(
    to: &str,
    args: &BucketArgs,
    plan: impl FnOnce(&Stock) -> anyhow::Result<Upload>,
    is_rehearsal: bool,
) -> anyhow::Result<Vec<Utf8PathBuf>> {
    let shelf = Shelf::new(to, args)?;
    let seen = look(&shelf).await.with_context(|| format!("could not look into `{to}`"))?;
    let upload = plan(&seen.stock)?;
    if !is_rehearsal {
        bring(&shelf, &upload, &seen).await?;
    }
    Ok(upload.names().to_vec())
}

/// What is there of a repository.
async fn look(shelf: &Shelf) -> anyhow::Result<Seen> {
    let lengths = shelf.list(|name| Keeping::of(name).is_some()).await?;
    let lengths = lengths.into_iter().map(|(name, length)| (name.into(), length)).collect();
    let mut stock = Stock { place: shelf.place.clone(), lengths, contents: BTreeMap::new() };
    let mut timestamp = None;
    for name in stock.decisive() {
        let (content, tag) = shelf.get(name.as_str()).await?;
        if name == TIMESTAMP {
            timestamp = tag;
        }
        stock.contents.insert(name, content);
    }
    Ok(Seen { stock, timestamp })
}

async fn bring(shelf: &Shelf, upload: &Upload, seen: &Seen) -> anyhow::Result<()> {
    let names = upload.names();
    let (targets, metadata): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.starts_with("targets"));
    let puts = targets.into_iter().map(|name| put(shelf, upload, name, None));
    stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    for name in metadata {
        let condition = match &seen.timestamp {
            Some(tag) if name == TIMESTAMP => Condition::Same(tag),
            Some(_) | None => Condition::Absent,
        };
        put(shelf, upload, name, Some(condition)).await?;
    }
    Ok(())
}

async fn put(
    shelf: &Shelf,
    upload: &Upload,
    name: &Utf8Path,
    condition: Option<Condition<'_>>,
) -> anyhow::Result<()> {
    let keeping = Keeping::of(name.as_str()).unwrap_or(Keeping::Not);
    let object = Object { name: name.as_str(), keeping, condition };
    shelf.put(&object, || Ok(upload.open(name)?)).await
}

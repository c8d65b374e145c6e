//! `fleetctl repo … fetch`: a folder becomes what a bucket is, to be changed and published again.

use std::{collections::BTreeMap, fs::File};

use anyhow::Context as _;
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packager::repository::{
    delivery::Delivery,
    shipment::{Turn, index_of},
};

use super::{PathArgs, publish::shelf, refused};
use crate::{
    bucket::{AT_ONCE, BucketArgs, Shelf},
    exit::Stop,
    session::Session,
};

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// Bucket with the repository, s3://BUCKET/PREFIX
    #[arg(value_name = "S3-ADDRESS")]
    from: String,
    #[command(flatten)]
    path: PathArgs,
    #[command(flatten)]
    bucket: BucketArgs,
}

pub(super) async fn run(args: FetchArgs, session: &Session) -> anyhow::Result<()> {
    let shelf = shelf(&args.from, &args.bucket)?;
    let look = || format!("could not look into `{}`", shelf.place);
    let lengths = shelf.list(|name| Turn::of(name).is_some()).await.with_context(look)?;
    let others = lengths
        .keys()
        .filter(|name| index_of(name).is_some() || Turn::of(name) != Some(Turn::Lasting));
    let shelf = &shelf;
    let reads = others.map(|name| async move {
        Ok::<_, anyhow::Error>((name.clone(), shelf.get(name).await?.0))
    });
    let others: BTreeMap<_, _> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
    let is_catalogue = |name: &str| Turn::of(name) == Some(Turn::Catalogue);
    let catalogues: BTreeMap<_, _> = others
        .iter()
        .filter(|(name, _)| is_catalogue(name))
        .map(|(name, content)| (name.clone(), content.clone()))
        .collect();
    if catalogues.is_empty() {
        return Err(Stop::usage(format!("there is no repository in `{}`", shelf.place)).into());
    }
    let delivery = Delivery::new(&args.path.path, &catalogues).map_err(refused)?;
    let missing = delivery.missing();
    let count = missing.len();
    let arrivals = missing.into_iter().map(|name| bring(shelf, &delivery, name));
    stream::iter(arrivals).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    delivery.finish(others).map_err(refused)?;
    let folder = args.path.path.display();
    session
        .shell
        .done(format!("`{folder}` is as `{}` is; packages that are new: {count}", shelf.place));
    Ok(())
}

async fn bring(shelf: &Shelf, delivery: &Delivery, name: &str) -> anyhow::Result<()> {
    let path = delivery.arrival(name).map_err(refused)?;
    let problem = || format!("could not write `{}`", path.display());
    let mut file = File::create(&path).with_context(problem)?;
    shelf.copy(name, &mut file).await?;
    file.sync_all().with_context(problem)?;
    Ok(delivery.arrived(name).map_err(refused)?)
}

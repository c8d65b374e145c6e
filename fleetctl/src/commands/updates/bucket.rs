//! A bucket of S3, or of what speaks as it does, with the copy that readers see.
//!
//! Targets go first, four at a time, then metadata, one after the other, the timestamp last. What is
//! never replaced is written only if it is not there, and the timestamp only in the place of the one
//! that was looked at: so of two who publish at the same time one is told to look again.

use std::{collections::BTreeMap, fs::File, time::Duration};

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{
    Client, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH},
    redirect::Policy,
};
use rusty_s3::{
    Bucket, Credentials, S3Action, UrlStyle,
    actions::{GetObject, PutObject},
};
use update::editor::{Stock, Upload};
use url::Url;
use wire::updates::Keeping;

use crate::{config::variable, exit::Stop};

mod listing;

/// How an address of a bucket begins.
const SCHEME: &str = "s3://";
/// How long an address that is signed is good, and with it one file's way.
const SIGNED_FOR: Duration = Duration::from_secs(60 * 60);
/// How long connecting may take, and each pause of the other side.
const CONNECT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);
/// Targets on their way at the same time.
const AT_ONCE: usize = 4;
/// No list and no metadata file is longer, in bytes.
const MAX_ANSWER: usize = 16 << 20;
const DEFAULT_REGION: &str = "us-east-1";

#[derive(Debug, Args)]
pub(super) struct BucketArgs {
    /// Address of the service that has the bucket, if that is not Amazon's
    /// [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// Region that the bucket is in [default: AWS_REGION, AWS_DEFAULT_REGION, us-east-1]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// A bucket, or a part of one, and what opens it.
pub(super) struct Shelf {
    client: Client,
    bucket: Bucket,
    credentials: Credentials,
    /// Before each name: nothing, or something that ends in a slash.
    prefix: String,
    place: String,
}

/// The timestamp that was looked at.
struct Seen {
    stock: Stock,
    timestamp: Option<String>,
}

/// Whether `to` is the address of a bucket.
pub(super) fn is_address(to: &str) -> bool {
    to.starts_with(SCHEME)
}

/// The files that the bucket at `to` lacks; brings them, unless `is_rehearsal`.
pub(super) async fn publish(
    to: &str,
    args: &BucketArgs,
    plan: impl FnOnce(&Stock) -> anyhow::Result<Upload>,
    is_rehearsal: bool,
) -> anyhow::Result<Vec<Utf8PathBuf>> {
    let shelf = Shelf::new(to, args)?;
    let seen = shelf.look().await.with_context(|| format!("could not look into `{to}`"))?;
    let upload = plan(&seen.stock)?;
    if !is_rehearsal {
        shelf.bring(&upload, &seen).await?;
    }
    Ok(upload.names().to_vec())
}

impl Shelf {
    fn new(to: &str, args: &BucketArgs) -> anyhow::Result<Self> {
        let address = to.strip_prefix(SCHEME).unwrap_or(to).trim_end_matches('/');
        let (name, prefix) = address.split_once('/').unwrap_or((address, ""));
        let found = |names: [&str; 2]| names.into_iter().find_map(variable);
        let (Some(key), Some(secret)) =
            (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        else {
            let problem = "the bucket's keys are not set: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY";
            return Err(Stop::usage(problem).into());
        };
        let credentials = match variable("AWS_SESSION_TOKEN") {
            Some(token) => {
                Credentials::new_with_token(key.0.as_str(), secret.0.as_str(), token.0.as_str())
            }
            None => Credentials::new(key.0.as_str(), secret.0.as_str()),
        };
        let region = args.region.clone();
        let region =
            region.or_else(|| found(["AWS_REGION", "AWS_DEFAULT_REGION"]).map(|it| it.0.clone()));
        let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let given = found(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        let given = given.map(|it| it.0.parse::<Url>()).transpose();
        let given = given.map_err(|_| Stop::usage("AWS_ENDPOINT_URL is no address"))?;
        let (endpoint, style) = match args.endpoint.clone().or(given) {
            Some(endpoint) => (endpoint, UrlStyle::Path),
            // Certificates of Amazon's are for names without more dots.
            None if name.contains('.') => (amazons(&region), UrlStyle::Path),
            None => (amazons(&region), UrlStyle::VirtualHost),
        };
        let bucket = Bucket::new(endpoint, style, name.to_owned(), region);
        let bucket =
            bucket.map_err(|error| Stop::usage(format!("`{to}` is no bucket: {error}")))?;
        let client = Client::builder().connect_timeout(CONNECT).read_timeout(PATIENCE);
        let client =
            client.redirect(Policy::none()).build().context("could not get ready for HTTPS")?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { client, bucket, credentials, prefix, place: format!("{SCHEME}{address}") })
    }

    /// What is there of a repository.
    async fn look(&self) -> anyhow::Result<Seen> {
        let lengths = self.list().await?;
        let place = self.place.clone();
        let mut stock = Stock { place, lengths, contents: BTreeMap::new() };
        let mut timestamp = None;
        for name in stock.decisive() {
            let (content, tag) = self.get(&name).await?;
            if name == "timestamp.json" {
                timestamp = tag;
            }
            stock.contents.insert(name, content);
        }
        Ok(Seen { stock, timestamp })
    }

    async fn list(&self) -> anyhow::Result<BTreeMap<Utf8PathBuf, u64>> {
        let mut lengths = BTreeMap::new();
        let mut next = None;
        loop {
            let mut action = GetObject::new(&self.bucket, Some(&self.credentials), "");
            let query = action.query_mut();
            query.insert("list-type", "2");
            query.insert("prefix", self.prefix.as_str());
            if let Some(token) = next.take() {
                query.insert::<_, String>("continuation-token", token);
            }
            let answer = good(self.client.get(action.sign(SIGNED_FOR)).send().await).await?;
            let page = listing::read(&content(answer).await?)?;
            for (key, length) in page.objects {
                let name = key.strip_prefix(&self.prefix);
                if let Some(name) = name.filter(|name| Keeping::of(name).is_some()) {
                    lengths.insert(name.into(), length);
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok(lengths);
            }
        }
    }

    /// The content of a file, and what the bucket calls this state of it.
    async fn get(&self, name: &Utf8Path) -> anyhow::Result<(Vec<u8>, Option<String>)> {
        let key = format!("{}{name}", self.prefix);
        let url = GetObject::new(&self.bucket, Some(&self.credentials), &key).sign(SIGNED_FOR);
        let answer = good(self.client.get(url).send().await).await;
        let answer = answer.with_context(|| format!("could not read `{name}`"))?;
        let tag = answer.headers().get(ETAG).and_then(|it| it.to_str().ok()).map(str::to_owned);
        Ok((content(answer).await?, tag))
    }

    async fn bring(&self, upload: &Upload, seen: &Seen) -> anyhow::Result<()> {
        let names = upload.names();
        let (targets, metadata): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| name.starts_with("targets"));
        let puts = targets.into_iter().map(|name| self.put(upload, name, None));
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        for name in metadata {
            let condition = match &seen.timestamp {
                Some(tag) if name == "timestamp.json" => (IF_MATCH, tag.as_str()),
                Some(_) | None => (IF_NONE_MATCH, "*"),
            };
            self.put(upload, name, Some(condition)).await?;
        }
        Ok(())
    }

    /// Writes one file, which appears whole or not at all.
    async fn put(
        &self,
        upload: &Upload,
        name: &Utf8Path,
        condition: Option<(reqwest::header::HeaderName, &str)>,
    ) -> anyhow::Result<()> {
        let written = async {
            let answer = self.put_once(upload.open(name)?, name, condition.as_ref()).await?;
            match answer.status() {
                StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {
                    bail!("somebody else has written it meanwhile: look again")
                }
                // A bucket that knows no conditions takes it without.
                StatusCode::NOT_IMPLEMENTED if condition.is_some() => {
                    good(Ok(self.put_once(upload.open(name)?, name, None).await?)).await
                }
                _ => good(Ok(answer)).await,
            }
        };
        written.await.with_context(|| format!("could not write `{}/{name}`", self.place))?;
        Ok(())
    }

    async fn put_once(
        &self,
        (file, length): (File, u64),
        name: &Utf8Path,
        condition: Option<&(reqwest::header::HeaderName, &str)>,
    ) -> anyhow::Result<Response> {
        let key = format!("{}{name}", self.prefix);
        let url = PutObject::new(&self.bucket, Some(&self.credentials), &key).sign(SIGNED_FOR);
        let kind = match name.extension() {
            Some("json") => "application/json",
            Some(_) | None => "application/octet-stream",
        };
        let keeping = Keeping::of(name.as_str()).unwrap_or(Keeping::Not);
        let mut request = self.client.put(url).timeout(SIGNED_FOR);
        request = request.header(CONTENT_LENGTH, length).header(CONTENT_TYPE, kind);
        request = request.header(CACHE_CONTROL, keeping.cache_control());
        if let Some((header, tag)) = condition {
            request = request.header(header, *tag);
        }
        let body = tokio::fs::File::from_std(file);
        // The address has the signature in it.
        Ok(request.body(body).send().await.map_err(reqwest::Error::without_url)?)
    }
}

/// Where Amazon has the buckets of a region.
fn amazons(region: &str) -> Url {
    let url = format!("https://s3.{region}.amazonaws.com").parse();
    url.unwrap_or_else(|_| {
        "https://s3.amazonaws.com".parse().expect("the address of Amazon's is one")
    })
}

/// The answer, if it is what was asked for.
async fn good(answer: reqwest::Result<Response>) -> anyhow::Result<Response> {
    // The address has the signature in it.
    let answer = answer.map_err(reqwest::Error::without_url)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let said = content(answer).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let code = said.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    match code {
        Some((code, _)) => bail!("the bucket answers {status}: {code}"),
        None => bail!("the bucket answers {status}"),
    }
}

async fn content(mut answer: Response) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if content.len() + chunk.len() > MAX_ANSWER {
            bail!("the answer is too long");
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

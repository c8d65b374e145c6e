//! A bucket of S3, or of what speaks as it does: a folder of files for whoever may read it.
//!
//! There is no step that changes many files at once. What is never replaced is written only if it is not
//! there, and what decides only in the place of what was looked at: so of two who publish at the same
//! time one is told to look again.

use std::{collections::BTreeMap, fs::File, io::Write, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{
    Client, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH},
    redirect::Policy,
};
use rusty_s3::{
    Bucket, Credentials, S3Action, UrlStyle,
    actions::{DeleteObject, GetObject, PutObject},
};
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
/// Files on their way at the same time, where their order does not matter.
pub(crate) const AT_ONCE: usize = 4;
/// No list is longer, and no file that is read whole, in bytes.
const MAX_ANSWER: usize = 16 << 20;
const DEFAULT_REGION: &str = "us-east-1";

#[derive(Debug, Args)]
pub(crate) struct BucketArgs {
    /// Address of the service that has the bucket, if that is not Amazon's
    /// [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// Region that the bucket is in [default: AWS_REGION, AWS_DEFAULT_REGION, us-east-1]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// A bucket, or a part of one, and what opens it.
pub(crate) struct Shelf {
    client: Client,
    bucket: Bucket,
    credentials: Credentials,
    /// Before each name: nothing, or something that ends in a slash.
    prefix: String,
    /// What it is called: `s3://bucket/prefix`.
    pub(crate) place: String,
}

/// Where a file is to be written only if that is so.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    /// Nothing is there.
    Absent,
    /// What is there is what the bucket called so.
    Same(&'a str),
}

/// A file as it is to be in a bucket.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    pub(crate) name: &'a str,
    pub(crate) keeping: Keeping,
    pub(crate) condition: Option<Condition<'a>>,
}

/// A file's content from its start, and its length in bytes.
pub(crate) type Content = (File, u64);

/// Whether `to` is the address of a bucket.
pub(crate) fn is_address(to: &str) -> bool {
    to.starts_with(SCHEME)
}

impl Shelf {
    /// The one at the address `to`. Fails if it is none, or nothing says what opens it.
    pub(crate) fn new(to: &str, args: &BucketArgs) -> anyhow::Result<Self> {
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

    /// The length of each file for which `is_ours`, by name.
    pub(crate) async fn list(
        &self,
        is_ours: impl Fn(&str) -> bool,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
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
                if let Some(name) = name.filter(|name| is_ours(name)) {
                    lengths.insert(name.to_owned(), length);
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok(lengths);
            }
        }
    }

    /// The content of a file, and what the bucket calls this state of it.
    pub(crate) async fn get(&self, name: &str) -> anyhow::Result<(Vec<u8>, Option<String>)> {
        let answer = self.opened(name).await?;
        let tag = answer.headers().get(ETAG).and_then(|it| it.to_str().ok()).map(str::to_owned);
        Ok((content(answer).await?, tag))
    }

    /// Writes the content of a file into `to`.
    pub(crate) async fn copy(&self, name: &str, to: &mut impl Write) -> anyhow::Result<()> {
        let mut answer = self.opened(name).await?;
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            to.write_all(&chunk).with_context(|| format!("could not keep `{name}`"))?;
        }
        Ok(())
    }

    async fn opened(&self, name: &str) -> anyhow::Result<Response> {
        let key = format!("{}{name}", self.prefix);
        let url = GetObject::new(&self.bucket, Some(&self.credentials), &key).sign(SIGNED_FOR);
        let answer = good(self.client.get(url).send().await).await;
        answer.with_context(|| format!("could not read `{name}`"))
    }

    /// Writes one file, which appears whole or not at all.
    pub(crate) async fn put(
        &self,
        object: &Object<'_>,
        open: impl Fn() -> anyhow::Result<Content>,
    ) -> anyhow::Result<()> {
        let written = async {
            let answer = self.put_once(object, object.condition, open()?).await?;
            match answer.status() {
                StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {
                    bail!("somebody else has written it meanwhile: look again")
                }
                // A bucket that knows no conditions takes it without.
                StatusCode::NOT_IMPLEMENTED if object.condition.is_some() => {
                    good(Ok(self.put_once(object, None, open()?).await?)).await
                }
                _ => good(Ok(answer)).await,
            }
        };
        let written = written.await;
        written.with_context(|| format!("could not write `{}/{}`", self.place, object.name))?;
        Ok(())
    }

    async fn put_once(
        &self,
        object: &Object<'_>,
        condition: Option<Condition<'_>>,
        (file, length): Content,
    ) -> anyhow::Result<Response> {
        let key = format!("{}{}", self.prefix, object.name);
        let url = PutObject::new(&self.bucket, Some(&self.credentials), &key).sign(SIGNED_FOR);
        let is_json = object.name.ends_with(".json");
        let kind = if is_json { "application/json" } else { "application/octet-stream" };
        let mut request = self.client.put(url).timeout(SIGNED_FOR);
        request = request.header(CONTENT_LENGTH, length).header(CONTENT_TYPE, kind);
        request = request.header(CACHE_CONTROL, object.keeping.cache_control());
        request = match condition {
            Some(Condition::Absent) => request.header(IF_NONE_MATCH, "*"),
            Some(Condition::Same(tag)) => request.header(IF_MATCH, tag),
            None => request,
        };
        let body = tokio::fs::File::from_std(file);
        // The address has the signature in it.
        Ok(request.body(body).send().await.map_err(reqwest::Error::without_url)?)
    }

    /// Removes one file, if it is there.
    pub(crate) async fn remove(&self, name: &str) -> anyhow::Result<()> {
        let key = format!("{}{name}", self.prefix);
        let url = DeleteObject::new(&self.bucket, Some(&self.credentials), &key).sign(SIGNED_FOR);
        let answer = good(self.client.delete(url).send().await).await;
        answer.with_context(|| format!("could not remove `{}/{name}`", self.place))?;
        Ok(())
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

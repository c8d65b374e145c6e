//! Apple's services: the notary that looks at software, the bucket that takes it, and the desk that
//! hands out tickets. Source: Apple's "Notary API" reference, and what its tools say to CloudKit.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Client, Response, StatusCode, header::CONTENT_LENGTH};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle, actions::PutObject};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use super::key::ApiKey;
use crate::commands::expiry::now;

/// Where the services are.
const NOTARY: &str = "https://appstoreconnect.apple.com/notary/v2/";
const BUCKETS: &str = "https://s3.us-west-2.amazonaws.com/";
const REGION: &str = "us-west-2";
const TICKETS: &str = "https://api.apple-cloudkit.com/database/1/com.apple.gk.ticket-delivery/\
    production/public/records/lookup";
/// How long connecting may take, an answer, and the way of a package to the bucket.
const CONNECT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);
const UPLOAD: Duration = Duration::from_secs(60 * 60);
/// Asked again when a service has no time.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(2);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Where the services are, if not where Apple has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) notary: Option<Url>,
    pub(crate) bucket: Option<Url>,
    pub(crate) tickets: Option<Url>,
}

/// What the notary gives for a package: a name for it, and how to bring it.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) id: String,
    way: Way,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Way {
    aws_access_key_id: String,
    aws_secret_access_key: String,
    aws_session_token: String,
    bucket: String,
    object: String,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

/// What the notary thinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    InProgress,
    Accepted,
    /// As the notary calls it.
    Refused(String),
}

/// Every answer of the notary's.
#[derive(Deserialize)]
struct Answer<T> {
    data: Data<T>,
}

#[derive(Deserialize)]
struct Data<T> {
    #[serde(default)]
    id: String,
    attributes: T,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPlace {
    developer_log_url: Url,
}

#[derive(Debug)]
pub(crate) struct Service {
    client: Client,
    key: ApiKey,
    notary: Url,
    bucket: Url,
    tickets: Url,
}

impl Service {
    pub(super) fn new(key: ApiKey, places: &Places) -> anyhow::Result<Self> {
        let place = |given: &Option<Url>, apples: &str| {
            given.clone().unwrap_or_else(|| apples.parse().expect("Apple's addresses are ones"))
        };
        let client = Client::builder().connect_timeout(CONNECT).build();
        Ok(Self {
            client: client.context("could not get ready for HTTPS")?,
            key,
            notary: place(&places.notary, NOTARY),
            bucket: place(&places.bucket, BUCKETS),
            tickets: place(&places.tickets, TICKETS),
        })
    }

    /// Tells the notary that a package of this name and digest comes.
    pub(super) async fn submit(&self, name: &str, sha256: &str) -> anyhow::Result<Submission> {
        let body = json!({ "submissionName": name, "sha256": sha256 });
        let request = self.client.post(self.at("submissions")?).json(&body);
        let answer: Answer<Way> = self.ask(request).await?;
        Ok(Submission { id: answer.data.id, way: answer.data.attributes })
    }

    /// Brings the package at `path`.
    pub(super) async fn upload(&self, to: &Submission, path: &Path) -> anyhow::Result<()> {
        let Way { aws_access_key_id, aws_secret_access_key, aws_session_token, bucket, object } =
            &to.way;
        let bucket = Bucket::new(self.bucket.clone(), UrlStyle::Path, bucket.clone(), REGION)
            .context("the notary named no bucket")?;
        let credentials = Credentials::new_with_token(
            aws_access_key_id,
            aws_secret_access_key,
            aws_session_token,
        );
        let url = PutObject::new(&bucket, Some(&credentials), object).sign(UPLOAD);
        let file = tokio::fs::File::open(path).await.context("could not read it")?;
        let size = file.metadata().await.context("could not read it")?.len();
        let request = self.client.put(url).timeout(UPLOAD).header(CONTENT_LENGTH, size).body(file);
        // The address has the credentials in it.
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        if !status.is_success() {
            bail!("the bucket answered {status}: {}", said(answer).await);
        }
        Ok(())
    }

    pub(super) async fn verdict(&self, id: &str) -> anyhow::Result<Verdict> {
        let request = self.client.get(self.at(&format!("submissions/{id}"))?);
        let answer: Answer<Status> = self.ask(request).await?;
        Ok(match answer.data.attributes.status.as_str() {
            "In Progress" => Verdict::InProgress,
            "Accepted" => Verdict::Accepted,
            other => Verdict::Refused(other.to_owned()),
        })
    }

    /// What the notary found, as it tells it.
    pub(super) async fn log(&self, id: &str) -> anyhow::Result<Value> {
        let request = self.client.get(self.at(&format!("submissions/{id}/logs"))?);
        let place: Answer<LogPlace> = self.ask(request).await?;
        let url = place.data.attributes.developer_log_url;
        let answer = self.client.get(url).timeout(PATIENCE).send().await;
        // The address has credentials in it.
        let answer = answer.map_err(reqwest::Error::without_url)?;
        decode(answer).await
    }

    /// The ticket called `name`. None: there is none yet.
    pub(super) async fn ticket(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let body = json!({ "records": [{ "recordName": name }] });
        let request = self.client.post(self.tickets.clone()).timeout(PATIENCE).json(&body);
        let answer: Value = decode(request.send().await?).await?;
        let record = &answer["records"][0];
        if record["serverErrorCode"] == "NOT_FOUND" {
            return Ok(None);
        }
        let Some(ticket) = record["fields"]["signedTicket"]["value"].as_str() else {
            bail!("the answer has no ticket: {}", record["reason"]);
        };
        let ticket = BASE64_STANDARD.decode(ticket).context("the ticket is no base64")?;
        Ok(Some(ticket))
    }

    fn at(&self, path: &str) -> anyhow::Result<Url> {
        self.notary.join(path).context("the notary has no such address")
    }

    /// Asks the notary, again if it has no time.
    async fn ask<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<T> {
        let token = self.key.token(now())?;
        for _ in 1..TRIES {
            match ask_once(&request, &token).await {
                Ok(answer) if answer.status().is_server_error() => {}
                Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {}
                Err(error) if error.is_timeout() || error.is_connect() => {}
                answer => return decode(answer?).await,
            }
            tokio::time::sleep(PAUSE).await;
        }
        decode(ask_once(&request, &token).await?).await
    }
}

async fn ask_once(request: &reqwest::RequestBuilder, token: &str) -> reqwest::Result<Response> {
    let request = request.try_clone().expect("its body is in memory");
    request.bearer_auth(token).timeout(PATIENCE).send().await
}

async fn decode<T: DeserializeOwned>(answer: Response) -> anyhow::Result<T> {
    let status = answer.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            bail!("the API key is refused ({status}): {}", said(answer).await)
        }
        status if !status.is_success() => bail!("the answer is {status}: {}", said(answer).await),
        _ => {}
    }
    let body = body(answer, MAX_ANSWER).await?;
    serde_json::from_slice(&body).context("the answer is not what Apple documents")
}

/// All of an answer, which is at most `limit` bytes.
async fn body(mut answer: Response, limit: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > limit {
            bail!("the answer is too long");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What an answer says, in a line that is not too long.
async fn said(answer: Response) -> String {
    const LONG: usize = 300;
    let text = body(answer, MAX_ANSWER).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(LONG).collect()
}

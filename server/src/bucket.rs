//! A bucket of S3, or of what speaks as it does, that is read for whoever asks the server.
//!
//! Nothing is kept of what is read: a file passes through, piece by piece. What opens the bucket is
//! in no error, since the addresses that have it do not leave this module.

use std::{fmt, sync::Arc, time::Duration};

use axum::http::{HeaderMap, Method, header};
use futures_util::{Stream, TryStreamExt as _};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use rusty_s3::{
    Credentials, S3Action as _, UrlStyle,
    actions::{GetObject, HeadObject},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::config::updates;

/// How long an address that is signed is good: it is used at once.
const SIGNED_FOR: Duration = Duration::from_secs(60);
/// How long connecting may take, and each pause of the bucket.
const CONNECT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
/// Files that are on their way at the same time.
const AT_ONCE: usize = 512;

/// So much of a refusal is read, in bytes.
const LONGEST_REFUSAL: usize = 8 << 10;

/// What a reader may ask for besides the whole file.
const CONDITIONS: [header::HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// A bucket, or a part of one, and what opens it.
pub(crate) struct Bucket {
    client: Client,
    bucket: rusty_s3::Bucket,
    credentials: Option<Credentials>,
    /// Before each name: nothing, or something that ends in a slash.
    prefix: String,
    free: Arc<Semaphore>,
}

/// Why a bucket cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// It is none.
    #[error("`{address}` is no bucket: {problem}")]
    Address {
        /// What was configured.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// This machine cannot speak HTTPS.
    #[error("could not get ready for HTTPS")]
    Client(#[source] reqwest::Error),
    /// It does not answer.
    #[error("the bucket of updates does not answer")]
    Silent(#[source] reqwest::Error),
    /// It answers something else.
    #[error("the bucket of updates answers {0}")]
    Answer(StatusCode),
    /// It does not open.
    #[error("the bucket of updates does not open: {code}")]
    Shut {
        /// In its own words.
        code: String,
    },
    /// More is read from it than is good for it.
    #[error("too many files of the bucket of updates are on their way")]
    Busy,
}

/// A file on its way: the answer, and the right to have one of so many on their way.
pub(crate) struct Passing {
    pub(crate) answer: Response,
    permit: OwnedSemaphorePermit,
}

impl Passing {
    /// Why the bucket refuses it, where that is not for want of the right to it: of what is not there
    /// that is what those are told who may not list it.
    pub(crate) async fn refusal(mut self) -> Option<BucketError> {
        let mut said = Vec::new();
        while let Ok(Some(piece)) = self.answer.chunk().await {
            said.extend_from_slice(&piece);
            if said.len() > LONGEST_REFUSAL {
                break;
            }
        }
        let said = String::from_utf8_lossy(&said);
        let (_, code) = said.split_once("<Code>")?;
        let code: String = code.chars().take_while(char::is_ascii_alphanumeric).collect();
        (code != "AccessDenied").then_some(BucketError::Shut { code })
    }

    /// The content, as it comes.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<axum::body::Bytes, BucketError>> {
        let Self { answer, permit } = self;
        // The right goes when the stream does.
        answer
            .bytes_stream()
            .map_ok(move |piece| {
                let _held = &permit;
                piece
            })
            .map_err(|error| BucketError::Silent(error.without_url()))
    }
}

impl Bucket {
    /// The one that is configured.
    pub(crate) fn new(config: &updates::Bucket) -> Result<Self, BucketError> {
        let refused =
            |problem: String| BucketError::Address { address: config.address.clone(), problem };
        let (name, prefix) = config.name_and_prefix();
        let region = config.region.clone();
        let (endpoint, style) = match &config.endpoint {
            Some(endpoint) => (endpoint.clone(), UrlStyle::Path),
            // Certificates of Amazon's are for names without more dots.
            None if name.contains('.') => (amazons(&region), UrlStyle::Path),
            None => (amazons(&region), UrlStyle::VirtualHost),
        };
        let endpoint: Url = endpoint.parse().map_err(|error| refused(format!("{error}")))?;
        let bucket = rusty_s3::Bucket::new(endpoint, style, name.to_owned(), region);
        let bucket = bucket.map_err(|error| refused(error.to_string()))?;
        let credentials = config.access_key_id.as_ref().zip(config.secret_access_key.as_ref());
        let credentials =
            credentials.map(|(key, secret)| Credentials::new(key.expose(), secret.expose()));
        let client = Client::builder().connect_timeout(CONNECT).read_timeout(PATIENCE);
        let client = client.redirect(Policy::none()).build().map_err(BucketError::Client)?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { client, bucket, credentials, prefix, free: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Asks for the file called `name` with the conditions of `asked`.
    pub(crate) async fn open(
        &self,
        name: &str,
        (method, asked): (&Method, &HeaderMap),
    ) -> Result<Passing, BucketError> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| BucketError::Busy)?;
        let key = format!("{}{name}", self.prefix);
        let credentials = self.credentials.as_ref();
        let request = if method == Method::HEAD {
            self.client.head(HeadObject::new(&self.bucket, credentials, &key).sign(SIGNED_FOR))
        } else {
            self.client.get(GetObject::new(&self.bucket, credentials, &key).sign(SIGNED_FOR))
        };
        let asked = CONDITIONS.iter().filter_map(|it| Some((it, asked.get(it)?)));
        let request = asked.fold(request, |request, (name, value)| request.header(name, value));
        match request.send().await {
            Ok(answer) => Ok(Passing { answer, permit }),
            // The address has the signature in it.
            Err(error) => Err(BucketError::Silent(error.without_url())),
        }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.bucket.name()).finish_non_exhaustive()
    }
}

/// Where Amazon has the buckets of a region.
fn amazons(region: &str) -> String {
    format!("https://s3.{region}.amazonaws.com")
}

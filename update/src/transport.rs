//! Bytes from where a repository is published: a server or a directory.

use std::{
    io,
    io::SeekFrom,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;
use url::Url;

use crate::{
    connection::{Patience, Respite},
    repository::{is_of_tuftool, targets_of},
};

/// The bytes of one file as they arrive.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes, TransportError>>;

/// The file that is asked for again and again, mostly in vain.
const POLLED: &str = "timestamp.json";

/// The polled file is not remembered if it is longer, in bytes.
const LONGEST_REMEMBERED: usize = 64 << 10;

/// A place that has a repository's files.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// A server.
    Http(Box<Http>),
    /// A directory.
    Directory(Utf8PathBuf),
}

/// A server, and the URL that file names are appended to.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    pub(crate) client: reqwest::Client,
    pub(crate) base: Url,
    /// Where targets are; none: in a directory below that of the metadata.
    pub(crate) targets: Option<Url>,
    pub(crate) polled: Polled,
    pub(crate) patience: Patience,
    pub(crate) respite: Respite,
}

/// The directory of targets.
const TARGETS: &str = "targets/";

/// The polled file as it last came, and what the server calls this state of it: asked whether it has
/// changed, the server need not send it again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Polled(Arc<Mutex<Option<Answered>>>);

/// An entity tag and the bytes that it stands for.
type Answered = (header::HeaderValue, Vec<u8>);

/// A file as it arrives.
pub(crate) struct Opened {
    /// The byte that it begins with.
    pub(crate) offset: u64,
    pub(crate) stream: ByteStream,
}

impl Transport {
    /// Reads a whole metadata file of at most `limit` bytes. `None`: there is no such file.
    pub(crate) async fn read(
        &self,
        name: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        let limit_of_time = self.patience().metadata;
        let timed_out = |_| TransportError::Slow { at: self.locate(name), limit: limit_of_time };
        let reading = async {
            match self {
                Self::Http(http) if name == POLLED => self.poll(http, limit).await,
                Self::Http(_) | Self::Directory(_) => match self.open(name, 0).await? {
                    Some(opened) => self.collect(name, opened.stream, limit).await.map(Some),
                    None => Ok(None),
                },
            }
        };
        tokio::time::timeout(limit_of_time, reading).await.map_err(timed_out)?
    }

    async fn poll(&self, http: &Http, limit: u64) -> Result<Option<Vec<u8>>, TransportError> {
        let at = self.locate(POLLED);
        let (polled, request) = (&http.polled, http.client.get(http.url(POLLED)));
        let known = polled.take();
        let request = match &known {
            Some((tag, _)) => request.header(header::IF_NONE_MATCH, tag),
            None => request,
        };
        let reply = http.send(request, &at).await?;
        if let (StatusCode::NOT_MODIFIED, Some((tag, bytes))) = (reply.status(), known) {
            polled.keep(tag, &bytes);
            return Ok(Some(bytes));
        }
        let tag = reply.headers().get(header::ETAG).cloned();
        let Some(stream) = body(reply, &at)? else { return Ok(None) };
        let bytes = self.collect(POLLED, stream, limit).await?;
        if let Some(tag) = tag {
            polled.keep(tag, &bytes);
        }
        Ok(Some(bytes))
    }

    async fn collect(
        &self,
        name: &str,
        mut stream: ByteStream,
        limit: u64,
    ) -> Result<Vec<u8>, TransportError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(TransportError::TooLong { at: self.locate(name), limit });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Starts reading a file of any length, from byte `offset` on if the server can do that, else
    /// from the start. `None`: there is no such file.
    pub(crate) async fn open(
        &self,
        name: &str,
        offset: u64,
    ) -> Result<Option<Opened>, TransportError> {
        match self {
            Self::Http(http) => http.get(http.url(name), offset).await,
            Self::Directory(dir) => open_file(path(dir, name), offset).await,
        }
    }

    /// Whether files are laid out as tuftool does it.
    pub(crate) fn is_of_tuftool(&self) -> bool {
        match self {
            Self::Http(http) => is_of_tuftool(&http.base),
            Self::Directory(dir) => targets_of(dir) != dir.join("targets"),
        }
    }

    /// How long files may take.
    pub(crate) fn patience(&self) -> Patience {
        match self {
            Self::Http(http) => http.patience,
            Self::Directory(_) => Patience::default(),
        }
    }

    /// The URL or path of a file, as errors show it.
    pub(crate) fn locate(&self, name: &str) -> String {
        match self {
            Self::Http(http) => shown(&http.url(name)),
            Self::Directory(dir) => path(dir, name).into_string(),
        }
    }
}

/// Why bytes do not come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection, or it broke.
    #[error("could not fetch `{at}`")]
    Request {
        /// The URL.
        at: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server answered something else than the file.
    #[error("could not fetch `{at}`: the server answered {status}")]
    Status {
        /// The URL.
        at: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The server wants to be left alone.
    #[error(
        "could not fetch `{at}`: the server has answered {status}, and wants to be left alone for {} s",
        .after.as_secs()
    )]
    Busy {
        /// The URL.
        at: String,
        /// The HTTP status that it said so with.
        status: StatusCode,
        /// For how long, since that answer.
        after: Duration,
    },
    /// A local file that cannot be read.
    #[error("could not read `{at}`")]
    Read {
        /// The path.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// More bytes than such a file may have.
    #[error("`{at}` is longer than {limit} bytes")]
    TooLong {
        /// The URL or path.
        at: String,
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// The server takes its time.
    #[error("`{at}` did not arrive within {} seconds", .limit.as_secs())]
    Slow {
        /// The URL or path.
        at: String,
        /// How long was waited.
        limit: Duration,
    },
}

impl Http {
    /// The URL of a file. Names of metadata are quoted already, as roles may be called anything.
    fn url(&self, name: &str) -> Url {
        match (&self.targets, name.strip_prefix(TARGETS)) {
            (Some(targets), Some(name)) => join(targets, name),
            (None, Some(_)) => join(&self.base, name),
            (Some(_) | None, None) => join_quoted(&self.base, name),
        }
    }

    /// Asks, unless the server wants to be left alone.
    async fn send(&self, request: RequestBuilder, at: &str) -> Result<Response, TransportError> {
        let rest = || match self.respite.lasts() {
            Some((status, after)) => Err(TransportError::Busy { at: at.to_owned(), status, after }),
            None => Ok(()),
        };
        rest()?;
        let reply = request.send().await.map_err(|error| failed(at, error))?;
        self.respite.hear(&reply);
        rest()?;
        Ok(reply)
    }

    async fn get(&self, url: Url, offset: u64) -> Result<Option<Opened>, TransportError> {
        let at = shown(&url);
        let mut request = self.client.get(url.clone());
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        let reply = self.send(request, &at).await?;
        let begins = begins_at(&reply);
        if offset > 0 && (begins.is_none() || reply.status() == StatusCode::RANGE_NOT_SATISFIABLE) {
            // What is here is no part of what is there: all of it is fetched anew.
            return Box::pin(self.get(url, 0)).await;
        }
        let stream = body(reply, &at)?;
        Ok(stream.map(|stream| Opened { offset: begins.unwrap_or_default(), stream }))
    }
}

impl Polled {
    fn take(&self) -> Option<Answered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, tag: header::HeaderValue, bytes: &[u8]) {
        if bytes.len() <= LONGEST_REMEMBERED {
            let kept = Some((tag, bytes.to_owned()));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
    }
}

fn failed(at: &str, source: reqwest::Error) -> TransportError {
    TransportError::Request { at: at.to_owned(), source: source.without_url() }
}

/// The byte that the answer begins with (RFC 9110, 14.4); none where a part of the file does not say.
fn begins_at(reply: &Response) -> Option<u64> {
    if reply.status() != StatusCode::PARTIAL_CONTENT {
        return Some(0);
    }
    let range = reply.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// Object stores answer 403 for a file that is not there, as the reader may not list the bucket.
fn body(reply: Response, at: &str) -> Result<Option<ByteStream>, TransportError> {
    let at = at.to_owned();
    match reply.status() {
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
        status if status.is_success() => {
            Ok(Some(reply.bytes_stream().map_err(move |error| failed(&at, error)).boxed()))
        }
        status => Err(TransportError::Status { at, status }),
    }
}

async fn open_file(path: Utf8PathBuf, offset: u64) -> Result<Option<Opened>, TransportError> {
    let failed = |path: &Utf8PathBuf, source| TransportError::Read { at: path.to_string(), source };
    let mut file = match tokio::fs::File::open(&path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&path, error)),
    };
    let offset = file.seek(SeekFrom::Start(offset)).await.map_err(|error| failed(&path, error))?;
    let stream = ReaderStream::with_capacity(file, 256 * 1024);
    let stream = stream.map_err(move |error| failed(&path, error)).boxed();
    Ok(Some(Opened { offset, stream }))
}

/// Where the file called `name` is, of a repository whose metadata is in `dir`.
fn path(dir: &Utf8Path, name: &str) -> Utf8PathBuf {
    match name.strip_prefix(TARGETS) {
        Some(name) => targets_of(dir).join(name),
        None => dir.join(name),
    }
}

/// `base` with the segments of `name` appended.
fn join(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(name.split('/'));
    }
    url
}

/// `base` with `name` appended as it is.
fn join_quoted(base: &Url, name: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{name}", base.path().trim_end_matches('/')));
    url
}

/// `url` without what logs must not carry.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() || !url.username().is_empty() {
        // A token may stand in the place of either. Fails for URLs without a host alone.
        let _ = url.set_username("redacted").and_then(|()| url.set_password(None));
    }
    url.set_query(None);
    url.into()
}

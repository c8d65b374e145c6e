//! Bytes from where a repository is published: a server or a directory.

use std::{io, time::Duration};

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use reqwest::StatusCode;
use tokio_util::io::ReaderStream;
use url::Url;

/// A metadata file that takes longer than this is not waited for. Targets may take as long as bytes
/// keep coming.
const METADATA_TIMEOUT: Duration = Duration::from_secs(60);

/// The bytes of one file as they arrive.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes, TransportError>>;

/// A place that has a repository's files.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// A server, and the URL that file names are appended to. It ends in a slash.
    Http { client: reqwest::Client, base: Url },
    /// A directory.
    Directory(Utf8PathBuf),
}

impl Transport {
    /// Reads a whole metadata file of at most `limit` bytes. `None`: there is no such file.
    pub(crate) async fn read(
        &self,
        name: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        let reading = async {
            let Some(mut stream) = self.open(name).await? else { return Ok(None) };
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.try_next().await? {
                if bytes.len() as u64 + chunk.len() as u64 > limit {
                    return Err(TransportError::TooLong { at: self.locate(name), limit });
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Some(bytes))
        };
        let timed_out = |_| TransportError::Slow { at: self.locate(name), limit: METADATA_TIMEOUT };
        tokio::time::timeout(METADATA_TIMEOUT, reading).await.map_err(timed_out)?
    }

    /// Starts reading a file of any length. `None`: there is no such file.
    pub(crate) async fn open(&self, name: &str) -> Result<Option<ByteStream>, TransportError> {
        match self {
            Self::Http { client, base } => get(client, join(base, name)).await,
            Self::Directory(dir) => open_file(dir.join(name)).await,
        }
    }

    /// The URL or path of a file, as errors show it.
    pub(crate) fn locate(&self, name: &str) -> String {
        match self {
            Self::Http { base, .. } => shown(&join(base, name)),
            Self::Directory(dir) => dir.join(name).into_string(),
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

/// Object stores answer 403 for a file that is not there, as the reader may not list the bucket.
async fn get(client: &reqwest::Client, url: Url) -> Result<Option<ByteStream>, TransportError> {
    let at = shown(&url);
    let failed = move |at: &str, source: reqwest::Error| TransportError::Request {
        at: at.to_owned(),
        source: source.without_url(),
    };
    let reply = client.get(url).send().await.map_err(|error| failed(&at, error))?;
    match reply.status() {
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
        status if status.is_success() => {
            Ok(Some(reply.bytes_stream().map_err(move |error| failed(&at, error)).boxed()))
        }
        status => Err(TransportError::Status { at, status }),
    }
}

async fn open_file(path: Utf8PathBuf) -> Result<Option<ByteStream>, TransportError> {
    let failed = |path: &Utf8PathBuf, source| TransportError::Read { at: path.to_string(), source };
    match tokio::fs::File::open(&path).await {
        Ok(file) => Ok(Some(
            ReaderStream::with_capacity(file, 256 * 1024)
                .map_err(move |error| failed(&path, error))
                .boxed(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&path, error)),
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

/// `url` without what logs must not carry.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Fails for URLs without a host alone, which carry no password.
        let _ = url.set_password(Some("redacted"));
    }
    url.set_query(None);
    url.into()
}

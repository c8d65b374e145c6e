//! Where a repository is published.

use std::{fmt, str::FromStr};

use camino::{Utf8Path, Utf8PathBuf};
use url::Url;

use crate::{
    connection::{Connection, ConnectionError},
    transport::{self, Http, Polled, Transport},
};

/// The directory that holds `timestamp.json`, on a server or on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An `https` (or `http`) URL.
    Url(Url),
    /// A directory on this machine.
    Directory(Utf8PathBuf),
}

impl Location {
    pub(crate) fn transport(&self, connection: &Connection) -> Result<Transport, ConnectionError> {
        match self {
            Self::Url(url) => {
                let (client, base) = (connection.client()?, url.clone());
                let targets = connection.targets.clone().or_else(|| beside(url));
                let polled = Polled::default();
                let (patience, respite) = (connection.patience, connection.respite.clone());
                let http = Http { client, base, targets, polled, patience, respite };
                Ok(Transport::Http(Box::new(http)))
            }
            Self::Directory(dir) => Ok(Transport::Directory(dir.clone())),
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    /// Takes an `https`, `http` or `file` URL, or a path.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        let bad = || LocationError(shown(text));
        if !text.contains("://") {
            return if text.is_empty() { Err(bad()) } else { Ok(Self::Directory(text.into())) };
        }
        let url: Url = text.parse().map_err(|_| bad())?;
        match url.scheme() {
            "https" | "http" => Ok(Self::Url(url)),
            "file" => {
                let path = url.to_file_path().map_err(|()| bad())?;
                Utf8PathBuf::from_path_buf(path).map(Self::Directory).map_err(|_| bad())
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&transport::shown(url)),
            Self::Directory(dir) => f.write_str(dir.as_str()),
        }
    }
}

/// Where targets are if the metadata is in a folder called `metadata`: tuftool lays them out beside
/// each other.
fn beside(metadata: &Url) -> Option<Url> {
    if !is_of_tuftool(metadata) {
        return None;
    }
    let mut url = metadata.clone();
    url.path_segments_mut().ok()?.pop_if_empty().pop().push(TARGETS);
    Some(url)
}

/// Whether the metadata at `url` is in a folder called `metadata`.
pub(crate) fn is_of_tuftool(url: &Url) -> bool {
    let segments = url.path_segments().into_iter().flatten();
    segments.rev().find(|it| !it.is_empty()) == Some(METADATA)
}

/// The directory of targets that belongs to a directory of metadata: within it, or beside one that
/// is called `metadata`.
pub(crate) fn targets_of(metadata: &Utf8Path) -> Utf8PathBuf {
    match metadata.file_name() {
        Some(METADATA) => metadata.with_file_name(TARGETS),
        _ => metadata.join(TARGETS),
    }
}

const METADATA: &str = "metadata";
const TARGETS: &str = "targets";

/// Text that is neither an `https`, `http` or `file` URL nor a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an https URL nor a directory")]
pub struct LocationError(String);

/// `text` without the credentials that a URL may carry, also one that cannot be understood.
fn shown(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => text.to_owned(),
    }
}

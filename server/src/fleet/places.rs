//! Where an address is: city and country, as a database in MaxMind's format has them. Off unless the
//! operator has such a file; nothing is asked of anybody.

use std::net::IpAddr;

use camino::{Utf8Path, Utf8PathBuf};
use maxminddb::{MaxMindDbError, Reader, geoip2::City};

/// A database that is read whole when the server starts.
#[derive(Debug)]
pub(super) struct Places(Reader<Vec<u8>>);

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read the database of places `{path}`; `auth.session.places` names it")]
pub struct PlacesError {
    path: Utf8PathBuf,
    source: MaxMindDbError,
}

impl Places {
    pub(super) fn open(path: &Utf8Path) -> Result<Self, PlacesError> {
        let problem = |source| PlacesError { path: path.to_owned(), source };
        Reader::open_readfile(path).map(Self).map_err(problem)
    }

    /// In English, e.g. `Tromsø, Norway`; none where nothing is known of it.
    pub(super) fn of(&self, address: &str) -> Option<String> {
        let address: IpAddr = address.parse().ok()?;
        let found = self.0.lookup(address.to_canonical()).ok()?;
        let place: City<'_> = found.decode().ok()??;
        let names = [place.city.names.english, place.country.names.english];
        let known: Vec<_> = names.into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join(", "))
    }
}

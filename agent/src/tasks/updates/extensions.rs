//! Brings osquery's extensions: targets as any, of names that the server tells.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use update::{
    Component, Repository,
    repository::{BringError, OfferError},
};

use super::{LookError, UpdateError, Updates, platform_of};
use crate::{
    complaints::explain,
    tasks::osqueryd::extensions::{Shelf, Wish},
};

/// Why an extension cannot be had.
#[derive(Debug, thiserror::Error)]
enum ExtensionError {
    #[error("the repository has no `{target}`")]
    Missing { target: String },
    #[error("could not look up `{target}`")]
    Find { target: String, source: OfferError },
    #[error("could not bring `{target}`")]
    Bring { target: String, source: BringError },
    #[error(transparent)]
    Space(#[from] UpdateError),
    #[error("could not put `{target}` in its place")]
    Put { target: String, source: std::io::Error },
}

/// What this device is called in a repository, e.g. `linux-arm64`.
#[must_use]
pub fn platform_name() -> &'static str {
    platform_of(Component::Orbit).as_str()
}

impl Updates {
    /// Has the programs of `wishes` on the shelf, as they are published, and tells where, by name. What
    /// cannot be had is missing there, and told besides.
    pub async fn bring_extensions(
        &self,
        wishes: &[Wish],
        (shelf, now): (&Shelf, Option<Timestamp>),
    ) -> Result<(BTreeMap<String, Utf8PathBuf>, Vec<String>), LookError> {
        let mut kept = self.repository.lock().await;
        let (mut repository, now) = self.refreshed(kept.take(), now).await?;
        let (mut places, mut troubles) = (BTreeMap::new(), Vec::new());
        for wish in wishes {
            match self.bring_extension(&mut repository, wish, (shelf, now)).await {
                Ok(place) => {
                    places.insert(wish.name().to_owned(), place);
                }
                Err(error) => troubles.push(explain(&error)),
            }
        }
        *kept = Some(repository);
        Ok((places, troubles))
    }

    async fn bring_extension(
        &self,
        repository: &mut Repository,
        wish: &Wish,
        (shelf, now): (&Shelf, Timestamp),
    ) -> Result<Utf8PathBuf, ExtensionError> {
        let target = || wish.target();
        let found = repository.find(&target(), now).await;
        let found = found.map_err(|source| ExtensionError::Find { target: target(), source })?;
        let file = found.ok_or_else(|| ExtensionError::Missing { target: target() })?;
        let place = shelf.place(wish, &file.sha256);
        if place.is_file() {
            return Ok(place);
        }
        self.require_space(&target(), file.length.saturating_mul(2))?;
        tracing::info!("the extension `{}` is fetched", wish.name());
        let brought = repository.bring(&file, now).await;
        let path = brought.map_err(|source| ExtensionError::Bring { target: target(), source })?;
        let putting = {
            let (shelf, place) = (shelf.clone(), place.clone());
            tokio::task::spawn_blocking(move || shelf.put(&path, &place))
        };
        let put = putting.await.expect("copying does not panic");
        put.map_err(|source| ExtensionError::Put { target: target(), source })?;
        Ok(place)
    }
}

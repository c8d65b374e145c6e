//! Brings osquery's extensions: targets as any, of names that the server tells.

use std::{collections::BTreeMap, sync::PoisonError};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use update::{
    Component, Repository, UpdatePlatform,
    repository::{BringError, OfferError},
};

use super::{LookError, UpdateError, Updates, platform_of};
use crate::{
    complaints::explain,
    tasks::osqueryd::extensions::{Shelf, Wish},
    updater::clock::Judged,
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

/// What has come of bringing extensions.
#[derive(Debug, Default)]
pub struct Brought {
    /// Where programs are, by the extension's name. What cannot be had is missing.
    pub places: BTreeMap<String, Utf8PathBuf>,
    /// Whether one was put there that was not.
    pub is_new: bool,
    /// Why others are missing.
    pub troubles: Vec<String>,
}

/// What extensions run on here.
#[must_use]
pub const fn platform() -> UpdatePlatform {
    platform_of(Component::Orbit)
}

impl Updates {
    /// Has the programs of `wishes` on the shelf, as they are published, and tells where.
    pub async fn bring_extensions(
        &self,
        wishes: &[Wish],
        (shelf, now): (&Shelf, Option<Judged>),
    ) -> Result<Brought, LookError> {
        let mut kept = self.repository.lock().await;
        let ((mut repository, seal), now) = self.refreshed(kept.take(), now).await?;
        let (mut brought, mut begun) = (Brought::default(), Vec::new());
        for wish in wishes {
            let bringing = self.bring_extension(&mut repository, wish, (shelf, now), &mut begun);
            match bringing.await {
                Ok((place, is_new)) => {
                    brought.places.insert(wish.name().to_owned(), place);
                    brought.is_new |= is_new;
                }
                Err(error) => brought.troubles.push(explain(&error)),
            }
        }
        *kept = Some((repository, seal));
        *self.begun_extensions.lock().unwrap_or_else(PoisonError::into_inner) = begun;
        Ok(brought)
    }

    /// Tells where it is, and whether it was put there; what has come of a download that broke off is
    /// named in `begun`.
    async fn bring_extension(
        &self,
        repository: &mut Repository,
        wish: &Wish,
        (shelf, now): (&Shelf, Timestamp),
        begun: &mut Vec<String>,
    ) -> Result<(Utf8PathBuf, bool), ExtensionError> {
        let target = || wish.target();
        let found = repository.find(&target(), now).await;
        let found = found.map_err(|source| ExtensionError::Find { target: target(), source })?;
        let file = found.ok_or_else(|| ExtensionError::Missing { target: target() })?;
        let place = shelf.place(wish, &file.sha256);
        if place.is_file() {
            return Ok((place, false));
        }
        self.require_space(&target(), file.length.saturating_mul(2))?;
        tracing::info!("the extension `{}` is fetched", wish.name());
        let brought = repository.bring(&file, now).await;
        if brought.is_err() {
            begun.extend(repository.parts_of(&file, None, now).await);
        }
        let path = brought.map_err(|source| ExtensionError::Bring { target: target(), source })?;
        let putting = {
            let (shelf, place) = (shelf.clone(), place.clone());
            tokio::task::spawn_blocking(move || shelf.put(&path, &place))
        };
        let put = putting.await.expect("copying does not panic");
        put.map_err(|source| ExtensionError::Put { target: target(), source })?;
        Ok((place, true))
    }
}

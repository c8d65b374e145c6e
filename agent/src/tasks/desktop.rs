//! The desktop token, with which a device's user asks about the device: made here, told to the
//! server before it is written down, renewed once an hour.

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use wire::{
    DesktopToken, NodeKey,
    orbit::{DesktopTokenRequest, Empty},
    settings::files,
};

use crate::{
    complaints::explain,
    config::Config,
    desktop::Link,
    durable,
    identity::FileError,
    platform::{self, Readers},
    server::{RequestError, Server},
};

/// How old a token becomes.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// Keeps the token of one device young.
#[derive(Debug)]
pub struct Desktop {
    path: Utf8PathBuf,
}

/// Why the token is not renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    #[error("could not tell the server the desktop token")]
    Request(#[from] RequestError),
    #[error("could not keep the desktop token")]
    File(#[from] FileError),
}

impl Desktop {
    /// None where the package has no use for a token. Writes down where `fleet-desktop` is to ask.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        if !config.settings.fleet_desktop {
            return None;
        }
        if let Err(error) = Link::of(config).save(&config.root) {
            tracing::warn!("could not tell fleet-desktop of the server: {}", explain(&error));
        }
        Some(Self { path: config.root.join(files::DESKTOP_TOKEN) })
    }

    /// Renews the token if it is time. Called after the server has accepted `key`.
    pub async fn tend(&self, server: &Server, key: &NodeKey, now: Timestamp) {
        let user = platform::console_user().await;
        if !self.is_due(user, now) {
            return;
        }
        match self.renew(server, key, user).await {
            Ok(()) => tracing::debug!("the desktop token is renewed"),
            Err(error) => tracing::debug!("{}; will try again", explain(&error)),
        }
    }

    /// The token's age is the file's. One from the future belongs to a clock that was wrong. Whoever
    /// sits down gets another than who sat there before.
    fn is_due(&self, user: Option<u32>, now: Timestamp) -> bool {
        let written = self.path.metadata().and_then(|metadata| metadata.modified()).ok();
        let written = written.and_then(|time| Timestamp::try_from(time).ok());
        let young = written.is_some_and(|at| {
            let age = now.duration_since(at);
            age < LIFETIME && age > -SignedDuration::from_mins(1)
        });
        !young || platform::is_anothers(&self.path, user)
    }

    async fn renew(
        &self,
        server: &Server,
        key: &NodeKey,
        user: Option<u32>,
    ) -> Result<(), RenewError> {
        let token = Uuid::new_v4().to_string();
        let request = DesktopTokenRequest {
            orbit_node_key: key.clone(),
            device_auth_token: DesktopToken::new(token.clone()).expect("a UUID is a fine token"),
        };
        let Empty {} = server.post("device_token", &request).await?;
        durable::replace(&self.path, token.as_bytes(), Readers::User(user))
            .map_err(|source| FileError::Write { path: self.path.clone(), source })?;
        Ok(())
    }
}

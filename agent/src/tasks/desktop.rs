//! The desktop token, with which a device's user asks about the device: made here, told to the
//! server before it is written down, renewed once an hour, and when the server takes it no more.

use std::{
    fs, io,
    sync::{Mutex, PoisonError},
};

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use wire::{
    DesktopToken, NodeKey,
    orbit::{DesktopTokenRequest, DeviceSummary, Empty},
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

/// How often the server is asked whether it takes the token, give or take a tenth.
const ASK_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Keeps the token of one device young.
#[derive(Debug)]
pub struct Desktop {
    path: Utf8PathBuf,
    /// When the server is next asked whether it takes the token, if it has been asked.
    asks_at: Mutex<Option<Timestamp>>,
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
            // Icons that the system starts at sign-in are shown to whoever has it.
            let link = config.root.join(files::DESKTOP_LINK);
            if let Err(error) = fs::remove_file(&link)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("could not delete `{link}`: {error}");
            }
            return None;
        }
        if let Err(error) = Link::of(config).save(&config.root) {
            tracing::warn!("could not tell fleet-desktop of the server: {}", explain(&error));
        }
        let path = config.root.join(files::DESKTOP_TOKEN);
        Some(Self { path, asks_at: Mutex::default() })
    }

    /// Renews the token if it is time. Called after the server has accepted `key`.
    pub async fn tend(&self, server: &Server, key: &NodeKey, now: Timestamp) {
        let user = platform::console_user().await;
        if !self.is_due(user, now) && !self.is_refused(server, now).await {
            return;
        }
        match self.renew(server, key, user).await {
            Ok(()) => tracing::debug!("the desktop token is renewed"),
            Err(error) => {
                tracing::debug!("{}; will try again", explain(&error));
                *self.asks_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }

    /// Whether the server takes the token no more. It is asked once in a while only.
    async fn is_refused(&self, server: &Server, now: Timestamp) -> bool {
        if !self.asks(now) {
            return false;
        }
        let token = durable::read(&self.path).ok().flatten();
        let Some(token) = token.and_then(|text| DesktopToken::new(text).ok()) else { return true };
        let answer = server.get_of_device::<DeviceSummary>(&token, "desktop").await;
        matches!(answer, Err(RequestError::Unauthenticated))
    }

    /// Whether it is time to ask the server again; then the next time is set.
    fn asks(&self, now: Timestamp) -> bool {
        let mut asks_at = self.asks_at.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was put back keeps nothing waiting for longer.
        let waits = |at: Timestamp| now < at && at.duration_since(now) < ASK_EVERY * 2;
        if asks_at.is_some_and(waits) {
            return false;
        }
        let tenths = SignedDuration::from_secs(fastrand::i64(-30..=30));
        *asks_at = now.checked_add(ASK_EVERY + tenths).ok();
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_asked_about_every_five_minutes_whatever_the_clock_does() {
        let desktop = Desktop { path: Utf8PathBuf::new(), asks_at: Mutex::default() };
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        assert!(desktop.asks(at(10_000)));
        assert!(!desktop.asks(at(10_000)) && !desktop.asks(at(10_269)));
        assert!(desktop.asks(at(10_330)));
        assert!(!desktop.asks(at(10_330)));
        assert!(desktop.asks(at(1_000)), "the clock was put back");
        assert!(!desktop.asks(at(1_000)) && desktop.asks(at(90_000)));
    }
}

//! Trades the enroll secret for a node key.

use wire::{
    NodeKey,
    orbit::{DeviceIdentity, EnrollReply, EnrollRequest},
};

use crate::{
    device_key::{DeviceKey, MakeKeyError},
    machine::EnrollFailure,
    secrets::{ReadSecretError, Secrets},
    server::{RequestError, Server},
    vault::Vault,
};

/// Why there is no node key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    #[error("could not enroll")]
    Secret(#[from] ReadSecretError),
    #[error("could not enroll")]
    DeviceKey(#[from] MakeKeyError),
    #[error("could not enroll: the server refuses the enroll secret (status 401)")]
    SecretRefused,
    #[error("could not enroll")]
    Request(#[source] RequestError),
}

/// Shows the secret to the server, which answers with a node key. With a vault for it, this request and
/// those that follow are signed with a new key, which is in the vault before the server hears of it.
pub async fn enroll(
    server: &Server,
    (secrets, keys): (Secrets, Option<Vault>),
    device: DeviceIdentity,
) -> Result<NodeKey, EnrollError> {
    // A keystore may take its time.
    let prepared = tokio::task::spawn_blocking(move || {
        let key = keys.map(|vault| DeviceKey::make_in(&vault)).transpose()?;
        Ok::<_, EnrollError>((secrets.read()?, key))
    });
    let (secret, key) = prepared.await.expect("reading does not panic")?;
    let device_key = key.as_ref().map(DeviceKey::public);
    server.sign_with(key);
    let request = EnrollRequest { enroll_secret: secret, device_key, device };
    let reply: Result<EnrollReply, _> = server.post("enroll", &request).await;
    reply.map(|reply| reply.orbit_node_key).map_err(|error| {
        if matches!(error, RequestError::Unauthenticated) {
            EnrollError::SecretRefused
        } else {
            EnrollError::Request(error)
        }
    })
}

impl EnrollError {
    /// One word for each way to fail, for logs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Secret(_) => "no_secret",
            Self::DeviceKey(_) => "no_device_key",
            Self::SecretRefused => "secret_refused",
            Self::Request(error) => error.kind(),
        }
    }

    /// As much of it as decides on when to try again.
    #[must_use]
    pub const fn failure(&self) -> EnrollFailure {
        match self {
            Self::Secret(_) => EnrollFailure::NoSecret,
            Self::SecretRefused => EnrollFailure::SecretRefused,
            Self::Request(RequestError::NoSuchAddress { .. }) => EnrollFailure::NoSuchAddress,
            Self::Request(RequestError::Busy { after, .. }) => EnrollFailure::Busy(*after),
            Self::DeviceKey(_) | Self::Request(_) => EnrollFailure::Failed,
        }
    }
}

//! Trades the enroll secret for a node key.

use wire::{
    NodeKey,
    orbit::{DeviceIdentity, EnrollReply, EnrollRequest},
};

use crate::{
    complaints::explain,
    device_key::{DeviceKey, MakeKeyError},
    machine::EnrollFailure,
    platform::TpmError,
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
/// `hold` is dropped once the vault is left alone, even if nobody waits for the outcome any more.
pub async fn enroll(
    server: &Server,
    (secrets, keys): (Secrets, Option<Vault>),
    device: DeviceIdentity,
    hold: impl Send + 'static,
) -> Result<NodeKey, EnrollError> {
    let before = server.signer();
    // A keystore and a TPM may take their time.
    let prepared = tokio::task::spawn_blocking(move || {
        let _hold = hold;
        // Without a secret, the key that there is stays.
        let secret = secrets.read()?;
        let refused = before.as_ref().map(|key| key.holder());
        if let Some(key) = before.filter(|_| keys.is_some()) {
            key.rest();
        }
        let key = keys.map(|vault| DeviceKey::make_in(&vault, refused)).transpose()?;
        Ok::<_, EnrollError>((secret, key))
    });
    let (secret, new) = prepared.await.expect("reading does not panic")?;
    if let Some(error) = new.as_ref().and_then(|new| new.without_tpm.as_ref()) {
        tell(error);
    }
    let key = new.map(|new| new.key);
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

/// Says why the device's key is not its TPM's.
fn tell(error: &TpmError) {
    if error.is_absent() {
        tracing::info!("there is no TPM 2.0 to hold this device's key: the agent holds it itself");
    } else {
        tracing::warn!(
            "the TPM does not hold this device's key, the agent does so itself: {}",
            explain(error)
        );
    }
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

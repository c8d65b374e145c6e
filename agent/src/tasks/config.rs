//! Asks the server what it wants of this agent.

use wire::{
    NodeKey,
    orbit::{AgentConfig, ConfigRequest},
};

use crate::{
    VERSION,
    machine::FetchFailure,
    server::{RequestError, Server},
};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    #[error("the server does not accept the node key any more (status 401)")]
    KeyRejected,
    #[error("could not fetch the agent's configuration")]
    Request(#[source] RequestError),
}

/// Shows the node key to the server, which answers with configuration. `instance` names this run of
/// the agent, `osqueryd_renews` says whether osqueryd was started to enroll with that key.
pub async fn fetch(
    server: &Server,
    key: NodeKey,
    instance: &str,
    osqueryd_renews: bool,
) -> Result<AgentConfig, FetchError> {
    let request = ConfigRequest {
        orbit_node_key: key,
        orbit_version: Some(VERSION.to_owned()),
        instance: Some(instance.to_owned()),
        takes_node_key: true,
        osqueryd_renews,
    };
    server.post("config", &request).await.map_err(|error| {
        if matches!(error, RequestError::Unauthenticated) {
            FetchError::KeyRejected
        } else {
            FetchError::Request(error)
        }
    })
}

impl FetchError {
    /// One word for each way to fail, for logs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::KeyRejected => "key_rejected",
            Self::Request(error) => error.kind(),
        }
    }

    /// As much of it as decides on what to do.
    #[must_use]
    pub const fn failure(&self) -> FetchFailure {
        match self {
            Self::KeyRejected => FetchFailure::KeyRejected,
            Self::Request(RequestError::Busy { after, .. }) => FetchFailure::Busy(*after),
            Self::Request(_) => FetchFailure::Failed,
        }
    }
}

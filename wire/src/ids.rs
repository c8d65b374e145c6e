//! Names of things that the server keeps: UUIDs (version 7), one type for each kind, so that a
//! device's id cannot be passed where a team's is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// A device: an enrolled machine.
    DeviceId
}
id! {
    /// An organization: the tenant that everything else belongs to.
    OrgId
}
id! {
    /// A team: a part of an organization that devices are members of.
    TeamId
}
id! {
    /// A person who can sign in.
    UserId
}
id! {
    /// A session of a person who signed in.
    SessionId
}
id! {
    /// An API key, whatever its current value: the id survives rotation.
    ApiKeyId
}
id! {
    /// An invitation to an organization.
    InvitationId
}
id! {
    /// An enroll secret's row, not its value.
    EnrollSecretId
}

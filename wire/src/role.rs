//! Who may do what: roles and the permissions that they grant, in one table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A person's role in an organization. Each may do all that the next one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
    Owner,
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal from $role:ident,)*) => {
        /// One thing that may be allowed, written `resource:verb`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Permission {
            /// Every permission, sorted by its text.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The text, e.g. `devices:read`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The least role that grants it.
            #[must_use]
            pub const fn least_role(self) -> Role {
                match self { $(Self::$name => Role::$role),* }
            }
        }
    };
}

permissions! {
    /// See API keys, never their values.
    ApiKeysRead = "api_keys:read" from Admin,
    /// Create, rotate and revoke API keys. Never grantable to an API key.
    ApiKeysWrite = "api_keys:write" from Admin,
    /// Change what devices are told to do.
    DevicesConfigure = "devices:configure" from Operator,
    DevicesDelete = "devices:delete" from Admin,
    DevicesRead = "devices:read" from Viewer,
    DevicesWrite = "devices:write" from Admin,
    /// See enroll secrets' names and use, never their values.
    EnrollSecretsRead = "enroll_secrets:read" from Operator,
    EnrollSecretsWrite = "enroll_secrets:write" from Admin,
    /// Rename or delete the organization.
    OrganizationWrite = "organization:write" from Owner,
    TeamsRead = "teams:read" from Viewer,
    TeamsWrite = "teams:write" from Admin,
    TelemetryRead = "telemetry:read" from Viewer,
    UpdatesDeploy = "updates:deploy" from Operator,
    UsersRead = "users:read" from Admin,
    UsersWrite = "users:write" from Admin,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Owner];

    /// What this role may do, sorted by text. An owner's list names everything: there is no `*`.
    pub fn permissions(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.grants(*permission))
    }

    /// Whether this role may do what `permission` says.
    #[must_use]
    pub fn grants(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }

    /// `owner`, `admin`, `operator` or `viewer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// The text is none of the known names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{text}`; one of {}", .known.join(", "))]
pub struct UnknownName {
    what: &'static str,
    text: String,
    known: Vec<&'static str>,
}

impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        by_name("role", text, &Self::ALL, Self::as_str)
    }
}

impl FromStr for Permission {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        by_name("permission", text, Self::ALL, Self::as_str)
    }
}

fn by_name<T: Copy>(
    what: &'static str,
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, UnknownName> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| UnknownName {
        what,
        text: text.to_owned(),
        known: all.iter().copied().map(name).collect(),
    })
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_sorted_and_names_round_trip() {
        assert!(Permission::ALL.is_sorted_by_key(|permission| permission.as_str()));
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }

    #[test]
    fn a_viewer_only_reads() {
        assert!(
            Role::Viewer.permissions().all(|permission| permission.as_str().ends_with(":read"))
        );
        assert_eq!(Role::Owner.permissions().count(), Permission::ALL.len());
    }
}

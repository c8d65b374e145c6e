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
    /// See the audit trail.
    AuditRead = "audit:read" from Admin,
    /// See what the organization pays for.
    BillingRead = "billing:read" from Admin,
    /// Change what devices are told to do: their tags, and what follows from them.
    DevicesConfigure = "devices:configure" from Operator,
    /// Delete devices.
    DevicesDelete = "devices:delete" from Admin,
    DevicesRead = "devices:read" from Viewer,
    /// Approve of devices, reject and decommission them, which takes their keys.
    DevicesWrite = "devices:write" from Admin,
    /// See enroll secrets' names and use, never their values.
    EnrollSecretsRead = "enroll_secrets:read" from Operator,
    EnrollSecretsWrite = "enroll_secrets:write" from Admin,
    /// Rename or delete the organization.
    OrganizationWrite = "organization:write" from Owner,
    /// See custom roles.
    RolesRead = "roles:read" from Admin,
    /// Make, change and delete custom roles.
    RolesWrite = "roles:write" from Admin,
    TeamsRead = "teams:read" from Viewer,
    /// Make, rename and delete teams, and say who is in them with which role.
    TeamsWrite = "teams:write" from Admin,
    /// See what devices report.
    TelemetryRead = "telemetry:read" from Viewer,
    /// Decide which updates devices get.
    UpdatesDeploy = "updates:deploy" from Operator,
    /// Invite people.
    UsersInvite = "users:invite" from Admin,
    UsersRead = "users:read" from Admin,
    /// Add, change and remove people.
    UsersWrite = "users:write" from Admin,
}

/// The texts, which a derived schema does not see within a macro.
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Permission {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(Self::ALL.iter().map(|permission| permission.as_str())))
            .description(Some("One thing that may be allowed, written `resource:verb`."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Permission {
    fn name() -> std::borrow::Cow<'static, str> {
        "Permission".into()
    }
}

impl Permission {
    /// Whether a role in a team can grant it: it concerns what belongs to a team.
    #[must_use]
    pub const fn is_of_teams(self) -> bool {
        matches!(
            self,
            Self::DevicesConfigure
                | Self::DevicesDelete
                | Self::DevicesRead
                | Self::DevicesWrite
                | Self::EnrollSecretsRead
                | Self::EnrollSecretsWrite
                | Self::TeamsRead
                | Self::TelemetryRead
                | Self::UpdatesDeploy
        )
    }
}

/// What a role is called: one of [`Role`], or one that the organization made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z][a-z0-9_-]{0,39}$"))]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

impl RoleName {
    /// The role that every organization has, if it is one of those.
    #[must_use]
    pub fn built_in(&self) -> Option<Role> {
        self.0.parse().ok()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text cannot be what a role is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role's name has 1 to 40 of a-z, 0-9, `-` and `_`, and begins with a letter")]
pub struct RoleNameError;

impl FromStr for RoleName {
    type Err = RoleNameError;

    fn from_str(text: &str) -> Result<Self, RoleNameError> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if begins && text.len() <= 40 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RoleNameError)
        }
    }
}

impl TryFrom<String> for RoleName {
    type Error = RoleNameError;

    fn try_from(text: String) -> Result<Self, RoleNameError> {
        text.parse()
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        Self(role.as_str().to_owned())
    }
}

impl PartialEq<Role> for RoleName {
    fn eq(&self, role: &Role) -> bool {
        self.0 == role.as_str()
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Owner];

    /// What this role may do, sorted by text. An owner's list names everything: there is no `*`.
    pub fn permissions(self) -> impl Iterator<Item = Permission> + use<> {
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
    fn a_roles_name_is_short_and_plain() {
        for good in ["owner", "help-desk", "tier_2", "a"] {
            assert_eq!(good.parse::<RoleName>().unwrap().to_string(), good);
        }
        for bad in ["", "Owner", "2nd", "-x", "a b", "ä", "a\0", &"a".repeat(41)] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad:?}");
        }
        assert_eq!(RoleName::from(Role::Admin).built_in(), Some(Role::Admin));
        assert_eq!("help-desk".parse::<RoleName>().unwrap().built_in(), None);
    }

    #[test]
    fn a_viewer_only_reads() {
        assert!(
            Role::Viewer.permissions().all(|permission| permission.as_str().ends_with(":read"))
        );
        assert_eq!(Role::Owner.permissions().count(), Permission::ALL.len());
    }
}

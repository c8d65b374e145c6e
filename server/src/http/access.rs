//! What each route asks for: the table of routes, permissions and roles. `docs/permissions.md` is
//! made of it, and a test goes through it with every role; a route that it does not list fails that
//! test, so that none has a permission by default.
//!
//! It states what [`Fleet`](crate::Fleet) decides, who alone knows what a request is about.

use std::{collections::BTreeSet, fmt::Write as _, sync::LazyLock};

use wire::{Permission, Role};

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// An agent's key or token, in the body or the path.
    Agent,
    /// The path itself, which a person opens.
    Link,
    /// The token that the operator gave to a monitoring system.
    Monitoring,
    /// An access token or API key, of anybody.
    SignedIn,
    /// A permission in the organization.
    Needs(Permission),
    /// The same, or in the team of what is asked about.
    InTeam(Permission),
    /// A permission, of a person: an API key does not do.
    InPerson(Permission),
    /// A session: an API key does not do.
    Session,
}

use Access::{Agent, InPerson, InTeam, Link, Monitoring, Needs, Public, Session, SignedIn};
use Permission as P;

/// Method, path and what it asks for.
pub const ROUTES: &[(&str, &str, Access)] = &[
    ("POST", "/auth/register", Public),
    ("POST", "/auth/login", Public),
    ("POST", "/auth/refresh", Public),
    ("POST", "/auth/logout", Session),
    ("GET", "/auth/user", SignedIn),
    ("GET", "/check", SignedIn),
    ("POST", "/auth/step-up", Session),
    ("GET", "/auth/sessions", Session),
    ("DELETE", "/auth/sessions", Session),
    ("DELETE", "/auth/sessions/{id}", Session),
    ("POST", "/auth/revocations", Needs(P::UsersWrite)),
    ("GET", "/auth/device", Public),
    ("POST", "/auth/device", Public),
    ("POST", "/auth/device/code", Public),
    ("POST", "/auth/device/token", Public),
    ("POST", "/auth/device/approval", Session),
    ("GET", "/auth/device/{user_code}", Session),
    ("GET", "/auth/orgs", SignedIn),
    ("POST", "/auth/org/switch", Session),
    ("POST", "/auth/verify-email", Public),
    ("POST", "/auth/verify-email/resend", Public),
    ("POST", "/auth/forgot-password", Public),
    ("POST", "/auth/reset-password", Public),
    ("POST", "/auth/accept-invitation", Public),
    ("GET", "/auth/mailed/{deed}", Public),
    ("POST", "/auth/mailed/{deed}", Public),
    ("POST", "/auth/password", Session),
    ("POST", "/auth/email", Session),
    ("GET", "/invitations", Needs(P::UsersRead)),
    ("POST", "/invitations", Needs(P::UsersInvite)),
    ("DELETE", "/invitations/{id}", Needs(P::UsersInvite)),
    ("GET", "/users", Needs(P::UsersRead)),
    ("POST", "/users", Needs(P::UsersWrite)),
    ("GET", "/users/{id}", Needs(P::UsersRead)),
    ("PATCH", "/users/{id}", Needs(P::UsersWrite)),
    ("DELETE", "/users/{id}", Needs(P::UsersWrite)),
    ("GET", "/users/{id}/sessions", Needs(P::UsersRead)),
    ("GET", "/roles", Needs(P::RolesRead)),
    ("POST", "/roles", Needs(P::RolesWrite)),
    ("PATCH", "/roles/{name}", Needs(P::RolesWrite)),
    ("DELETE", "/roles/{name}", Needs(P::RolesWrite)),
    ("GET", "/teams", InTeam(P::TeamsRead)),
    ("POST", "/teams", Needs(P::TeamsWrite)),
    ("GET", "/teams/{id}", InTeam(P::TeamsRead)),
    ("PATCH", "/teams/{id}", Needs(P::TeamsWrite)),
    ("DELETE", "/teams/{id}", Needs(P::TeamsWrite)),
    ("GET", "/teams/{id}/members", Needs(P::UsersRead)),
    ("PUT", "/teams/{id}/members/{user_id}", Needs(P::TeamsWrite)),
    ("DELETE", "/teams/{id}/members/{user_id}", Needs(P::TeamsWrite)),
    ("GET", "/api-keys", InPerson(P::ApiKeysRead)),
    ("POST", "/api-keys", InPerson(P::ApiKeysWrite)),
    ("GET", "/api-keys/{id}", InPerson(P::ApiKeysRead)),
    ("DELETE", "/api-keys/{id}", InPerson(P::ApiKeysWrite)),
    ("POST", "/api-keys/{id}/rotate", InPerson(P::ApiKeysWrite)),
    ("GET", "/enroll-secrets", InTeam(P::EnrollSecretsRead)),
    ("POST", "/enroll-secrets", InTeam(P::EnrollSecretsWrite)),
    ("GET", "/enroll-secrets/{id}", InTeam(P::EnrollSecretsRead)),
    ("DELETE", "/enroll-secrets/{id}", InTeam(P::EnrollSecretsWrite)),
    ("GET", "/devices", InTeam(P::DevicesRead)),
    ("GET", "/devices/metrics", InTeam(P::TelemetryRead)),
    ("GET", "/devices/{id}", InTeam(P::DevicesRead)),
    ("PATCH", "/devices/{id}", InTeam(P::DevicesConfigure)),
    ("POST", "/devices/decommission", InTeam(P::DevicesWrite)),
    ("POST", "/devices/update-channels", InTeam(P::UpdatesDeploy)),
    ("POST", "/devices/{id}/refetch", InTeam(P::DevicesConfigure)),
    ("DELETE", "/devices/{id}", InTeam(P::DevicesDelete)),
    ("GET", "/organization", SignedIn),
    ("PATCH", "/organization", Needs(P::OrganizationWrite)),
    ("DELETE", "/organization", InPerson(P::OrganizationWrite)),
    ("GET", "/billing", Needs(P::BillingRead)),
    ("GET", "/audit", Needs(P::AuditRead)),
    ("GET", "/audit/head", Needs(P::AuditRead)),
    ("GET", "/audit/export", Needs(P::AuditRead)),
    ("GET", "/health/live", Public),
    ("GET", "/health/ready", Public),
    ("GET", "/metrics", Monitoring),
    ("GET", "/openapi.json", Public),
    ("GET", "/.well-known/jwks.json", Public),
    ("GET", "/problems/{name}", Public),
    ("GET", "/updates/{path}", Public),
    ("GET", "/api/latest/fleet/device/{token}/desktop", Agent),
    ("GET", "/device/{token}", Link),
    ("GET", "/api/device/connect", Agent),
    ("GET", "/api/fleet/orbit/ping", Public),
    ("POST", "/api/fleet/orbit/enroll", Agent),
    ("POST", "/api/fleet/orbit/config", Agent),
    ("POST", "/api/fleet/orbit/token", Agent),
    ("POST", "/api/fleet/orbit/device_token", Agent),
    ("POST", "/api/fleet/orbit/updates", Agent),
    ("POST", "/api/osquery/enroll", Agent),
    ("POST", "/api/osquery/config", Agent),
    ("POST", "/api/osquery/distributed/read", Agent),
    ("POST", "/api/osquery/distributed/write", Agent),
    ("POST", "/api/osquery/log", Agent),
    ("POST", "/api/v1/osquery/enroll", Agent),
    ("POST", "/api/v1/osquery/config", Agent),
    ("POST", "/api/v1/osquery/distributed/read", Agent),
    ("POST", "/api/v1/osquery/distributed/write", Agent),
    ("POST", "/api/v1/osquery/log", Agent),
];

/// The path of the table that the router calls `matched`: what a stranger writes makes no other.
#[must_use]
pub fn route_of(matched: &str) -> Option<&'static str> {
    static PATHS: LazyLock<BTreeSet<&'static str>> =
        LazyLock::new(|| ROUTES.iter().map(|(_, path, _)| *path).collect());
    let known = PATHS.get(matched).copied();
    known.or_else(|| PATHS.get(matched.replace("{*", "{").as_str()).copied())
}

impl Access {
    /// Whether a person with `role` in the organization has what it asks for; `None` where it is
    /// not about people.
    #[must_use]
    pub fn admits(self, role: Role) -> Option<bool> {
        match self {
            Public | Agent | Link | Monitoring => None,
            SignedIn | Session => Some(true),
            Needs(permission) | InTeam(permission) | InPerson(permission) => {
                Some(role.grants(permission))
            }
        }
    }

    fn told(self) -> String {
        match self {
            Public => "nothing".to_owned(),
            Agent => "the device's key".to_owned(),
            Link => "the link".to_owned(),
            Monitoring => "`metrics.token` of the configuration".to_owned(),
            SignedIn => "an access token or an API key".to_owned(),
            Session => "an access token".to_owned(),
            Needs(permission) => format!("`{permission}`"),
            InTeam(permission) => format!("`{permission}`, in the team at least"),
            InPerson(permission) => format!("`{permission}`, not by an API key"),
        }
    }
}

/// `docs/permissions.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Roles, permissions and routes\n\nEvery organization has four roles. It may make others of \
         the same permissions (`fleetctl roles create`), and give people roles in teams, which count \
         beside the one in the organization and for what belongs to the team alone. Nobody grants \
         more than they may do themselves. A person's API key may do what its \
         scopes and its creator both allow, a service's (`sk`) what its scopes allow, whatever becomes \
         of its creator; none manages keys. `PATCH /devices/{id}` asks for `devices:configure` for tags, \
         for `devices:write` for a state, and for `updates:deploy` for channels.\n\n| permission | owner | admin | operator | viewer | in teams |\n\
         |---|---|---|---|---|---|\n",
    );
    for permission in Permission::ALL {
        let mark = |yes: bool| if yes { "yes" } else { "" };
        let roles: Vec<_> =
            Role::ALL.iter().rev().map(|role| mark(role.grants(*permission))).collect();
        let teams = mark(permission.is_of_teams());
        let _ = writeln!(page, "| `{permission}` | {} | {teams} |", roles.join(" | "));
    }
    page.push_str("\n| route | asks for |\n|---|---|\n");
    for (method, path, access) in ROUTES {
        let _ = writeln!(page, "| `{method} {path}` | {} |", access.told());
    }
    page
}

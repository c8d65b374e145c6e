//! What crosses a process boundary: between agent and server, between `fleetctl` and server, and
//! between the package on a device's disk and the agent that it starts.
//!
//! - [`ids`] names things: [`DeviceId`], [`OrgId`], …
//! - [`secret`] holds what must never be printed: [`EnrollSecret`], [`NodeKey`], …
//! - [`orbit`] and [`osquery`] are the agent endpoints, compatible with Fleet's.
//! - [`api`] is the JSON interface that people and scripts use; [`audit`] is its trail of events.
//! - [`role`] lists roles and the permissions that they grant.
//! - [`settings`] is what a package tells the agent, as `ORBIT_*` variables.
//! - [`signature`] is how devices sign what they ask.
//! - [`updates`] is the folder of updates that the server publishes.
//! - [`envfile`] writes and reads those variables as systemd does.
//!
//! **Invariant:** no I/O, no clock, no randomness; nothing of ours is imported.

/// The version of this build: that of the release or development build it was made for, which
/// whoever builds says with the variable `FLEETD_VERSION`; else Cargo's.
pub const VERSION: &str = match option_env!("FLEETD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

pub mod api;
pub mod audit;
pub mod envfile;
pub mod ids;
pub mod orbit;
pub mod osquery;
pub mod path;
pub mod role;
pub mod secret;
pub mod settings;
pub mod signature;
pub mod updates;

pub use ids::{ApiKeyId, DeviceId, EnrollSecretId, InvitationId, OrgId, SessionId, TeamId, UserId};
pub use role::{Permission, Role, RoleName};
pub use secret::{DesktopToken, EnrollSecret, NodeKey, OsqueryNodeKey};
pub use settings::{AgentSettings, HostIdentifier};

//! The JSON interface for people and scripts, a file a noun. Each handler unpacks, calls one
//! [`Fleet`](crate::Fleet) method, and wraps.

pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod device_login;
pub mod devices;
pub mod enroll_secrets;
pub mod invitations;
pub mod mailed;
pub mod organization;
pub mod roles;
pub mod server;
pub mod sessions;
pub mod team_members;
pub mod teams;
pub mod users;

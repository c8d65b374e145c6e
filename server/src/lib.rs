//! `fleet-server`: admits devices and people, and answers their agents, browsers and scripts.
//!
//! - [`config`] is what an operator may set.
//! - [`fleet`] is everything the server can do, with no word of HTTP; its `store` holds the SQL.
//! - [`http`] gives it routes, status codes and problems.
//! - [`clock`] tells the time, and lets tests tell it.
//! - `bucket` is read for those who ask for updates.
//! - [`serve`] binds, and stops gracefully; `tls` is about certificates; [`health`] asks whether it does its work.
//! - [`certificate`] makes a private CA for trial use.
//!
//! ```text
//! request ─▶ route (http.rs) ─▶ extractors (who? what?) ─▶ Fleet method (may they? do it) ─▶ Store method (SQL) ─▶ Json
//! ```
//!
//! **Invariant:** `http` cannot reach the store, and `fleet` knows nothing of HTTP.

mod bucket;
pub mod certificate;
pub mod clock;
pub mod config;
pub mod fleet;
pub mod health;
pub mod http;
pub mod serve;
mod tls;

pub use self::{bucket::BucketError, clock::Clock, config::Config, fleet::Fleet, http::app};

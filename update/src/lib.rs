//! Components of fleetd as targets of a TUF repository: fetched, verified, kept, published.
//!
//! - [`names`]: components, platforms, channels, and the target names made of them
//! - [`component`]: what fetching gives, and how it tells of its progress
//! - [`repository`]: components from a TUF repository, verified and kept in a cache
//! - [`connection`]: how the repository's server is reached
//! - [`local`]: components from a directory of files
//! - [`keys`]: signing keys as encrypted files
//! - [`editor`]: making and changing a repository

mod cache;
pub mod component;
pub mod connection;
mod disk;
pub mod editor;
pub mod keys;
pub mod local;
pub mod names;
pub mod repository;
mod store;
mod transport;
mod verify;

pub use component::{FetchedComponent, Progress};
pub use connection::Connection;
pub use editor::{Addition, Editor, Expiries, init};
pub use keys::{KeyDir, Passphrase, SigningKey, TufRole};
pub use local::LocalComponents;
pub use names::{Channel, Component, TargetName, UpdatePlatform};
pub use repository::{Location, Repository, RepositoryConfig};

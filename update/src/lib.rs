//! Components of fleetd as targets of a TUF repository: fetched, verified, kept, published.
//!
//! - [`names`]: components, platforms, channels, and the target names made of them
//! - [`component`]: what fetching gives, and how it tells of its progress
//! - [`release`]: what a channel's release manifest says
//! - [`repository`]: components from a TUF repository, verified and kept in a cache
//! - [`connection`]: how the repository's server is reached
//! - [`local`]: components from a directory of files
//! - [`keys`]: signing keys as encrypted files
//! - [`audit`]: checking a repository whole, as its readers do
//! - [`editor`]: making and changing a repository

pub mod audit;
mod cache;
pub mod component;
pub mod connection;
mod disk;
pub mod editor;
pub mod keys;
pub mod local;
pub mod names;
mod patch;
#[cfg(all(debug_assertions, unix))]
#[doc(hidden)]
pub mod power;
#[cfg(not(all(debug_assertions, unix)))]
mod power;
pub mod release;
pub mod repository;
mod store;
mod transport;
mod verify;

pub use component::{FetchedComponent, Progress};
pub use connection::Connection;
pub use editor::{Addition, Edit, Editor, Expiries, Founding, Promotion, Terms, init};
pub use keys::{KeyDir, KeyName, Passphrase, PublicKey, SigningKey, TufRole};
pub use local::LocalComponents;
pub use names::{
    Channel, Component, ExtensionName, Program, ProgramTarget, TargetName, UpdatePlatform,
};
pub use repository::{Location, Repository, RepositoryConfig};

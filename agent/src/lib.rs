//! The agent, `orbit`: it enrolls this device, keeps its node key, and keeps osqueryd running.
//!
//! - [`config`] reads what the package and the administrator set.
//! - [`machine`] decides, and does nothing; [`driver`] does, and decides nothing.
//! - [`tasks`] are the things done: [`tasks::enroll`], [`tasks::config`], [`tasks::osqueryd`],
//!   [`tasks::updates`].
//! - [`updater`] knows what is installed, what is on trial, and what is not tried again.
//! - [`server`] speaks HTTPS with the server, [`trust`] knows who that is; [`proxy`] knows when
//!   through a proxy.
//! - [`identity`] is who this device is; [`durable`] writes files whole.
//! - [`vault`] keeps secrets, in the system's keystore where it can; [`secrets`] knows which enroll
//!   secret counts.
//! - [`device_key`] is what the device signs its requests with.
//! - [`installer`] is what packages of Windows and macOS have it do.
//! - [`status`] is what `orbit status` tells, [`doctor`] what `orbit doctor` finds.
//! - [`desktop`] is what `fleet-desktop` does for the device's user, without any rights; its icon is
//!   [`desktop::tray`].
//! - [`platform`] is all that differs between systems.
//! - [`log`] sets up messages, [`complaints`] keeps them few.
//!
//! **Invariant:** only [`config`] reads the environment, and only [`driver`] the clock.

pub mod complaints;
pub mod config;
pub mod desktop;
pub mod device_key;
pub mod doctor;
pub mod driver;
pub mod durable;
pub mod identity;
pub mod installer;
pub mod log;
pub mod machine;
pub mod platform;
pub mod proxy;
pub mod secrets;
pub mod server;
pub mod status;
pub mod tasks;
pub mod trust;
pub mod updater;
pub mod vault;

pub use wire::VERSION;

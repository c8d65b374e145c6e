//! What the packages are, read back with the tools that will read them on devices.

mod deb;
mod environment;
mod fixture;
mod layout;
mod lint;
mod reproducible;
mod rpm;
mod spec;

//! What the packages are, read back with the tools that will read them on devices.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod authenticode;
mod below;
mod deb;
mod environment;
mod fixture;
mod image;
mod layout;
mod linked;
mod lint;
mod macho;
mod memory;
mod msi;
mod openpgp;
mod payload;
mod pkg;
mod pki;
mod product;
mod read;
mod repository;
mod reproducible;
mod rpm;
mod spec;
mod trees;

//! Kinds of installers. Each has a file here and owns its options, so a new one edits no type of
//! another.
//!
//! Signing is done after the fact, so keys never meet layout: a deb gets a member appended, an rpm
//! its signature header rewritten, an msi a stream, a pkg its table of contents. Each format
//! writes its unsigned form with the place for that kept free ([`rpm`] and [`pkg`] say where), and gains a
//! method that copies an unsigned package and adds the signature, next to [`Format::write`].

pub mod deb;
pub mod msi;
pub mod pkg;
pub mod rpm;

use std::{
    fmt,
    io::{Seek, Write},
};

use crate::{
    error::BuildError,
    package::{Metadata, Package},
    tree::FileTree,
};

/// A place to write a package to. Sizes and digests at the front are filled in at the end.
pub trait WriteSeek: Write + Seek + Send {}

impl<T: Write + Seek + Send> WriteSeek for T {}

/// Hears how many more bytes of a package's files have been read. Called from one thread at a time.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// A kind of installer.
pub trait Format: fmt::Debug + Send + Sync {
    /// What it is called: `deb`, `rpm`. Also how its files end.
    fn name(&self) -> &'static str;

    /// What the format calls the package's architecture: `amd64`, `x86_64`.
    fn arch(&self, metadata: &Metadata) -> &'static str;

    /// The conventional name, e.g. `fleetd_1.2.3_amd64.deb`.
    fn file_name(&self, metadata: &Metadata) -> String;

    /// What [`Format::write`] writes: the package's files, and beside them the documents that this
    /// format's systems expect, if any.
    fn tree(&self, package: &Package) -> FileTree {
        package.tree.clone()
    }

    /// Writes the unsigned package. The same package gives the same bytes.
    fn write(
        &self,
        package: &Package,
        out: &mut dyn WriteSeek,
        progress: Progress<'_>,
    ) -> Result<(), BuildError>;
}

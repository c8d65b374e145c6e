//! Kinds of installers. Each has a file here and owns its options, so a new one edits no type of
//! another.
//!
//! Signing is done after the fact, so keys never meet layout: a deb gets a member appended, an rpm
//! its signature header rewritten, an msi a stream, a pkg its table of contents. Each format
//! writes its unsigned form with the place for that kept free ([`rpm`] and [`pkg`] say where), and copies
//! an unsigned package with its [`Signature`] added.

pub mod deb;
pub mod msi;
pub mod pkg;
pub mod rpm;

use std::{
    fmt,
    io::{Read, Seek, Write},
};

use crate::{
    error::BuildError,
    package::{Metadata, Package},
    sign::{Keys, SignError},
    tree::FileTree,
};

/// A place to write a package to. Sizes and digests at the front are filled in at the end.
pub trait WriteSeek: Write + Seek + Send {}

impl<T: Write + Seek + Send> WriteSeek for T {}

/// A package to be read, from any place in it.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

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

    /// The signature that `keys` give packages of this format; None if none of them is for it.
    fn signature<'k>(&self, keys: &'k Keys) -> Option<Signature<'k>>;
}

/// What a key adds to packages of one format.
pub struct Signature<'k> {
    /// Whose it is: the fingerprint of the key or of its certificate, in hexadecimal.
    pub signer: String,
    add: Box<Add<'k>>,
}

type Add<'k> = dyn Fn(&mut dyn ReadSeek, &mut dyn WriteSeek) -> Result<(), SignError> + 'k;

impl<'k> Signature<'k> {
    fn new(
        signer: String,
        add: impl Fn(&mut dyn ReadSeek, &mut dyn WriteSeek) -> Result<(), SignError> + 'k,
    ) -> Self {
        Self { signer, add: Box::new(add) }
    }

    /// Copies the package `unsigned` to `out`, which is empty and stands at its start, with the
    /// signature added. The same package and key give the same bytes wherever the kind of signature
    /// has no time or chance in it.
    pub fn add(
        &self,
        unsigned: &mut dyn ReadSeek,
        out: &mut dyn WriteSeek,
    ) -> Result<(), SignError> {
        (self.add)(unsigned, out)
    }
}

impl fmt::Debug for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signature").field(&self.signer).finish()
    }
}

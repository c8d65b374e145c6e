//! Packages of the fleetd agent: a spec and binaries in, installers out.
//!
//! ```text
//! Draft ──try_from──▶ PackageSpec ─┐
//!                                  ├─ assemble ──▶ Package ── build ──▶ bytes of a .deb, an .rpm, …
//! binaries ──────────▶ Payload ────┘    (pure)               (I/O)
//! ```
//!
//! - [`spec`]: what the user wants, free of contradictions.
//! - [`payload`]: the binaries that go in, with their versions.
//! - [`tree`]: what will be on the device's disk.
//! - [`package`]: a tree with a name and a life cycle. Knows no format.
//! - [`product`]: our own programs as packages and as a container image.
//! - [`image`]: container images.
//! - [`layout`]: spec and payload to tree, one file an operating system.
//! - [`template`]: the only reader of `templates/`, a typed struct for each.
//! - [`format`](mod@format): kinds of installers, one file each.
//! - [`compression`]: how a format's members are squeezed, on all cores, always to the same bytes.
//! - [`repository`]: signed repositories of packages, for apt and dnf.
//! - [`sign`]: keys that sign packages.
//! - [`read`]: installers read back: inspected, verified, compared.
//! - [`archive`]: containers that have never heard of packages.
//! - [`error`]: what can go wrong, an enum for each step.
//!
//! **Invariant:** the same spec, payload and date give the same bytes, whatever the directory,
//! umask, clock, user or number of cores. Nothing here asks the clock, the environment or the
//! network.

pub mod error;
pub mod format;
pub mod image;
pub mod package;
pub mod payload;
pub mod product;
pub mod read;
pub mod repository;
pub mod sign;
pub mod spec;
pub mod tree;

mod archive;
pub mod compression;
mod feed;
mod hashing;
mod layout;
mod tarball;
mod template;

pub use compression::Compression;
pub use error::{AssembleError, BuildError, PayloadError, SpecError, SpecErrors};
pub use format::{Format, Progress, ReadSeek, WriteSeek};
pub use package::{Metadata, Package, SourceDate};
pub use payload::{Component, ComponentKind, Payload, Platform, Program};
pub use spec::{Draft, PackageSpec};
pub use tree::FileTree;

/// Lays out `spec` and `payload` as a package. Pure: no I/O, no clock, no environment.
///
/// `built_at` is the newest date that anything in the package carries.
pub fn assemble(
    spec: &PackageSpec,
    payload: &Payload,
    built_at: SourceDate,
) -> Result<Package, AssembleError> {
    match payload.platform().os {
        payload::Os::Linux => layout::linux::assemble(spec, payload, built_at),
        payload::Os::Macos => layout::macos::assemble(spec, payload, built_at),
        payload::Os::Windows => layout::windows::assemble(spec, payload, built_at),
    }
}

/// Writes `package` to `out`, which is empty and stands at its start. `progress` hears of every
/// chunk of the files that has been read; the size of [`Format::tree`] is what its calls add up to.
pub fn build(
    package: &Package,
    format: &dyn Format,
    out: &mut dyn WriteSeek,
    progress: Progress<'_>,
) -> Result<(), BuildError> {
    format.write(package, out, progress)
}

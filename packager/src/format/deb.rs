//! The .deb writer.

use crate::{
    compression::{Algorithm, Compression},
    error::BuildError,
    format::{Format, Progress, WriteSeek},
    package::{Metadata, Package},
};

/// The options of a .deb.
#[derive(Debug, Clone)]
pub struct Deb {
    pub compression: Compression,
}

impl Default for Deb {
    fn default() -> Self {
        Self { compression: Compression::of(Algorithm::Zstd) }
    }
}

impl Format for Deb {
    fn name(&self) -> &'static str {
        "deb"
    }

    fn file_name(&self, metadata: &Metadata) -> String {
        format!("{}_{}.deb", metadata.name, metadata.version)
    }

    fn write(
        &self,
        _package: &Package,
        _out: &mut dyn WriteSeek,
        _progress: Progress<'_>,
    ) -> Result<(), BuildError> {
        Err(BuildError::Write(std::io::ErrorKind::Unsupported.into()))
    }
}

//! The .rpm writer.

use crate::{
    compression::{Algorithm, Compression},
    error::BuildError,
    format::{Format, Progress, WriteSeek},
    package::{Metadata, Package},
};

/// The options of a .rpm.
#[derive(Debug, Clone)]
pub struct Rpm {
    pub compression: Compression,
}

impl Default for Rpm {
    fn default() -> Self {
        Self { compression: Compression::of(Algorithm::Zstd) }
    }
}

impl Format for Rpm {
    fn name(&self) -> &'static str {
        "rpm"
    }

    fn file_name(&self, metadata: &Metadata) -> String {
        format!("{}_{}.rpm", metadata.name, metadata.version)
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

//! Where things are on macOS.

use crate::{
    error::AssembleError,
    package::{Package, SourceDate},
    payload::Payload,
    spec::PackageSpec,
};

pub(crate) fn assemble(
    _spec: &PackageSpec,
    payload: &Payload,
    _built_at: SourceDate,
) -> Result<Package, AssembleError> {
    Err(AssembleError::NoLayout { os: payload.platform().os })
}

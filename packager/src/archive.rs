//! Containers that have never heard of packages.

pub(crate) mod ar;
pub(crate) mod cpio;
pub(crate) mod tar;

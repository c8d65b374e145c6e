//! Containers that have never heard of packages.

pub(crate) mod ar;
pub(crate) mod bom;
pub(crate) mod cab;
pub(crate) mod cfb;
pub(crate) mod cpio;
pub(crate) mod sections;
pub(crate) mod tar;
pub(crate) mod xar;

//! From spec and payload to package, one file an operating system. Pure.

pub(crate) mod linux;
pub(crate) mod macos;
pub(crate) mod windows;

//! From spec and payload to package, one file an operating system. Pure.

pub(crate) mod linux;
pub(crate) mod macos;
mod root;
pub(crate) mod windows;

//! What the packages are, read back with the tools that will read them on devices.

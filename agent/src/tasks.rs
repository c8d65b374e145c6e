//! How each of the machine's actions is done.

pub mod config;
pub mod desktop;
pub mod enroll;
pub mod osqueryd;
pub mod tray;
pub mod updates;

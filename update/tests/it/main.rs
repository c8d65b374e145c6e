//! What the library promises, checked from outside and with other people's TUF clients.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod attacks;
mod client;
mod fixture;
mod interop;
mod keys;
mod local;
mod names;
mod publishing;
mod python;
mod server;
mod tls;

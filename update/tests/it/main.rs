//! What the library promises, checked from outside and with other people's TUF clients.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod attacks;
mod changes;
mod client;
mod clients;
mod compressed;
mod fixture;
mod interop;
mod javascript;
mod keys;
mod local;
mod migrate;
mod mirror;
mod names;
mod patches;
mod polling;
mod power;
mod publishing;
mod python;
mod release;
mod roles;
mod server;
mod staged;
mod tls;
mod tools;
mod variants;
mod work;

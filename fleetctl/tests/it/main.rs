//! `fleetctl` as a user runs it: a process, its output, its exit code, the files it leaves.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod audit;
mod bill;
mod bucket;
mod contexts;
mod debug;
mod devices;
mod environment;
mod flags;
mod generate;
mod limits;
#[path = "../../../packager/tests/it/macho/program.rs"]
mod macho;
mod mistakes;
mod notarize;
mod openpgp;
mod orgs;
mod package;
mod reading;
mod run;
mod served;
mod server;
mod session;
mod sessions;
mod sheet;
mod signers;
mod signing;
mod tokens;
mod transcripts;
mod updates;
mod verify_release;

//! The server's tests: through its router as the network sees it, on SQLite and on a PostgreSQL
//! that the harness starts; and the real binary where a process matters.

#![expect(clippy::unwrap_used, reason = "in a test, it is an assertion")]

mod beside;
mod harness;
#[path = "../../../fleetctl/tests/it/bucket/seaweedfs.rs"]
mod seaweedfs;
#[path = "../../../update/tests/it/tools.rs"]
mod tools;

mod accounts;
mod addresses;
mod agents;
mod api_keys;
mod audit;
mod bad_input;
mod binary;
mod breaches;
mod certificates;
mod command_line;
mod configuration;
mod crash;
mod crash_sessions;
mod deadlocks;
mod deploying;
mod device_keys;
mod device_login;
mod device_states;
mod devices;
mod documents;
mod enroll;
mod jose;
mod limits;
mod mail;
mod mailed;
mod management;
mod metrics;
mod migration;
mod newer;
mod osquery;
mod outages;
mod places;
mod postgres;
mod roles;
mod secrecy;
mod session_life;
mod sessions;
mod setup;
mod signatures;
mod step_up;
mod tenancy;
mod tokens;
mod update_bucket;
mod updates;
mod verifiers;

//! Tests of the agent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../../server/tests/it/beside.rs"]
mod beside;
mod device;
mod fleet;

/// With an osqueryd that speaks osquery's TLS API.
mod by_the_book;
/// Device identity: copied disks, changed servers, instances.
mod clone;
/// The desktop token, and `fleet-desktop` that shows it.
mod desktop;
/// The device's own key, and what is signed with it.
mod device_key;
/// What `orbit doctor` finds, and `orbit reset-identity`.
mod doctor;
/// What every fault of server and network leads to.
mod faults;
/// Secrets at rest: systemd-creds, TPMs, and packages that bring old secrets back.
mod keystore;
/// `kill -9` at any moment of enrolling.
mod kill;
/// Settings that come late, and that change.
mod late;
/// osqueryd's arguments, environment, crashes and end.
mod osqueryd;
/// The `orbit` program as the service manager and people see it.
mod program;
/// `fleet-desktop` in the session of whoever sits at the device.
mod session;
/// Where settings come from and which wins.
mod settings;
/// Events in, actions out.
mod story;
/// The device's own key in a TPM.
mod tpm;
/// The icon that `fleet-desktop` shows.
mod tray;
/// Forward proxies.
mod tunnel;
/// Updates of the agent and what it starts.
mod updates;
/// A random walk of the state machine.
mod walk;

//! Whether a program runs here: what is held against it, and what is not.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use agent::{
    config::{Config, Sources},
    tasks::updates::{Probe, ProbeError},
};
use camino::Utf8PathBuf;
use tempfile::TempDir;
use update::Component;
use wire::settings::vars;

use super::{
    mirrors::{device_of, staged},
    releases::Releases,
};
use crate::{device::until, fleet::Fleet};

/// What comes of trying a program with this content.
async fn tried(content: &[u8]) -> Result<(), ProbeError> {
    let dir = TempDir::with_prefix("probe-").unwrap();
    let program = Utf8PathBuf::from_path_buf(dir.path().join("orbit")).unwrap();
    fs::write(&program, content).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Probe::default().run(Component::Orbit, &program).await
}

#[tokio::test]
async fn what_cannot_run_here_is_final() {
    let contents: [&[u8]; 5] = [
        b"#!/bin/sh\nexit 1\n",
        b"#!/bin/sh\nkill -SEGV $$\n",
        b"#!/nowhere/sh\nexit 0\n",
        b"\x7fELF, but no more of it",
        b"#!/bin/sh\ntest $1 = version\n",
    ];
    for content in contents {
        let error = tried(content).await.unwrap_err();
        assert!(error.is_final(), "{error:?} of {}", String::from_utf8_lossy(content));
    }
    tried(b"#!/bin/sh\nexit 0\n").await.unwrap();
}

/// A device that is short of memory, or shutting down, says nothing about a program.
#[tokio::test]
async fn what_somebody_has_ended_may_be_tried_again() {
    for signal in ["KILL", "TERM"] {
        let script = format!("#!/bin/sh\nkill -{signal} $$\n");
        let error = tried(script.as_bytes()).await.unwrap_err();
        assert!(!error.is_final(), "{error:?}");
    }
    let busy = std::io::Error::from(std::io::ErrorKind::ExecutableFileBusy);
    let program = || "orbit".to_owned();
    let busy = ProbeError::Start { program: program(), argument: "version", source: busy };
    assert!(!busy.is_final());
    assert!(!ProbeError::Hangs { program: program(), argument: "version" }.is_final());
}

#[tokio::test]
async fn a_program_that_talks_too_much_is_heard_to_its_end_and_quoted_briefly() {
    let error = tried(b"#!/bin/sh\nyes word | tr -d '\\n' | head -c 9999999 >&2\nexit 3\n").await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("(exit status: 3): wordword"), "{}", &error[..200]);
    assert!(error.len() < 5_000, "{} bytes", error.len());
}

/// The agent of this test has its settings from elsewhere than this process's environment, like one that
/// was configured after its start.
#[tokio::test]
async fn a_new_version_is_tried_with_the_settings_that_count() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    let program = format!("#!/bin/sh\ntest \"${}\" = {}\n", vars::FLEET_URL, fleet.url());
    releases.publish(Component::Orbit, "9.9.9", program.as_bytes());
    let device = device_of(&fleet, &releases);
    device.run(async |_| until(|| staged(&device, "orbit", "9.9.9")).await).await;
}

#[test]
fn what_a_new_version_is_tried_with_is_what_counts_and_shows_no_secret() {
    let map = |pairs: [(&str, &str); 3]| -> BTreeMap<String, String> {
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    let (url, secret, debug) = (vars::FLEET_URL, vars::ENROLL_SECRET, vars::DEBUG);
    let sources = Sources {
        flags: [(debug, "true".to_owned())].into(),
        environment: map([(url, "https://new.example"), (secret, ""), (debug, "false")]),
        file: map([(url, "https://old.example"), (secret, "s3cret"), ("OWN", "x")]),
        ..Sources::default()
    };
    let config = Config::read(&sources).unwrap();
    let mut expected = map([(url, "https://new.example"), (secret, "s3cret"), (debug, "true")]);
    expected.insert("OWN".to_owned(), "x".to_owned());
    assert_eq!(config.variables.0, expected);
    assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
}

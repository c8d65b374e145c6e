//! Whether a program runs here: what is held against it, and what is not.

use std::{fs, os::unix::fs::PermissionsExt as _};

use agent::tasks::updates::{Probe, ProbeError};
use camino::Utf8PathBuf;
use tempfile::TempDir;
use update::Component;

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

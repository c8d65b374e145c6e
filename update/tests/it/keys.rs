//! Key files: who can read them, and with what.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use camino::Utf8Path;
use update::{KeyDir, Passphrase, TufRole, keys::KeyError};

use crate::fixture::{Fixture, PASSPHRASE, passphrase};

#[expect(clippy::disallowed_methods, reason = "openssl is the other reader of key files")]
fn openssl_pkey(file: &Utf8Path, passphrase: &str) -> Output {
    std::process::Command::new("openssl")
        .args(["pkey", "-text", "-noout", "-passin", "env:KEY_PASSPHRASE", "-in"])
        .arg(file)
        .env("KEY_PASSPHRASE", passphrase)
        .output()
        .unwrap()
}

#[tokio::test]
async fn openssl_reads_the_keys_with_the_passphrase_alone() {
    let fixture = Fixture::new().await;
    for role in TufRole::ALL {
        let file = fixture.editor.keys().file(role);
        let opened = openssl_pkey(&file, PASSPHRASE);
        assert!(opened.status.success(), "{role}: {}", String::from_utf8_lossy(&opened.stderr));
        assert!(
            String::from_utf8_lossy(&opened.stdout).starts_with("ED25519 Private-Key"),
            "{role}"
        );
        assert!(!openssl_pkey(&file, "wrong").status.success(), "{role}");
    }
}

#[tokio::test]
async fn a_wrong_passphrase_is_told_apart_from_a_broken_file() {
    let fixture = Fixture::new().await;
    let keys = fixture.editor.keys();
    let wrong = Passphrase::new("wrong".to_owned()).unwrap();
    assert!(matches!(keys.unlock(TufRole::Targets, &wrong), Err(KeyError::WrongPassphrase { .. })));
    keys.unlock(TufRole::Targets, &passphrase()).unwrap();
    fs::write(keys.file(TufRole::Targets), "not a key").unwrap();
    assert!(matches!(
        keys.unlock(TufRole::Targets, &passphrase()),
        Err(KeyError::NotEncryptedKey { .. })
    ));
    fs::remove_file(keys.file(TufRole::Targets)).unwrap();
    assert!(matches!(keys.unlock(TufRole::Targets, &passphrase()), Err(KeyError::Read { .. })));
}

#[tokio::test]
async fn keys_are_for_their_owner_alone() {
    let fixture = Fixture::new().await;
    let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(fixture.editor.keys().path()), 0o700);
    for role in TufRole::ALL {
        assert_eq!(mode(&fixture.editor.keys().file(role)), 0o600, "{role}");
    }
    assert_eq!(mode(fixture.editor.repository_dir()), 0o755);
    assert_eq!(mode(&fixture.editor.repository_dir().join("timestamp.json")), 0o644);
}

#[test]
fn an_empty_passphrase_is_refused_and_none_is_shown() {
    assert!(Passphrase::new(String::new()).is_err());
    assert_eq!(format!("{:?}", passphrase()), "[redacted]");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "openssl is the other writer of key files")]
fn keys_made_by_openssl_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyDir::new(crate::fixture::utf8(dir.path()));
    for (role, algorithm) in [(TufRole::Targets, "ed25519"), (TufRole::Snapshot, "EC")] {
        let made = std::process::Command::new("openssl")
            .args([
                "genpkey",
                "-algorithm",
                algorithm,
                "-aes-256-cbc",
                "-pass",
                "env:KEY_PASSPHRASE",
                "-out",
            ])
            .arg(keys.file(role))
            .args(if algorithm == "EC" {
                &["-pkeyopt", "ec_paramgen_curve:P-256"][..]
            } else {
                &[]
            })
            .env("KEY_PASSPHRASE", PASSPHRASE)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        keys.unlock(role, &passphrase()).unwrap();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "openssl is the other writer of key files")]
fn an_unencrypted_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyDir::new(crate::fixture::utf8(dir.path()));
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(keys.file(TufRole::Root))
        .status()
        .unwrap();
    assert!(made.success());
    assert!(matches!(keys.unlock(TufRole::Root, &passphrase()), Err(KeyError::Unencrypted { .. })));
}

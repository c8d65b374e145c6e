//! The device's own key in a TPM, which is swtpm here.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
};

use agent::{
    doctor::{Diagnosis, Outcome},
    platform::{TpmError, TpmKey},
    status::Report,
};
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tempfile::TempDir;
use wire::settings::files;

use crate::{
    device::{Device, until},
    device_key::{is_by, with_key},
    fleet::{Fleet, Mood},
    program::wait_until,
};

/// Where a system has its TPM.
const DEVICE: &str = "dev/tpmrm0";

/// How long a key of P-256 is that the server is told, and one of Ed25519.
const P256: usize = 2 * 65;
const ED25519: usize = 2 * 32;

/// A TPM made of software, ended with the test.
pub(crate) struct Tpm {
    child: Child,
    socket: Utf8PathBuf,
}

impl Tpm {
    /// One that listens at `socket`: the one that did so before, if there was one.
    pub(crate) fn start(socket: &Utf8Path) -> Self {
        let state = state(socket);
        fs::create_dir_all(&state).unwrap();
        let child = program("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={state}")])
            .args(["--server", &format!("type=unixio,path={socket}")])
            .args(["--ctrl", &format!("type=unixio,path={socket}.ctrl")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("could not start swtpm: {error}"));
        let control = Utf8PathBuf::from(format!("{socket}.ctrl"));
        // A socket is there before anybody listens at it.
        let listens = |socket: &Utf8Path| UnixStream::connect(socket).is_ok();
        wait_until("a TPM", || listens(socket) && listens(&control));
        Self { child, socket: socket.to_owned() }
    }

    /// Puts another TPM in its place.
    pub(crate) fn replace(self) -> Self {
        let socket = self.socket.clone();
        drop(self);
        fs::remove_dir_all(state(&socket)).unwrap();
        Self::start(&socket)
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for socket in [self.socket.to_string(), format!("{}.ctrl", self.socket)] {
            let _ = fs::remove_file(socket);
        }
    }
}

fn state(socket: &Utf8Path) -> Utf8PathBuf {
    format!("{socket}.state").into()
}

#[expect(clippy::disallowed_methods, reason = "tests start the programs that they test with")]
fn program(name: &str) -> Command {
    Command::new(name)
}

/// A device without keystore that is to make a key, and where its TPM would listen.
fn device_of(fleet: &Fleet) -> (Device, Utf8PathBuf) {
    let device = with_key(fleet);
    let socket = device.system().join(DEVICE);
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    (device, socket)
}

/// What openssl says of a signature by the key.
fn assert_signs(key: &TpmKey, directory: &Utf8Path) {
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    // SubjectPublicKeyInfo of id-ecPublicKey on prime256v1 (RFC 5480).
    let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    let public =
        pem::encode(&pem::Pem::new("PUBLIC KEY", [prefix.as_slice(), key.public()].concat()));
    let public = file("public.pem", public.as_bytes());
    for number in 0..4u8 {
        let message = file("message", &[number; 100]);
        let signature = key.sign(&[number; 100]).unwrap();
        let (r, s) = signature.split_at(32);
        let signature = file("signature", &der(0x30, &[integer(r), integer(s)].concat()));
        let output = program("openssl")
            .args(["dgst", "-sha256", "-verify", public.as_str()])
            .args(["-signature", signature.as_str(), message.as_str()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// A positive INTEGER in DER.
fn integer(digits: &[u8]) -> Vec<u8> {
    let start = digits.iter().position(|digit| *digit != 0).unwrap();
    let digits = &digits[start..];
    let sign: &[u8] = if digits[0] < 0x80 { &[] } else { &[0] };
    der(0x02, &[sign, digits].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, content.len().try_into().unwrap()][..], content].concat()
}

#[test]
fn a_tpm_makes_a_key_and_the_same_again_after_each_start() {
    let directory = TempDir::new().unwrap();
    let system = Utf8Path::from_path(directory.path()).unwrap();
    let socket = system.join(DEVICE);
    fs::create_dir(system.join("dev")).unwrap();
    assert!(TpmKey::make(system).unwrap_err().is_absent());
    let tpm = Tpm::start(&socket);
    let other = TpmKey::make(system).unwrap().public().to_vec();
    let key = TpmKey::make(system).unwrap();
    assert_ne!(key.public(), other, "two of one TPM are two");
    assert_signs(&key, system);
    let text = key.text();
    // It stops while the key is in use, and is back.
    drop(tpm);
    assert!(key.sign(b"").unwrap_err().is_absent());
    let tpm = Tpm::start(&socket);
    assert_signs(&key, system);
    drop(key);
    let again = TpmKey::from_text(&text, system).unwrap();
    assert_signs(&again, system);
    let public = again.public().to_vec();
    // More often than a TPM has room for keys.
    for _ in 0..8 {
        again.rest();
        again.sign(b"").unwrap();
    }
    let _other = tpm.replace();
    let error = again.sign(b"").unwrap_err();
    assert!(matches!(error, TpmError::OtherKey), "{error:?}");
    assert_eq!(again.public(), public);
    assert!(!format!("{again:?}").contains(&text[5..20]));
}

#[tokio::test]
async fn a_device_with_a_tpm_signs_with_that_and_goes_on_with_no_other_key() {
    let fleet = Fleet::start();
    let (device, socket) = device_of(&fleet);
    let mut tpm = Some(Tpm::start(&socket));
    device.enroll_with(&fleet).await;
    let key = fleet.memory().device_keys[0].clone().unwrap();
    assert_eq!(key.len(), P256);
    let kept = device.read(files::DEVICE_KEY).unwrap();
    assert!(kept.starts_with("tpm2 "), "only the TPM can make a key of it");

    let served = || fleet.memory().served.len();
    let log = device
        .run(async |log| {
            let before = served();
            until(|| served() > before).await;
            drop(tpm.take());
            until(|| log.text().contains("could not sign with this device's key")).await;
            let before = served();
            tpm = Some(Tpm::start(&socket));
            until(|| served() > before).await;
        })
        .await;
    for word in ["could not open the TPM", "orbit reset-identity"] {
        assert!(log.text().contains(word), "{}", log.text());
    }
    assert_eq!(fleet.memory().device_keys.len(), 1);
    for (path, signature) in &fleet.memory().signatures {
        assert!(is_by(signature.as_ref(), &key), "{path}");
    }
    let home = device.config().unwrap().home();
    let status = Report::gather(&home, None, None, Timestamp::UNIX_EPOCH).text();
    assert!(status.contains("\ndevice key    in the TPM\n"), "{status}");
    assert_eq!(diagnosis(&device).await, (Outcome::Ok, "it is in the TPM, and signs".to_owned()));

    // In another machine the disk has no key, and another one is made after `orbit reset-identity` alone.
    let other = tpm.take().unwrap().replace();
    let (outcome, found) = diagnosis(&device).await;
    assert!(outcome == Outcome::Failed && found.contains("or is another one"), "{found}");
    let said = "could not sign with this device's key";
    device.run(async |log| until(|| log.text().contains(said)).await).await;
    assert_eq!(fleet.memory().device_keys.len(), 1);
    home.forget(&device.config().unwrap().osquery_db()).unwrap();
    device.enroll_with(&fleet).await;
    let new = fleet.memory().device_keys[1].clone().unwrap();
    assert!(new.len() == P256 && new != key);
    drop(other);
}

/// What `orbit doctor` finds of the key.
async fn diagnosis(device: &Device) -> (Outcome, String) {
    let config = device.config().unwrap();
    let made = Diagnosis::make(&device.root(), Ok(&config), || Timestamp::UNIX_EPOCH).await;
    let check = made.checks.into_iter().find(|check| check.name == "device_key").unwrap();
    (check.outcome, check.found)
}

#[tokio::test]
async fn a_tpm_that_refuses_leaves_the_key_to_the_agent() {
    let fleet = Fleet::start();
    let (device, socket) = device_of(&fleet);
    let _tpm = Tpm::start(&socket);
    // TPM2_HierarchyChangeAuth: the owner has a password from here on.
    let command = "800200000021000001294000000100000009400000090000010000000461626364";
    let mut line = UnixStream::connect(&socket).unwrap();
    line.write_all(&hex::decode(command).unwrap()).unwrap();
    let mut answer = [0; 10];
    line.read_exact(&mut answer).unwrap();
    assert_eq!(answer[6..], [0; 4], "{answer:?}");
    drop(line);
    let log = device.enroll_with(&fleet).await;
    let complaints = log.complaints();
    let told = complaints.iter().filter(|line| line.contains("the agent does so itself"));
    assert_eq!(told.count(), 1, "{complaints:?}");
    assert!(log.text().contains("TPM_RC_BAD_AUTH"), "{}", log.text());
    let key = fleet.memory().device_keys[0].clone().unwrap();
    assert_eq!(key.len(), ED25519);
    let (_, last) = fleet.memory().signatures.last().cloned().unwrap();
    assert!(is_by(last.as_ref(), &key));
    let found = "it is held by the agent, not by a TPM".to_owned();
    assert_eq!(diagnosis(&device).await, (Outcome::Ok, found));
}

#[tokio::test]
async fn who_has_begun_with_a_tpm_does_not_enroll_without_it() {
    let fleet = Fleet::start();
    let (device, socket) = device_of(&fleet);
    let mut tpm = Some(Tpm::start(&socket));
    fleet.set_mood(Mood::Status(500));
    device
        .run(async |log| {
            until(|| fleet.memory().enrolls.len() > 1).await;
            drop(tpm.take());
            until(|| log.text().contains("in its TPM, which has made one before")).await;
            tpm = Some(Tpm::start(&socket));
            fleet.set_mood(Mood::Good);
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    for enroll in &fleet.memory().enrolls {
        assert_eq!(enroll["device_key"].as_str().unwrap().len(), P256);
    }
    drop(tpm);
}

//! Secrets at rest, with the real systemd-creds, and swtpm for a TPM.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::Command,
};

use camino::Utf8PathBuf;
use wire::settings::{files, vars};

use crate::{
    device::{Device, until},
    fleet::{Fleet, SECRET},
    tpm::Tpm,
};

const NODE_KEY: &str = "orbit-node-key.cred";
const ENROLL_SECRET: &str = "orbit-enroll-secret.cred";

/// Gives systemd-creds a host key of the device's own, and notes what it is asked.
const WITH_HOST_KEY: &str = r#"#!/bin/sh
here=$(dirname "$0")
export SYSTEMD_CREDENTIAL_SECRET="$here/host.key"
echo "$@" >> "$here/arguments"
exec /usr/bin/systemd-creds "$@"
"#;

/// The same with a TPM. systemd-creds leaves it to the kernel to clear its sessions away, and swtpm
/// is a TPM without one: here they are flushed by TPM2_FlushContext.
const WITH_TPM: &str = r#"#!/bin/sh
here=$(dirname "$0")
export SYSTEMD_CREDENTIAL_SECRET="$here/host.key"
echo "$@" >> "$here/arguments"
verb=$1
shift
/usr/bin/systemd-creds "$verb" --tpm2-device="swtpm:path=$here/tpm" "$@"
code=$?
python3 -c 'import socket, sys
tpm = socket.socket(socket.AF_UNIX)
tpm.settimeout(10)
tpm.connect(sys.argv[1])
for kind in 0x02000000, 0x03000000:
    for session in range(kind, kind + 3):
        tpm.sendall(bytes.fromhex("80010000000e00000165%08x" % session))
        tpm.recv(10)' "$here/tpm" < /dev/null > /dev/null
exit $code
"#;

/// One that opens nothing any more.
const LOCKED: &str = r#"#!/bin/sh
[ "$1" = encrypt ] || exit 1
SYSTEMD_CREDENTIAL_SECRET="$(dirname "$0")/host.key" exec /usr/bin/systemd-creds "$@"
"#;

fn device_with(fleet: &Fleet, systemd_creds: &str) -> Device {
    let device = Device::of(fleet);
    device.write_system("usr/bin/systemd-creds", systemd_creds);
    fs::set_permissions(folder(&device).join("systemd-creds"), Permissions::from_mode(0o755))
        .unwrap();
    device
}

fn folder(device: &Device) -> Utf8PathBuf {
    device.system().join("usr/bin")
}

/// What systemd-creds itself says of one of the agent's files.
fn decrypted(device: &Device, file: &str) -> String {
    let name = file.trim_end_matches(".cred");
    let output = program(&folder(device).join("systemd-creds"))
        .args(["decrypt", &format!("--name={name}"), device.root().join(file).as_str(), "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests start the programs that they test with")]
fn program(path: &Utf8PathBuf) -> Command {
    Command::new(path)
}

/// No file below the root directory has `text` in it.
fn assert_nowhere(device: &Device, text: &str) {
    for entry in device.root().read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        let bytes = fs::read(&path).unwrap_or_default();
        let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!found, "{path}");
    }
}

#[tokio::test]
async fn secrets_are_sealed_and_their_files_deleted() {
    let fleet = Fleet::start();
    let device = device_with(&fleet, WITH_HOST_KEY);
    device.enroll_with(&fleet).await;
    let key = fleet.memory().issued[0].clone();
    for text in [SECRET, &*key] {
        assert_nowhere(&device, text);
        assert!(!fs::read_to_string(folder(&device).join("arguments")).unwrap().contains(text));
    }
    assert_eq!(decrypted(&device, NODE_KEY), key);
    assert!(decrypted(&device, ENROLL_SECRET).contains(SECRET));
    let mode = fs::metadata(device.root().join(NODE_KEY)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    device.enroll_with(&fleet).await;
    assert_eq!(fleet.memory().enrolls.len(), 1, "a restart finds the key again");
    fleet.memory().valid.clear();
    device.enroll_with(&fleet).await;
    assert_eq!(fleet.memory().enrolls.len(), 2, "and the secret");
    assert_eq!(decrypted(&device, NODE_KEY), fleet.memory().issued[1]);
}

#[tokio::test]
async fn files_of_an_agent_without_keystore_move_into_it_and_back() {
    let fleet = Fleet::start();
    let mut device = device_with(&fleet, WITH_HOST_KEY);
    device.set(vars::DISABLE_KEYSTORE, "true");
    device.enroll_with(&fleet).await;
    let key = device.node_key().unwrap();
    assert!(!folder(&device).join("arguments").exists(), "nobody has asked systemd-creds");
    device.set(vars::DISABLE_KEYSTORE, "false");
    device.enroll_with(&fleet).await;
    assert_nowhere(&device, &key);
    device.set(vars::DISABLE_KEYSTORE, "true");
    device.enroll_with(&fleet).await;
    assert_eq!(device.node_key(), Some(key));
    assert!(!device.root().join(NODE_KEY).exists());
    assert_eq!(fleet.memory().enrolls.len(), 1, "it is the same device throughout");
    fleet.memory().valid.clear();
    device.enroll_with(&fleet).await;
    assert!(!device.root().join(ENROLL_SECRET).exists());
}

/// A reinstalled package brings its `secret.txt` again.
async fn check_old_secret(mut device: Device, fleet: &Fleet, disabled: &str) -> Device {
    device.set(vars::DISABLE_KEYSTORE, disabled);
    device.enroll_with(fleet).await;
    for (brought, counts) in [("rotated", "rotated"), (SECRET, "rotated"), ("third", "third")] {
        device.write(files::ENROLL_SECRET, &format!("{brought}\n"));
        counts.clone_into(&mut fleet.memory().secret);
        fleet.memory().valid.clear();
        device.enroll_with(fleet).await;
        let shown = fleet.memory().enrolls.last().unwrap()["enroll_secret"].clone();
        assert_eq!(shown, counts);
    }
    device
}

#[tokio::test]
async fn a_reinstalled_package_does_not_bring_back_an_old_secret() {
    let fleet = Fleet::start();
    let device = check_old_secret(device_with(&fleet, WITH_HOST_KEY), &fleet, "false").await;
    assert_eq!(device.read(files::ENROLL_SECRET), None);
}

#[tokio::test]
async fn nor_does_it_where_secrets_are_in_files() {
    let fleet = Fleet::start();
    let device = check_old_secret(device_with(&fleet, WITH_HOST_KEY), &fleet, "true").await;
    assert_eq!(device.read(files::ENROLL_SECRET).as_deref(), Some("third\n"));
}

#[tokio::test]
async fn a_keystore_that_does_not_give_back_what_it_was_given_is_not_used() {
    for broken in [
        "#!/bin/sh\nexit 1\n",
        "#!/bin/sh\ncat > /dev/null\necho nonsense\n",
        "#!/bin/sh\n[ $1 = decrypt ] && exit 1\ncat\n",
        "no program\n",
    ] {
        let fleet = Fleet::start();
        let device = device_with(&fleet, broken);
        let log = device.enroll_with(&fleet).await;
        assert_eq!(device.node_key().as_ref(), fleet.memory().issued.last(), "{broken}");
        assert!(log.text().contains("stays in a file"), "{}", log.text());
        device.enroll_with(&fleet).await;
        assert_eq!(fleet.memory().enrolls.len(), 1, "{broken}");
        let secret = device.read(files::ENROLL_SECRET);
        assert_eq!(secret.as_deref(), Some(&*format!("{SECRET}\n")));
    }
}

#[tokio::test]
async fn a_tpm_takes_part_and_other_hardware_opens_nothing() {
    let fleet = Fleet::start();
    let device = device_with(&fleet, WITH_TPM);
    let tpm = Tpm::start(&folder(&device).join("tpm"));
    device.enroll_with(&fleet).await;
    assert_eq!(decrypted(&device, NODE_KEY), fleet.memory().issued[0]);
    let arguments = fs::read_to_string(folder(&device).join("arguments")).unwrap();
    assert!(!arguments.contains("--with-key=host "), "the TPM was asked and sealed: {arguments}");
    device.enroll_with(&fleet).await;
    assert_eq!(fleet.memory().enrolls.len(), 1);

    let _other = tpm.replace();
    let log = device.run(async |log| {
        until(|| log.text().contains("there is no enroll secret")).await;
        device.write(files::ENROLL_SECRET, SECRET);
        until(|| fleet.memory().enrolls.len() == 2).await;
        until(|| {
            let memory = fleet.memory();
            memory.served.last() == memory.issued.get(1)
        })
        .await;
    });
    let log = log.await;
    assert!(log.text().contains("does not give back `orbit-node-key`"), "{}", log.text());
    assert_eq!(decrypted(&device, NODE_KEY), fleet.memory().issued[1]);
}

/// What has sealed it may come back, and with it the key that the server knows.
#[tokio::test]
async fn a_device_key_that_cannot_be_opened_is_not_replaced_while_its_tpm_fails() {
    let fleet = Fleet::start();
    let mut device = device_with(&fleet, WITH_HOST_KEY);
    device.set(vars::DEVICE_KEY, "true");
    // Whoever opens it gets no answer.
    device.write_system("dev/tpmrm0", "");
    device.enroll_with(&fleet).await;
    let sealed = || fs::read(device.root().join("orbit-device-key.cred")).unwrap();
    let before = sealed();
    device.write_system("usr/bin/systemd-creds", LOCKED);
    device.write(files::ENROLL_SECRET, SECRET);
    let said = "the one that it has cannot be opened";
    device.run(async |log| until(|| log.text().contains(said)).await).await;
    assert_eq!(fleet.memory().enrolls.len(), 1);
    assert_eq!(sealed(), before);
    device.write_system("usr/bin/systemd-creds", WITH_HOST_KEY);
    let log = device.enroll_with(&fleet).await;
    assert_eq!(fleet.memory().enrolls.len(), 1, "{}", log.text());
}

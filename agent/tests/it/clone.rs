//! Who a device is: it keeps its identity across restarts, and a copied disk gets one of its own.

use std::fs;

use serde_json::Value;
use wire::settings::{files, vars};

use crate::{device::Device, fleet::Fleet};

const MACHINE_ID: &str = "etc/machine-id";
const FIRMWARE_UUID: &str = "sys/class/dmi/id/product_uuid";

fn last_enroll(fleet: &Fleet) -> Value {
    fleet.memory().enrolls.last().unwrap().clone()
}

#[tokio::test]
async fn a_device_describes_itself_as_fleets_does() {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    device.set(vars::END_USER_EMAIL, "ann@example.com");
    device.enroll_with(&fleet).await;
    let body = last_enroll(&fleet);
    let field = |name: &str| body[name].as_str().unwrap_or("absent").to_owned();
    assert_eq!(field("enroll_secret"), crate::fleet::SECRET);
    assert_eq!(field("hardware_uuid"), "4c4c4544-0042-3510-8054-b9c04f4d3132");
    assert_eq!(field("hardware_serial"), "5B5TM12");
    assert_eq!(field("platform"), "debian");
    assert_eq!(field("os_version"), "Debian GNU/Linux 12 (bookworm)");
    assert_eq!(field("machine_id"), "3d1219c7c4c5404aaa1f6d2a48adfda4");
    assert_eq!(field("orbit_version"), agent::VERSION);
    assert_eq!(field("end_user_email"), "ann@example.com");
    assert_eq!(field("osquery_identifier"), "");
    for name in ["hostname", "computer_name", "cpu_type", "platform_like"] {
        assert!(!field(name).is_empty(), "{name}");
    }
    let expected = format!("orbit/{} (linux {})", agent::VERSION, std::env::consts::ARCH);
    assert_eq!(fleet.memory().user_agents.last(), Some(&expected));
}

#[tokio::test]
async fn a_restart_keeps_key_and_identity() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    let before = (device.node_key(), device.read(files::IDENTITY));
    device.enroll_with(&fleet).await;
    assert_eq!((device.node_key(), device.read(files::IDENTITY)), before);
    assert_eq!(fleet.memory().enrolls.len(), 1);
}

/// A disk with an enrolled agent wakes up where `file` of the system says something else.
async fn check_copied(file: &str, text: &str) {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    let original = device.node_key();
    let database = device.root().join(files::OSQUERY_DB);
    fs::create_dir(&database).unwrap();
    device.write_system(file, text);
    let log = device.enroll_with(&fleet).await;
    assert_ne!(device.node_key(), original);
    assert!(!database.exists());
    assert_eq!(fleet.memory().valid.len(), 2, "a device of its own, and the original still there");
    assert_eq!(log.complaints().len(), 1, "{}", log.text());
    assert!(log.complaints()[0].contains("disk was copied from another device"));
}

#[tokio::test]
async fn a_disk_copied_to_other_hardware_enrolls_anew() {
    check_copied(FIRMWARE_UUID, "11112222-3333-4444-5555-666677778888\n").await;
}

#[tokio::test]
async fn a_copy_with_a_machine_id_of_its_own_enrolls_anew() {
    check_copied(MACHINE_ID, "00000000000000000000000000000001\n").await;
}

#[tokio::test]
async fn firmware_that_cannot_be_read_for_once_changes_nothing() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    let identity = device.read(files::IDENTITY);
    device.write_system(FIRMWARE_UUID, "");
    device.enroll_with(&fleet).await;
    assert_eq!(fleet.memory().enrolls.len(), 1);
    assert_eq!(device.read(files::IDENTITY), identity);
}

#[tokio::test]
async fn a_placeholder_of_the_vendor_is_no_identity() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.write_system(FIRMWARE_UUID, "03000200-0400-0500-0006-000700080009\n");
    device.enroll_with(&fleet).await;
    let first = last_enroll(&fleet)["hardware_uuid"].clone();
    let other = Device::of(&fleet);
    other.write_system(FIRMWARE_UUID, "03000200-0400-0500-0006-000700080009\n");
    other.write_system(MACHINE_ID, "00000000000000000000000000000001\n");
    other.enroll_with(&fleet).await;
    assert_ne!(last_enroll(&fleet)["hardware_uuid"], first);
    assert_eq!(fleet.memory().valid.len(), 2);
}

#[tokio::test]
async fn a_new_server_gets_no_key_of_the_old_one() {
    let (old, new) = (Fleet::start(), Fleet::start());
    let mut device = Device::of(&old);
    device.enroll_with(&old).await;
    device.set(vars::FLEET_URL, &new.url());
    device.write(files::SERVER_CA, &new.ca());
    device.enroll_with(&new).await;
    assert_eq!(new.memory().enrolls.len(), 1);
    let memory = new.memory();
    assert_eq!(memory.polls, memory.served);
}

#[tokio::test]
async fn a_key_without_a_record_of_its_device_is_not_trusted() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    device.enroll_with(&fleet).await;
    device.write(files::IDENTITY, "{\"half\": ");
    device.enroll_with(&fleet).await;
    assert_eq!(fleet.memory().enrolls.len(), 2);
}

#[tokio::test]
async fn in_instance_mode_twins_are_two_devices() {
    let fleet = Fleet::start();
    let mut identifiers = Vec::new();
    for _ in 0..2 {
        let mut device = Device::of(&fleet);
        device.set(vars::HOST_IDENTIFIER, "instance");
        for _ in 0..2 {
            device.enroll_with(&fleet).await;
        }
        identifiers.push(last_enroll(&fleet)["osquery_identifier"].clone());
    }
    assert_eq!(fleet.memory().enrolls.len(), 2);
    assert_ne!(identifiers[0], identifiers[1]);
    let uuid = uuid::Uuid::try_parse(identifiers[0].as_str().unwrap()).unwrap();
    assert_eq!(uuid.get_version_num(), 4);
}

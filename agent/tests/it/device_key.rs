//! The device's own key: made when it enrolls, kept like the node key, and used for every request that
//! shows that.

use std::{fs, os::unix::fs::PermissionsExt as _};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use wire::{
    settings::{files, vars},
    signature::Received,
};

use crate::{
    device::{Device, until},
    fleet::{Fleet, Mood},
};

fn with_key(fleet: &Fleet) -> Device {
    let mut device = Device::of(fleet);
    device.set(vars::DEVICE_KEY, "true");
    device.set(vars::DISABLE_KEYSTORE, "true");
    device.set(vars::FLEET_DESKTOP, "true");
    device
}

/// Whether the key that the server was told made the signature.
fn is_by(signature: Option<&Received>, key: &str) -> bool {
    let public = UnparsedPublicKey::new(&ED25519, hex::decode(key).unwrap());
    signature.is_some_and(|it| {
        it.key_id == key && public.verify(it.base.as_bytes(), &it.signature).is_ok()
    })
}

#[tokio::test]
async fn a_device_with_a_key_signs_all_it_asks_from_its_enrollment_on() {
    let fleet = Fleet::start();
    let device = with_key(&fleet);
    device.run(async |_| until(|| fleet.memory().tokens.len() == 1).await).await;
    let key = fleet.memory().device_keys[0].clone().unwrap();
    let path = device.root().join(files::DEVICE_KEY);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!device.read(files::DEVICE_KEY).unwrap().contains(&key), "no half gives the other");
    // Started anew, and with the setting gone: the server still knows the key.
    let mut device = device;
    device.set(vars::DEVICE_KEY, "");
    device.enroll_with(&fleet).await;
    let memory = fleet.memory();
    assert_eq!(memory.device_keys.len(), 1);
    for operation in ["enroll", "config", "device_token"] {
        assert!(memory.signatures.iter().any(|(path, _)| path.ends_with(operation)), "{operation}");
    }
    for (path, signature) in &memory.signatures {
        assert!(is_by(signature.as_ref(), &key), "{path}");
    }
}

#[tokio::test]
async fn a_device_makes_another_key_for_each_enrollment_and_none_unasked() {
    let fleet = Fleet::start();
    let mut device = with_key(&fleet);
    device.enroll_with(&fleet).await;
    let first = device.read(files::DEVICE_KEY);
    device
        .run(async |_| {
            fleet.memory().valid.clear();
            until(|| fleet.memory().device_keys.len() == 2).await;
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served).await;
        })
        .await;
    let keys = fleet.memory().device_keys.clone();
    assert!(keys[0].is_some() && keys[1].is_some() && keys[0] != keys[1]);
    assert_ne!(device.read(files::DEVICE_KEY), first);
    let (_, last) = fleet.memory().signatures.last().cloned().unwrap();
    assert!(is_by(last.as_ref(), keys[1].as_deref().unwrap()));

    device.set(vars::DEVICE_KEY, "false");
    fleet.memory().valid.clear();
    let before = fleet.memory().signatures.len();
    device.enroll_with(&fleet).await;
    assert_eq!(fleet.memory().device_keys[2], None);
    assert_eq!(device.read(files::DEVICE_KEY), None);
    let memory = fleet.memory();
    let (shown, rest) = memory.signatures[before..].split_first().unwrap();
    assert!(is_by(shown.1.as_ref(), keys[1].as_deref().unwrap()), "the key that was refused");
    assert!(rest.iter().all(|(_, signature)| signature.is_none()));
}

#[tokio::test]
async fn a_signature_tells_the_servers_time_once_that_is_known() {
    let fleet = Fleet::start();
    let device = with_key(&fleet);
    // An answer brings the time, whatever it says.
    fleet.set_mood(Mood::Status(500));
    device
        .run(async |_| {
            until(|| fleet.memory().enrolls.len() == 1).await;
            fleet.memory().date = Some("Thu, 01 Jan 2032 00:00:00 GMT".to_owned());
            until(|| fleet.memory().enrolls.len() > 2).await;
            fleet.set_mood(Mood::Good);
            until(|| !fleet.memory().served.is_empty()).await;
        })
        .await;
    let in_2032 = 1_956_528_000..1_956_528_600;
    let (_, last) = fleet.memory().signatures.last().cloned().unwrap();
    assert!(in_2032.contains(&last.unwrap().created));
}

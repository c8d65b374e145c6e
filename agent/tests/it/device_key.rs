//! The device's own key: made when it enrolls, kept like the node key, and used for every request that
//! shows that.

use std::{fs, os::unix::fs::PermissionsExt as _};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use wire::{
    settings::{files, vars},
    signature::{Algorithm, Received},
};

use tokio::process::Command;

use crate::{
    by_the_book,
    device::{Device, until},
    fleet::{Fleet, Mood},
};

pub(crate) fn with_key(fleet: &Fleet) -> Device {
    let mut device = Device::of(fleet);
    device.set(vars::DEVICE_KEY, "true");
    device.set(vars::DISABLE_KEYSTORE, "true");
    device.set(vars::FLEET_DESKTOP, "true");
    device
}

/// Whether the key that the server was told made the signature.
pub(crate) fn is_by(signature: Option<&Received>, key: &str) -> bool {
    let public = hex::decode(key).unwrap();
    let algorithm = Algorithm::of_key(&public).unwrap();
    let verification: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::Ed25519 => &ED25519,
        Algorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_FIXED,
    };
    let public = UnparsedPublicKey::new(verification, public);
    signature.is_some_and(|it| {
        (&*it.key_id, it.algorithm) == (key, algorithm)
            && public.verify(it.base.as_bytes(), &it.signature).is_ok()
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
    let asked = &memory.signatures[before..];
    let enrolled = asked.iter().position(|(path, _)| path.ends_with("/enroll")).unwrap();
    let (shown, rest) = asked.split_at(enrolled);
    let is_by_the_second =
        |(_, it): &(String, Option<Received>)| is_by(it.as_ref(), keys[1].as_deref().unwrap());
    assert!(!shown.is_empty() && shown.iter().all(is_by_the_second), "the key that was refused");
    assert!(rest.iter().all(|(_, signature)| signature.is_none()), "{rest:?}");
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

/// How osqueryd's requests from number `first` on were signed.
fn of_osqueryd(fleet: &Fleet, first: usize) -> Vec<Option<Received>> {
    let memory = fleet.memory();
    let signatures = memory.signatures[first..].iter();
    signatures.filter(|(path, _)| path.contains("/osquery/")).map(|(_, it)| it.clone()).collect()
}

#[tokio::test]
async fn what_osqueryd_asks_is_signed_as_well_by_each_key_in_its_time() {
    let fleet = Fleet::start();
    let mut device = by_the_book::device_of(&fleet);
    device.set(vars::DISABLE_KEYSTORE, "true");
    let answered = "/distributed/write";
    device.run(async |_| until(|| by_the_book::was_answered(&device, answered)).await).await;
    let unsigned = of_osqueryd(&fleet, 0);
    assert!(!unsigned.is_empty() && unsigned.iter().all(Option::is_none));

    // It has a node key, and goes on with it.
    device.set(vars::DEVICE_KEY, "true");
    fleet.memory().valid.clear();
    let first = fleet.memory().signatures.len();
    let is_by_key = |number: usize| {
        let key = fleet.memory().device_keys.get(number).cloned().flatten();
        let last = of_osqueryd(&fleet, first).pop().flatten();
        key.is_some_and(|key| is_by(last.as_ref(), &key))
    };
    device
        .run(async |_| {
            until(|| is_by_key(1)).await;
            // The relay stays, the key is another.
            fleet.memory().valid.clear();
            until(|| is_by_key(2)).await;
            check_bound(&device).await;
        })
        .await;
    let keys = fleet.memory().device_keys.clone();
    for signature in of_osqueryd(&fleet, first) {
        assert!(keys.iter().flatten().any(|key| is_by(signature.as_ref(), key)), "{signature:?}");
    }
    let enrollments = fleet.memory().signatures.clone();
    let enrollments = enrollments.iter().filter(|(path, _)| path.ends_with("/osquery/enroll"));
    assert_eq!(enrollments.count(), 1);
}

/// What osqueryd sends is read before it is signed, but not without end.
async fn check_bound(device: &Device) {
    let file = device.root().join("large");
    fs::write(&file, vec![b' '; (10 << 20) + 1]).unwrap();
    let below = |name: &str| device.root().join(files::RELAY).join(name).into_string();
    let mut curl = Command::new("curl");
    curl.args(["-s", "-w", "%{http_code}", "-o", "/dev/null"]);
    curl.args(["--cacert", &below("fleet.crt")]).args(["--cert", &below("osqueryd.crt")]);
    curl.args(["--key", &below("osqueryd.key"), "--data-binary", &format!("@{file}")]);
    let server = by_the_book::osqueryds_server(device);
    let output = curl.arg(format!("https://{server}/api/v1/osquery/log")).output().await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "413");
}

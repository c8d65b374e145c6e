//! How an agent reaches an update server that is not its own server, and what it asks for there.

use std::time::{Duration, Instant};

use agent::tasks::updates::{Probe, Seen, Updates};
use serde_json::json;
use update::Component;
use wire::{
    orbit::UpdateState,
    settings::{files, vars},
};

use super::{
    mirrors::{GOOD, device_of, look, staged},
    releases::Releases,
};
use crate::{
    device::{Device, Log, until},
    fleet::{Fleet, Mood},
    tunnel::start_proxy,
};

/// A look as the device is set up.
async fn looked(device: &Device) -> Seen {
    let source = device.config().unwrap().updates.unwrap();
    look(device, &Updates::new(source, &device.root(), Probe::default())).await
}

struct Apart {
    fleet: Fleet,
    mirror: Fleet,
    device: Device,
    _releases: Releases,
}

/// A server, and another one with the updates that is told by its address alone.
fn apart(mirror: Fleet) -> Apart {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    releases.publish(Component::Orbit, "9.9.9", GOOD);
    let mut device = device_of(&fleet, &releases);
    mirror.memory().mirror.dir = releases.dir().into();
    device.set(vars::UPDATE_URL, &format!("{}updates", mirror.url()));
    Apart { fleet, mirror, device, _releases: releases }
}

fn trouble(seen: &Seen) -> &str {
    assert_eq!(seen.standings[0].state, UpdateState::Unreachable);
    &seen.trouble.as_ref().unwrap().1
}

#[tokio::test]
async fn an_update_server_of_another_authority_is_trusted_by_update_pem_alone() {
    let Apart { fleet, mirror, device, .. } = &apart(Fleet::start());
    let seen = looked(device).await;
    assert!(trouble(&seen).contains("ertificate"), "{:?}", seen.trouble);
    device.write(files::UPDATE_CA, &fleet.ca());
    assert!(trouble(&looked(device).await).contains("ertificate"));
    assert!(mirror.memory().mirror.answers.is_empty());
    device.write(files::UPDATE_CA, &mirror.ca());
    let seen = looked(device).await;
    assert_eq!(seen.standings[0].state, UpdateState::Trying, "{:?}", seen.trouble);
}

#[tokio::test]
async fn an_update_server_is_shown_the_certificate_that_is_for_it() {
    let Apart { fleet, mirror, device, .. } = &apart(Fleet::start_with_mutual_tls());
    device.write(files::UPDATE_CA, &mirror.ca());
    trouble(&looked(device).await);
    for (number, (certificate, key)) in [fleet.issue(), mirror.issue()].into_iter().enumerate() {
        assert!(mirror.memory().mirror.answers.is_empty());
        device.write(files::UPDATE_CLIENT_CERTIFICATE, &certificate);
        device.write(files::UPDATE_CLIENT_KEY, &key);
        let seen = looked(device).await;
        let expected = [UpdateState::Unreachable, UpdateState::Trying][number];
        assert_eq!(seen.standings[0].state, expected, "{:?}", seen.trouble);
    }
}

/// The agent goes on with the repository that it has open; a certificate that is to come is renewed there.
#[tokio::test]
async fn an_update_servers_certificate_that_is_replaced_counts_from_the_next_look() {
    let Apart { fleet, mirror, device, .. } = &apart(Fleet::start_with_mutual_tls());
    device.write(files::UPDATE_CA, &mirror.ca());
    let show = |(certificate, key): (String, String)| {
        device.write(files::UPDATE_CLIENT_CERTIFICATE, &certificate);
        device.write(files::UPDATE_CLIENT_KEY, &key);
    };
    show(mirror.issue());
    let source = device.config().unwrap().updates.unwrap();
    let updates = Updates::new(source, &device.root(), Probe::default());
    let unreachable =
        async || look(device, &updates).await.standings[0].state == UpdateState::Unreachable;
    assert!(!unreachable().await);
    show(fleet.issue());
    assert!(unreachable().await, "an authority that the mirror does not know has issued it");
    show(mirror.issue());
    assert!(!unreachable().await);
}

/// What a mirror wants counts for the agent's next looks, too, however it opens the repository.
#[tokio::test]
async fn a_busy_mirror_is_left_alone_for_as_long_as_it_asks() {
    let Apart { mirror, device, .. } = &apart(Fleet::start());
    device.write(files::UPDATE_CA, &mirror.ca());
    let source = device.config().unwrap().updates.unwrap();
    let updates = Updates::new(source, &device.root(), Probe::default());
    let asked = || mirror.memory().mirror.answers.len();
    mirror.memory().mirror.mood = Mood::Busy(1);
    let seen = look(device, &updates).await;
    assert!(trouble(&seen).contains("wants to be left alone for 1 s"), "{seen:?}");
    assert_eq!(asked(), 1);
    mirror.memory().mirror.mood = Mood::Good;
    while look(device, &updates).await.standings[0].state == UpdateState::Unreachable {
        assert_eq!(asked(), 1, "nothing is asked before the second is over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    mirror.memory().mirror.mood = Mood::Busy(u64::MAX);
    let seen = look(device, &updates).await;
    assert!(trouble(&seen).contains("for 3600 s"), "an hour at most: {seen:?}");
    let before = asked();
    mirror.memory().mirror.mood = Mood::Good;
    trouble(&look(device, &updates).await);
    assert_eq!(asked(), before);
}

/// Another server's name and password are no business of this one's.
#[tokio::test]
async fn the_servers_own_certificate_is_not_shown_to_an_update_server_elsewhere() {
    let Apart { mirror, device, .. } = &apart(Fleet::start_with_mutual_tls());
    device.write(files::UPDATE_CA, &mirror.ca());
    let (certificate, key) = mirror.issue();
    device.write(files::CLIENT_CERTIFICATE, &certificate);
    device.write(files::CLIENT_KEY, &key);
    trouble(&looked(device).await);
}

#[tokio::test]
async fn updates_come_through_the_agents_proxy() {
    let Apart { mirror, device, .. } = &mut apart(Fleet::start());
    device.write(files::UPDATE_CA, &mirror.ca());
    let (proxy, heads) = start_proxy(mirror.address);
    device.set(vars::HTTPS_PROXY, &format!("http://ann:pass%20word@{proxy}"));
    let seen = looked(device).await;
    assert_eq!(seen.standings[0].state, UpdateState::Trying, "{:?}", seen.trouble);
    let head = heads.lock().unwrap()[0].clone();
    let address = format!("CONNECT localhost:{} ", mirror.address.port());
    assert!(head.starts_with(&address), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic yw5uonbhc3mgd29yza=="));
}

/// Whatever else keeps a download, it takes no less than its share of a second for each byte.
#[tokio::test]
async fn no_more_is_downloaded_in_a_second_than_the_package_allows() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    let mut program = GOOD.to_vec();
    program.resize(300_000, b'\n');
    releases.publish(Component::Orbit, "9.9.9", &program);
    let mut device = device_of(&fleet, &releases);
    device.set(vars::UPDATE_RATE, "200k");
    #[expect(clippy::disallowed_methods, reason = "time is what this setting is about")]
    let begun = Instant::now();
    device.run(async |_| until(|| staged(&device, "orbit", "9.9.9")).await).await;
    assert!(begun.elapsed() >= Duration::from_millis(1_400), "{:?}", begun.elapsed());
}

/// The package says `edge`, and the server may say something else.
#[tokio::test]
async fn a_channel_is_the_packages_unless_the_server_names_another() {
    let mut releases = Releases::new();
    releases.publish_on("edge", "9.9.9", GOOD);
    releases.publish_on("stable", "8.8.8", GOOD);
    releases.publish_on("7.7", "7.7.7", GOOD);
    for (said, expected) in [
        (json!({}), "9.9.9"),
        (json!({ "orbit": "stable" }), "8.8.8"),
        (json!({ "orbit": "7.7" }), "7.7.7"),
        (json!({ "osqueryd": "stable" }), "9.9.9"),
    ] {
        let fleet = Fleet::start();
        let mut device = device_of(&fleet, &releases);
        device.set(vars::ORBIT_CHANNEL, "edge");
        fleet.memory().channels = said;
        // There is nothing to be had before the server has been heard.
        fleet.memory().mirror.dir = "/nowhere".into();
        let script = async |_: &Log| {
            until(|| fleet.memory().served.len() > 1).await;
            fleet.memory().mirror.dir = releases.dir().into();
            until(|| staged(&device, "orbit", expected)).await;
        };
        device.run(script).await;
    }
}

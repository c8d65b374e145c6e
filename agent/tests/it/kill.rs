//! `kill -9` at any moment of enrolling leaves no key or a whole one, and the next start carries on.

use std::{fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use wire::settings::files;

use crate::{
    device::Device,
    fleet::Fleet,
    program::{Orbit, wait_until},
};

const ROUNDS: u32 = 60;

/// Checks what a killed agent has left behind, and deletes the key, so that the next one enrolls.
fn check_remains(fleet: &Fleet, device: &Device) -> bool {
    let Some(key) = device.node_key() else { return false };
    let memory = fleet.memory();
    assert!(memory.valid.values().any(|valid| *valid == key), "the server knows no key {key:?}");
    let path = device.root().join(files::NODE_KEY);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    fs::remove_file(path).unwrap();
    true
}

#[test]
fn kill_at_any_moment_leaves_no_key_or_a_whole_one() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut whole = 0;
    for round in 0..ROUNDS {
        let issued = fleet.memory().issued.len();
        let orbit = Orbit::start(&device);
        if round % 3 == 0 {
            thread::sleep(Duration::from_micros(dice.u64(0..150_000)));
        } else {
            // The dangerous moments are those right after the server has answered.
            wait_until("a key is issued", || fleet.memory().issued.len() > issued);
            thread::sleep(Duration::from_micros(dice.u64(0..20_000)));
        }
        orbit.kill();
        whole += u32::from(check_remains(&fleet, &device));
    }
    println!("{whole} of {ROUNDS} left a key");

    let served = fleet.memory().served.len();
    let orbit = Orbit::start(&device);
    wait_until("enrollment", || fleet.memory().served.len() > served);
    assert!(orbit.stop().success());
    let memory = fleet.memory();
    let valid: Vec<_> = memory.valid.values().cloned().collect();
    assert_eq!(valid, [device.node_key().unwrap()], "exactly one key is valid, and it is ours");
    let mut names: Vec<_> = fs::read_dir(device.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name.starts_with('.'));
    assert!(names.len() <= 3, "interrupted writes pile up: {names:?}");
}

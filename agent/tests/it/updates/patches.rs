//! What an agent makes of patches: the program that runs is turned into the next one.

use std::fs;

use agent::tasks::updates::{Probe, Updates};
use update::Component;
use wire::orbit::UpdateState;

use super::{
    mirrors::{GOOD, device_of, look},
    releases::Releases,
};
use crate::fleet::Fleet;

/// A program that is long, and not the same in any two versions.
fn program(version: &str) -> Vec<u8> {
    let mut program = GOOD.to_vec();
    program.extend((0..20_000_u32).flat_map(|number| format!("# {number}\n").into_bytes()));
    program.extend(format!("# {version}\n").into_bytes());
    program
}

/// What is downloaded of targets by a device that has `present`, which is offered a patch from 9.9.8.
async fn downloaded(present: &str) -> Vec<String> {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    releases.publish_compressed(Component::Orbit, "9.9.8", &program("9.9.8"));
    releases.publish_compressed(Component::Orbit, "9.9.9", &program("9.9.9"));
    let device = device_of(&fleet, &releases);
    fs::write(device.root().join("bin/orbit/packaged/orbit"), program(present)).unwrap();
    let source = device.config().unwrap().updates.unwrap();
    let seen = look(&device, &Updates::new(source, &device.root(), Probe::default())).await;
    assert_eq!(seen.standings[0].state, UpdateState::Trying, "{:?}", seen.trouble);
    let brought = fs::read(device.root().join("bin/orbit/9.9.9/orbit")).unwrap();
    assert!(brought == program("9.9.9"));
    let memory = fleet.memory();
    let paths = memory.mirror.answers.iter().map(|(path, _)| path);
    let kinds = paths.filter(|path| path.starts_with("targets/"));
    kinds.map(|path| path.rsplit_once('.').unwrap().1.to_owned()).collect()
}

#[tokio::test]
async fn the_program_that_runs_is_patched() {
    assert_eq!(downloaded("9.9.8").await, ["patch"]);
}

#[tokio::test]
async fn another_program_is_replaced_by_the_compressed_file() {
    assert_eq!(downloaded("of a package").await, ["zst"]);
}

//! Packages that are broken.

use std::fs;

use packager::{
    Format,
    format::{deb::Deb, rpm::Rpm},
    repository::{
        apt::{Apt, MAIN, Settings},
        dnf::Dnf,
    },
};
use proptest::prelude::*;

use super::Place;
use crate::{
    fixture::{bytes, draft, package},
    openpgp::{NOW, sign},
};

/// What is wrong with a file: bytes that are others, and where it ends.
fn damage() -> impl Strategy<Value = (Vec<(usize, u8)>, usize)> {
    let change = (0..12_000_usize, any::<u8>());
    (proptest::collection::vec(change, 1..6), 0..60_000_usize)
}

fn damaged(whole: &[u8], (changes, end): &(Vec<(usize, u8)>, usize)) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (place, byte) in changes {
        let length = bytes.len();
        bytes[place % length] = *byte;
    }
    bytes.truncate(*end);
    bytes
}

#[test]
fn are_refused_or_published_and_never_stop_anything() {
    let place = Place::new("ed25519");
    let package = package(draft(), "1.2.3");
    let [deb, rpm] =
        [&Deb::default() as &dyn Format, &Rpm::default()].map(|format| bytes(&package, format));
    let folder = tempfile::tempdir().unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&damage(), |damage| {
        let file = folder.path().join("damaged");
        fs::write(&file, damaged(&rpm, &damage)).unwrap();
        let dnf = Dnf::at(folder.path().join("dnf"));
        let _ = dnf.init("it", &place.key, NOW);
        let _ = dnf.add(std::slice::from_ref(&file), &place.key, NOW);
        let _ = sign(&Rpm::default(), &fs::read(&file).unwrap(), place.key.clone());
        fs::write(&file, damaged(&deb, &damage)).unwrap();
        let apt = Apt::at(folder.path().join("apt"), "stable").unwrap();
        let _ = apt.init(Settings { name: "it".into(), valid_days: None }, &place.key, NOW);
        let _ = apt.add(std::slice::from_ref(&file), MAIN, (&place.key, NOW));
        let _ = sign(&Deb::default(), &fs::read(&file).unwrap(), place.key.clone());
        fs::remove_dir_all(folder.path().join("apt")).unwrap();
        fs::remove_dir_all(folder.path().join("dnf")).unwrap();
        Ok(())
    });
    result.unwrap();
}

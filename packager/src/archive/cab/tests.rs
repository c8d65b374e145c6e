//! Cabinets, read by cabextract and 7z.

use std::{fs, io::Write as _, num::NonZeroUsize, path::Path, process::Command};

use proptest::prelude::*;

use super::{CabWriter, Item, LENGTH_AT, Options};

const DATE: u32 = 1_790_000_000;

fn cabinet(files: &[(String, Vec<u8>)], level: u8, cores: usize) -> Vec<u8> {
    let options = Options { date: DATE, level, cores: NonZeroUsize::new(cores).unwrap() };
    let item =
        |(name, text): &(String, Vec<u8>)| Item { name: name.clone(), size: text.len() as u64 };
    let items: Vec<_> = files.iter().map(item).collect();
    let mut cab = CabWriter::new(Vec::new(), &items, options).unwrap();
    for (_, text) in files {
        cab.write_all(text).unwrap();
    }
    let (length, mut bytes) = cab.finish().unwrap();
    let at = usize::try_from(LENGTH_AT).unwrap();
    bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    bytes
}

#[expect(clippy::disallowed_methods, reason = "tests ask other people's readers")]
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("could not start `{program}`: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    said
}

fn read_back(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Text of the length given: noise, repetition, or noise that comes again after a block.
fn text(length: usize, seed: u32) -> Vec<u8> {
    let period = [97, 40_000, usize::MAX][(seed % 3) as usize];
    let noise = |n: usize| (n as u64 ^ u64::from(seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (0..length).map(|n| noise(n % period).to_le_bytes()[0]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn others_read_what_is_written(
        files in prop::collection::vec(
            (prop_oneof![Just(0), Just(1), Just(32_768), Just(32_769), Just(262_144), 0..700_000_usize], any::<u32>()),
            1..6,
        ),
        level in 0..=9_u8,
    ) {
        let name = |index: usize| format!("f.{index}.bin");
        let files: Vec<_> = files
            .into_iter()
            .enumerate()
            .map(|(index, (length, seed))| (name(index), text(length, seed)))
            .collect();
        let bytes = cabinet(&files, level, 1);
        prop_assert!(bytes == cabinet(&files, level, 5));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cab");
        fs::write(&path, &bytes).unwrap();
        let path = path.to_str().unwrap();
        for (reader, flags) in [("cabextract", ["-q", "-d"]), ("7z", ["x", "-o"])] {
            let to = folder.path().join(reader);
            let to = to.to_str().unwrap();
            match reader {
                "7z" => run(reader, &[flags[0], &format!("{}{to}", flags[1]), path]),
                _ => run(reader, &[flags[0], flags[1], to, path]),
            };
            prop_assert!(read_back(Path::new(to)) == files, "{}", reader);
        }
    }
}

#[test]
fn noise_grows_no_more_than_the_format_allows() {
    let noise =
        |n: u64| (n.wrapping_mul(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29).to_le_bytes()[0];
    let text: Vec<_> = (0..300_000).map(noise).collect();
    let bytes = cabinet(&[("noise".into(), text.clone())], 6, 2);
    let blocks = text.len().div_ceil(32_768);
    assert!(bytes.len() <= text.len() + blocks * (8 + 12) + 64, "{}", bytes.len());
}

#[test]
fn checksums_and_dates_are_right_to_another_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.cab");
    fs::write(&path, cabinet(&[("one".into(), text(100_001, 1))], 6, 2)).unwrap();
    let path = path.to_str().unwrap();
    run("cabextract", &["-t", path]);
    let listing = run("7z", &["l", "-slt", path]);
    assert!(listing.contains("Modified = 2026-09-21 14:13:20"), "{listing}");
}

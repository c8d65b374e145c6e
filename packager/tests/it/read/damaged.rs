//! Packages that were changed, cut short, or made to take memory and time.

use std::{fs, path::Path};

use packager::read::{Contents, Kind, ReadError};
use proptest::prelude::*;

use super::{failures, open, ours};
use crate::fixture::run;

/// Whether the change shows: as an error, as a failed check, or as other contents.
fn shows(original: &Contents, changed: &[u8]) -> bool {
    match open(changed) {
        Err(_) => true,
        Ok(contents) => {
            !failures(&contents).is_empty()
                || !packager::read::diff::between(original, &contents).is_empty()
        }
    }
}

#[test]
fn a_bit_that_flipped_in_the_files_shows() {
    for (kind, bytes, _) in ours() {
        let original = open(&bytes).unwrap();
        let files = match kind {
            // It begins with room for signatures.
            Kind::Pkg => 34_000..bytes.len() * 3 / 4,
            Kind::Msi => cabinet(&bytes),
            Kind::Deb | Kind::Rpm => bytes.len() / 3..bytes.len() * 3 / 4,
        };
        let mut unseen = 0;
        for at in files.step_by(bytes.len() / 97) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            if !shows(&original, &changed) {
                // zstd has bits that stand for nothing: others unpack the same files, too.
                assert_eq!(kind, Kind::Deb, "byte {at} of {}", bytes.len());
                assert_eq!(unpacked(&bytes), unpacked(&changed), "byte {at} of {}", bytes.len());
                unseen += 1;
            }
        }
        assert!(unseen <= 1, "{kind}: {unseen} bits stand for nothing");
    }
}

/// The digest of what dpkg-deb unpacks.
fn unpacked(deb: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), deb).unwrap();
    let path = file.path().display();
    run("bash", &["-c", &format!("set -o pipefail; dpkg-deb --fsys-tarfile {path} | sha256sum")])
}

/// Where in an msi the data of the cabinet is, which no other stream comes before.
fn cabinet(msi: &[u8]) -> std::ops::Range<usize> {
    let start = msi.windows(4).position(|bytes| bytes == b"MSCF").unwrap();
    let length = u32::from_le_bytes(msi[start + 8..start + 12].try_into().unwrap());
    let end = start + length as usize;
    end - length as usize / 2..end
}

#[test]
fn what_is_cut_short_is_no_package() {
    for (kind, bytes, _) in ours() {
        for part in 1..8 {
            let cut = &bytes[..bytes.len() * part / 8];
            let whole = open(cut).is_ok_and(|contents| failures(&contents).is_empty());
            assert!(!whole, "{kind}: {part}/8");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The bounded part of `cargo xtask fuzz`: no panic, and an end.
    #[test]
    fn packages_changed_anyhow_are_read_or_refused(
        which in 0..4_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..12),
    ) {
        static OURS: std::sync::LazyLock<Vec<Vec<u8>>> =
            std::sync::LazyLock::new(|| ours().into_iter().map(|(_, bytes, _)| bytes).collect());
        let mut bytes = OURS[which].clone();
        for (place, value, how) in edits {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = value,
                // Heads and tables are at the front.
                1 => { let at = at % 2048.min(bytes.len()); bytes[at] = value; }
                2 => bytes.truncate(at.max(64)),
                _ => { let end = (at + usize::from(value)).min(bytes.len()); bytes[at..end].fill(value); }
            }
        }
        let _ = open(&bytes);
    }
}

/// A deb whose control archive is `control` and that has no files.
fn deb(folder: &Path, control: &Path) -> Vec<u8> {
    let member = |name: &str, bytes: &[u8]| {
        let head =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len());
        let mut member = [head.as_bytes(), bytes].concat();
        member.resize(member.len().next_multiple_of(2), b'\n');
        member
    };
    let empty = folder.join("empty.tar");
    run("tar", &["-cf", empty.to_str().unwrap(), "-T", "/dev/null"]);
    let mut deb = b"!<arch>\n".to_vec();
    deb.extend(member("debian-binary", b"2.0\n"));
    deb.extend(member("control.tar.gz", &fs::read(control).unwrap()));
    deb.extend(member("data.tar", &fs::read(empty).unwrap()));
    deb
}

#[test]
fn a_control_archive_of_a_gigabyte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = folder.path().join("control.tar.gz");
    let script = format!(
        "cd {} && truncate -s 1G control && tar -cf - control | gzip -1 > {}",
        folder.path().display(),
        bomb.display()
    );
    run("sh", &["-c", &script]);
    let refused = open(&deb(folder.path(), &bomb)).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { part: "control archive", .. }), "{refused}");
}

/// A pkg whose table is `table`.
fn xar(table: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (plain, squeezed) = (folder.path().join("plain"), folder.path().join("squeezed"));
    fs::write(&plain, table).unwrap();
    let script = "import sys,zlib; open(sys.argv[2],'wb').write(zlib.compress(open(sys.argv[1],'rb').read()))";
    run("python3", &["-c", script, plain.to_str().unwrap(), squeezed.to_str().unwrap()]);
    let squeezed = fs::read(squeezed).unwrap();
    let mut xar = b"xar!".to_vec();
    xar.extend([0, 28, 0, 1]);
    xar.extend((squeezed.len() as u64).to_be_bytes());
    xar.extend((table.len() as u64).to_be_bytes());
    xar.extend([0, 0, 0, 1]);
    xar.extend(squeezed);
    xar
}

#[test]
fn a_table_deeper_than_any_is_refused() {
    let deep = [b"<xar><toc>".as_slice(), &b"<file>".repeat(200_000)].concat();
    let refused = open(&xar(&deep)).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { unit: "levels", .. }), "{refused}");
    let wide = [b"<xar><toc>".as_slice(), &b"<a/>".repeat(3_000_000), b"</toc></xar>"].concat();
    let refused = open(&xar(&wide)).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { unit: "elements", .. }), "{refused}");
}

#[test]
fn a_table_that_unpacks_to_a_gigabyte_is_refused() {
    let refused = open(&xar(&b" ".repeat(100 << 20))).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { part: "table", .. }), "{refused}");
}

#[test]
fn members_that_have_the_same_place_count_for_each_of_them() {
    let member = |number: u32| {
        let length = 1_u64 << 34;
        format!("<file><name>{number}</name><data><length>{length}</length></data></file>")
    };
    let members: String = (0..5).map(member).collect();
    let refused = open(&xar(format!("<xar><toc>{members}</toc></xar>").as_bytes())).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { unit: "bytes of members", .. }), "{refused}");
}

#[test]
fn an_rpm_that_claims_more_tags_than_there_are_is_refused() {
    let (_, mut rpm, _) = ours().into_iter().find(|(kind, ..)| *kind == Kind::Rpm).unwrap();
    rpm[96 + 8..96 + 12].copy_from_slice(&u32::MAX.to_be_bytes());
    let refused = open(&rpm).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { unit: "tags", .. }), "{refused}");
    rpm[96 + 8..96 + 16].copy_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    let refused = open(&rpm).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { part: "signature header", .. }), "{refused}");
}

#[test]
fn allocation_tables_that_go_round_in_circles_are_refused() {
    let (_, msi, _) = ours().into_iter().find(|(kind, ..)| *kind == Kind::Msi).unwrap();
    // The list of tables goes on in sector 0, which names itself as the next.
    let mut circle = msi.clone();
    circle[68..72].copy_from_slice(&0_u32.to_le_bytes());
    circle[512 + 508..512 + 512].copy_from_slice(&0_u32.to_le_bytes());
    let refused = open(&circle).unwrap_err();
    assert!(matches!(refused, ReadError::TooBig { unit: "allocation tables", .. }), "{refused}");
    // The directory's chain is a circle.
    let directory = u32::from_le_bytes(msi[48..52].try_into().unwrap());
    let table = u32::from_le_bytes(msi[76..80].try_into().unwrap());
    let mut circle = msi;
    let entry = (table as usize + 1) * 512 + (directory as usize % 128) * 4;
    circle[entry..entry + 4].copy_from_slice(&directory.to_le_bytes());
    assert!(matches!(open(&circle), Err(ReadError::Damaged { part: "compound file", .. })));
}

//! The same inputs give the same bytes.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::fixture::{pack, run};

/// A machine's circumstances: what a shell sets up, what then starts the program, and for how many
/// cores.
struct Circumstances {
    set_up: &'static str,
    starter: &'static str,
    cores: &'static str,
}

const HERE: Circumstances =
    Circumstances { set_up: "umask 077; export TZ=Asia/Tokyo", starter: "", cores: "1" };

/// Another clock, and another user, whom the files that are packed do not belong to.
const THERE: Circumstances = Circumstances {
    set_up: "umask 002; export TZ=America/Lima USER=nobody HOME=/ LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8",
    starter: "unshare --user faketime '2001-02-03 04:05:06'",
    cores: "4",
};

/// Packs this test's own program, in `folder`.
fn packed(folder: &Path, [format, compression]: [&str; 2], under: &Circumstances) -> Vec<u8> {
    fs::create_dir_all(folder).unwrap();
    let program = std::env::current_exe().unwrap();
    let program = fs::canonicalize(program).unwrap();
    let Circumstances { set_up, starter, cores } = under;
    let script = format!(r#"cd "$1"; {set_up}; exec {starter} "$2" "$3" "$4" out "$5" "$6" "$6""#);
    let folder_name = folder.to_str().unwrap();
    let program = program.to_str().unwrap();
    let args = ["-ec", &script, "sh", folder_name, &pack(), format, compression, cores, program];
    run("sh", &args);
    fs::read(folder.join("out")).unwrap()
}

#[test]
fn folder_file_system_umask_clock_user_and_cores_leave_no_trace() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    let device = |dir: &tempfile::TempDir| fs::metadata(dir).unwrap().dev();
    assert_ne!(device(&here), device(&there), "both folders are on one file system");
    let all: &[&str] = &["none", "gzip:1", "xz:0", "zstd:3", "zstd:9"];
    let gzip: &[&str] = &["gzip:1", "gzip:6"];
    for (format, compressions) in [("deb", all), ("rpm", all), ("msi", gzip), ("pkg", gzip)] {
        for &compression in compressions {
            let one = packed(&here.path().join(format), [format, compression], &HERE);
            let other = there.path().join("another/and/deeper").join(format);
            let other = packed(&other, [format, compression], &THERE);
            assert!(one == other, "{format} {compression}");
        }
    }
}

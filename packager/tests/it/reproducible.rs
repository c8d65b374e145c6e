//! The same inputs give the same bytes.

use std::{fs, path::Path};

use crate::fixture::run;

/// The example of that name, which is built with the tests.
fn pack() -> String {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join("pack");
    built.to_str().unwrap().to_owned()
}

/// Packs this test's own program, in `folder`, with what a shell sets up before.
fn packed(folder: &Path, [format, compression, cores]: [&str; 3], set_up: &str) -> Vec<u8> {
    fs::create_dir_all(folder).unwrap();
    let program = std::env::current_exe().unwrap();
    let program = fs::canonicalize(program).unwrap();
    let script = format!(r#"cd "$1"; {set_up}; exec "$2" "$3" "$4" out "$5" "$6" "$6""#);
    let folder_name = folder.to_str().unwrap();
    let program = program.to_str().unwrap();
    let args = ["-ec", &script, "sh", folder_name, &pack(), format, compression, cores, program];
    run("sh", &args);
    fs::read(folder.join("out")).unwrap()
}

#[test]
fn folder_umask_clock_user_and_cores_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let all: &[&str] = &["none", "gzip:1", "xz:0", "zstd:3", "zstd:9"];
    let gzip: &[&str] = &["gzip:1", "gzip:6"];
    for (format, compressions) in [("deb", all), ("rpm", all), ("msi", gzip), ("pkg", gzip)] {
        for &compression in compressions {
            let one = folder.path().join("one").join(format);
            let one = packed(&one, [format, compression, "1"], "umask 077; export TZ=Asia/Tokyo");
            let other = folder.path().join("another/and/deeper").join(format);
            let set_up = "umask 002; export TZ=America/Lima USER=nobody HOME=/ LANG=tr_TR.UTF-8";
            let other = packed(&other, [format, compression, "4"], set_up);
            assert!(one == other, "{format} {compression}");
        }
    }
}

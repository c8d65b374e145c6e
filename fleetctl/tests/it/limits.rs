//! `fleetctl package` where disks are full, files are too big, and places cannot be written to.

use serde_json::Value;

use crate::run::{Home, program};

fn home() -> Home {
    let home = Home::new();
    home.write("bin/orbit", std::fs::read("/bin/true").unwrap());
    home
}

const PACK: [&str; 5] = ["package", "--type", "deb,rpm", "--components", "bin"];

/// Runs `script` in the home; gives its exit code and what it said.
fn shell(home: &Home, script: &str) -> (i32, String) {
    let ended = program("sh".as_ref())
        .args(["-euc", script])
        .current_dir(home.path(""))
        .env("HOME", home.path(""))
        .env("FLEETCTL", env!("CARGO_BIN_EXE_fleetctl"))
        .output()
        .unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code().unwrap_or(-1), String::from_utf8(said).unwrap())
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left_on_it() {
    let home = home();
    let script = format!(
        "mkdir full && unshare --map-root-user --mount sh -euc '
           mount -t tmpfs -o size=8k none full
           \"$FLEETCTL\" {} --out-dir full || echo code $?
           ls -A full | sed s/^/left:/'",
        PACK.join(" ")
    );
    let (_, said) = shell(&home, &script);
    assert!(said.contains("No space left on device") && said.contains("code 1"), "{said}");
    assert!(!said.contains("left:"), "{said}");
}

#[test]
fn a_limit_on_the_size_of_files_is_told_and_nothing_is_left() {
    let home = home();
    let script =
        format!("mkdir out; prlimit --fsize=5000 \"$FLEETCTL\" {} --out-dir out", PACK.join(" "));
    let (code, said) = shell(&home, &script);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert_eq!(std::fs::read_dir(home.path("out")).unwrap().count(), 0);
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    let home = home();
    home.write("file", "");
    let flags = [&PACK[..], &["--out-dir", "file/below"]].concat();
    let said = home.fleetctl(flags).fails(1);
    assert!(said.contains("could not create `file/below`"), "{said}");
    let flags = ["package", "--type", "deb", "--components", "bin", "--outfile", "/proc/agent.deb"];
    let said = home.fleetctl(flags).fails(1);
    assert!(said.contains("could not make `/proc/agent.deb`"), "{said}");
}

/// Writes a file of 3 GB that begins with `head`; the zeros after that take no room here.
fn big(home: &Home, name: &str, head: impl AsRef<[u8]>) {
    let path = home.write(name, head);
    std::fs::File::options().write(true).open(path).unwrap().set_len(BIG).unwrap();
}

const BIG: u64 = 3_000_000_000;

#[test]
fn a_program_of_three_gigabytes_is_beyond_some_formats_which_say_so_at_once() {
    let home = home();
    big(&home, "big/orbit", std::fs::read("/bin/true").unwrap());
    big(&home, "big/orbit.exe", crate::package::windows_program(0x8664));
    for (kind, limit) in [("rpm", "a file is over 2147483647 bytes"), ("msi", "its files is over")]
    {
        let flags = ["package", "--type", kind, "--components", "big", "--out-dir", "out"];
        let said = home.fleetctl(flags).fails(1);
        assert!(said.contains("too big for its format") && said.contains(limit), "{said}");
        assert_eq!(std::fs::read_dir(home.path("out")).unwrap().count(), 0);
    }
}

#[test]
fn a_program_of_three_gigabytes_goes_into_a_deb_and_a_pkg_and_is_read_back() {
    let home = home();
    big(&home, "big/orbit", "#!/bin/sh\n");
    for (kind, compression) in [("deb", "zstd:1"), ("pkg", "gzip:1")] {
        let file = format!("big.{kind}");
        let flags = ["package", "--type", kind, "--components", "big", "--outfile", &file];
        home.fleetctl([&flags[..], &["--compression", compression]].concat()).ok();
    }
    let read = |verb: &str, file: &str| -> Value {
        let words = verb.split(' ').chain([file, "-o", "json"]);
        let said = home.fleetctl(["package"].into_iter().chain(words)).ok();
        serde_json::from_str(&said).unwrap()
    };
    let inspected = read("inspect", "big.deb");
    let mut files = inspected["files"].as_array().unwrap().iter();
    let orbit = files.find(|file| file["path"] == "/opt/orbit/bin/orbit/packaged/orbit").unwrap();
    assert_eq!(orbit["size"], BIG);
    let verified = read("verify --no-signature", "big.pkg");
    assert_eq!(verified["good"], true, "{verified}");
}

#[test]
fn a_symlink_that_leads_to_itself_is_no_program() {
    let home = Home::new();
    std::fs::create_dir(home.path("bin")).unwrap();
    std::os::unix::fs::symlink("orbit", home.path("bin/orbit")).unwrap();
    let said = home.fleetctl(PACK).fails(2);
    assert!(said.contains("--components `bin`"), "{said}");
}

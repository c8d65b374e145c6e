//! How much memory packing takes.

use std::{fs::File, io::Write as _, path::Path};

use crate::fixture::{pack, run};

/// Bytes of what is packed.
const SIZE: u64 = 500_000_000;
/// As many of them cannot be squeezed: more than is in memory at a time.
const NOISE: usize = 80 << 20;
/// The most that packing may take, in KiB.
const MOST: u64 = 64 << 10;
/// As many threads as a big machine has; this one need not have so many.
const CORES: &str = "16";

/// Runs a program, and prints the most memory that it had, in KiB.
const MEASURE: &str = "import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

/// glibc's allocator keeps what was freed unless it is told otherwise. What is shipped has another, which
/// gives it back.
const TRIMS: &str = "MALLOC_TRIM_THRESHOLD_=65536";

/// Noise, and zeros that take no room on the disk.
fn write_program(path: &Path) {
    let mut noise = vec![0; NOISE];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    let mut file = File::create(path).unwrap();
    file.write_all(b"#!/bin/sh\n").unwrap();
    file.write_all(&noise).unwrap();
    file.set_len(SIZE).unwrap();
}

#[test]
fn half_a_gigabyte_is_packed_in_64_mib_on_sixteen_cores() {
    let folder = tempfile::tempdir().unwrap();
    let [program, out] = ["program", "out"].map(|name| folder.path().join(name));
    write_program(&program);
    let (program, out) = (program.to_str().unwrap(), out.to_str().unwrap());
    for (format, compression) in [
        ("deb", "zstd:3"),
        ("deb", "gzip:6"),
        ("rpm", "zstd:3"),
        ("msi", "gzip:6"),
        ("pkg", "gzip:6"),
    ] {
        let args =
            [TRIMS, "python3", "-c", MEASURE, &pack(), format, compression, out, CORES, program];
        let peak: u64 = run("env", &args).trim().parse().unwrap();
        assert!(peak <= MOST, "{format} {compression}: {peak} KiB");
    }
}

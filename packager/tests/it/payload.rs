//! Which programs are let into which package.

use camino::Utf8Path;
use packager::{
    Component, ComponentKind, Platform,
    payload::{Arch, Os},
};

const LINUX: Platform = Platform { os: Os::Linux, arch: Arch::Amd64 };
const LINUX_ARM64: Platform = Platform { os: Os::Linux, arch: Arch::Arm64 };
const WINDOWS: Platform = Platform { os: Os::Windows, arch: Arch::Amd64 };
const WINDOWS_ARM64: Platform = Platform { os: Os::Windows, arch: Arch::Arm64 };
const MACOS: Platform = Platform { os: Os::Macos, arch: Arch::Universal };
const PLATFORMS: [Platform; 5] = [LINUX, LINUX_ARM64, WINDOWS, WINDOWS_ARM64, MACOS];

fn elf(class: u8, machine: u16) -> Vec<u8> {
    let mut head = vec![0; 64];
    head[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1]);
    head[18..20].copy_from_slice(&machine.to_le_bytes());
    head
}

/// The least that is a program for Windows.
pub(crate) fn pe(machine: u16) -> Vec<u8> {
    let mut head = vec![0; 0x200];
    head[..2].copy_from_slice(b"MZ");
    head[0x3c] = 0x40;
    head[0x40..0x44].copy_from_slice(b"PE\0\0");
    head[0x44..0x46].copy_from_slice(&machine.to_le_bytes());
    head[0x54..0x56].copy_from_slice(&240_u16.to_le_bytes());
    head[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
    head
}

fn macho(cpu: u32) -> Vec<u8> {
    let mut head = vec![0; 32];
    head[..4].copy_from_slice(&0xfeed_facf_u32.to_le_bytes());
    head[4..8].copy_from_slice(&cpu.to_le_bytes());
    head
}

fn fat(cpus: &[u32]) -> Vec<u8> {
    let mut head = 0xcafe_babe_u32.to_be_bytes().to_vec();
    head.extend(u32::try_from(cpus.len()).unwrap().to_be_bytes());
    for cpu in cpus {
        head.extend(cpu.to_be_bytes());
        head.extend([0; 16]);
    }
    head
}

const X86_64: u32 = 0x0100_0007;
const ARM64: u32 = 0x0100_000c;

/// What is said of a file with that content on each platform; nothing where it is taken.
fn said(content: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    std::fs::write(&path, content).unwrap();
    let path = Utf8Path::from_path(&path).unwrap();
    let open =
        |platform| Component::open(ComponentKind::Orbit, "1.2.3".parse().unwrap(), path, platform);
    let errors = PLATFORMS.map(|platform| open(platform).err());
    errors
        .into_iter()
        .flatten()
        .map(|error| error.to_string().replace(path.as_str(), "it"))
        .collect()
}

fn taken_on(content: &[u8]) -> usize {
    PLATFORMS.len() - said(content).len()
}

#[test]
fn a_program_goes_into_the_package_of_its_own_system_and_processor_alone() {
    for (content, made_for, suits) in [
        (elf(2, 62), "linux/amd64", 1),
        (elf(2, 183), "linux/arm64", 1),
        (elf(2, 243), "linux on another processor", 0),
        (elf(1, 3), "linux on another processor", 0),
        (pe(0x8664), "windows/amd64", 1),
        (pe(0xaa64), "windows/arm64", 1),
        (pe(0x1c4), "windows on another processor", 0),
        (macho(X86_64), "macos/amd64", 0),
        (macho(ARM64), "macos/arm64", 0),
        (fat(&[X86_64, ARM64]), "macos/amd64+arm64", 1),
        (fat(&[ARM64, 7]), "macos/arm64", 0),
    ] {
        let said = said(&content);
        assert_eq!(PLATFORMS.len() - said.len(), suits, "{made_for}: {said:?}");
        let starts = format!("`it` is a program for {made_for}, not for ");
        assert!(said.iter().all(|line| line.starts_with(&starts)), "{made_for}: {said:?}");
    }
}

#[test]
fn a_script_is_taken_where_it_can_be_started() {
    let said = said(b"#!/bin/sh\nexit 0\n");
    assert_eq!(
        said,
        [
            "`it` is no program that windows/amd64 could start",
            "`it` is no program that windows/arm64 could start"
        ]
    );
}

#[test]
fn a_head_that_breaks_off_is_refused_or_taken_but_never_trips() {
    for whole in [elf(2, 62), pe(0x8664), macho(X86_64), fat(&[X86_64, ARM64])] {
        for length in 0..whole.len() {
            assert!(taken_on(&whole[..length]) <= 3, "{length}");
        }
    }
}

//! What a program's file says of itself: the system and the processors that it is made for.

use std::{
    fmt,
    io::{Read, Seek},
};

use object::{
    Endianness, FileKind, LittleEndian as LE, elf, macho, pe,
    read::{
        ReadCache, ReadRef,
        elf::FileHeader as _,
        macho::{FatArch, MachHeader as _, MachOFatFile32, MachOFatFile64},
        pe::ImageNtHeaders as _,
    },
};

use super::{Arch, Library, Os, Platform, libraries};

/// The system and the processors that a program is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeFor {
    pub os: Os,
    /// Those that packages are made for; empty when it is for others.
    pub archs: Vec<Arch>,
}

impl MadeFor {
    /// Whether the program can be started on `platform`.
    pub(super) fn suits(&self, platform: Platform) -> bool {
        let wanted: &[Arch] = match platform.arch {
            Arch::Universal => &[Arch::Amd64, Arch::Arm64],
            Arch::Amd64 => &[Arch::Amd64],
            Arch::Arm64 => &[Arch::Arm64],
        };
        self.os == platform.os && wanted.iter().all(|arch| self.archs.contains(arch))
    }
}

/// `linux/amd64`, `macos/amd64+arm64`, `windows on another processor`.
impl fmt::Display for MadeFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archs: Vec<_> = self.archs.iter().map(Arch::to_string).collect();
        if archs.is_empty() {
            return write!(f, "{} on another processor", self.os);
        }
        write!(f, "{}/{}", self.os, archs.join("+"))
    }
}

/// What the head of a program's file tells.
pub(super) struct Head {
    pub(super) made_for: MadeFor,
    /// What an ELF program is linked to.
    pub(super) libraries: Vec<Library>,
}

impl Head {
    /// None: an executable of no system, like a script.
    pub(super) fn read(file: impl Read + Seek) -> Option<Self> {
        let file = ReadCache::new(file);
        let kind = FileKind::parse(&file).ok()?;
        let (os, archs) = match kind {
            FileKind::Elf64 => (Os::Linux, elf_archs(&file)),
            FileKind::Pe64 => (Os::Windows, pe_archs(&file)),
            FileKind::MachO64 => (Os::Macos, macho_archs(&file)),
            FileKind::MachOFat32 => {
                (Os::Macos, MachOFatFile32::parse(&file).ok().map(|it| fat_archs(it.arches())))
            }
            FileKind::MachOFat64 => {
                (Os::Macos, MachOFatFile64::parse(&file).ok().map(|it| fat_archs(it.arches())))
            }
            FileKind::Elf32 => (Os::Linux, None),
            FileKind::Pe32 => (Os::Windows, None),
            FileKind::MachO32 => (Os::Macos, None),
            FileKind::Coff | FileKind::CoffBig | FileKind::CoffImport | FileKind::DyldCache | _ => {
                return None;
            }
        };
        // A file that cannot be read on is taken for a static one.
        let elf = (kind == FileKind::Elf64).then(|| libraries::read(&file).unwrap_or_default());
        let libraries = elf.unwrap_or_default();
        Some(Self { made_for: MadeFor { os, archs: archs.unwrap_or_default() }, libraries })
    }
}

type Elf = elf::FileHeader64<Endianness>;

fn elf_archs<'a>(file: impl ReadRef<'a>) -> Option<Vec<Arch>> {
    let header = Elf::parse(file).ok()?;
    let endian = header.endian().ok()?;
    match (header.e_machine(endian), endian) {
        (elf::EM_X86_64, Endianness::Little) => Some(vec![Arch::Amd64]),
        (elf::EM_AARCH64, Endianness::Little) => Some(vec![Arch::Arm64]),
        _ => None,
    }
}

fn pe_archs<'a>(file: impl ReadRef<'a>) -> Option<Vec<Arch>> {
    let mut offset = pe::ImageDosHeader::parse(file).ok()?.nt_headers_offset().into();
    let (headers, _) = pe::ImageNtHeaders64::parse(file, &mut offset).ok()?;
    match headers.file_header().machine.get(LE) {
        pe::IMAGE_FILE_MACHINE_AMD64 => Some(vec![Arch::Amd64]),
        pe::IMAGE_FILE_MACHINE_ARM64 => Some(vec![Arch::Arm64]),
        _ => None,
    }
}

fn macho_archs<'a>(file: impl ReadRef<'a>) -> Option<Vec<Arch>> {
    let header = macho::MachHeader64::<Endianness>::parse(file, 0).ok()?;
    let endian = header.endian().ok()?;
    Some(cpu(header.cputype(endian)).into_iter().collect())
}

fn fat_archs(slices: &[impl FatArch]) -> Vec<Arch> {
    let mut archs: Vec<_> = slices.iter().filter_map(|slice| cpu(slice.cputype())).collect();
    archs.sort();
    archs.dedup();
    archs
}

fn cpu(kind: macho::CpuType) -> Option<Arch> {
    match kind {
        macho::CPU_TYPE_X86_64 => Some(Arch::Amd64),
        macho::CPU_TYPE_ARM64 => Some(Arch::Arm64),
        _ => None,
    }
}

//! Programs for macOS: the version they start on, the libraries they load, and the signature without
//! which Apple silicon starts nothing.

use anyhow::Context as _;
use object::{
    BigEndian, FileKind, LittleEndian,
    macho::{
        CPU_TYPE_ARM64, CPU_TYPE_X86_64, CS_HASHTYPE_SHA256, CSMAGIC_CODEDIRECTORY,
        LC_CODE_SIGNATURE, PLATFORM_MACOS,
    },
    read::macho::{
        CodeDirectory, FatArch as _, LoadCommandVariant, MachHeader as _, MachOFatFile32,
        MachOFile64,
    },
};
use sha2::{Digest as _, Sha256};

use crate::dist::target::{Cpu, MACOS_MINIMUM};

/// The oldest supported macOS, as load commands write it.
const MINIMUM: u32 = MACOS_MINIMUM.0 << 16 | MACOS_MINIMUM.1 << 8;

/// Where macOS keeps its own libraries.
const SYSTEM: &[&str] = &["/usr/lib/", "/System/Library/Frameworks/"];

pub(super) fn problems(bytes: &[u8], cpu: Cpu, name: &str) -> anyhow::Result<Vec<String>> {
    let file = MachOFile64::<LittleEndian>::parse(bytes)?;
    let mut problems = Vec::new();
    let wanted = match cpu {
        Cpu::X86_64 => CPU_TYPE_X86_64,
        Cpu::Aarch64 => CPU_TYPE_ARM64,
    };
    if file.macho_header().cputype(LittleEndian) != wanted {
        problems.push("it is for another processor".to_owned());
    }
    problems.extend(of_commands(&file)?);
    problems.extend(of_signature(&file, bytes, name)?);
    Ok(problems)
}

pub(super) fn universal_problems(bytes: &[u8], name: &str) -> anyhow::Result<Vec<String>> {
    if FileKind::parse(bytes)? != FileKind::MachOFat32 {
        return Ok(vec!["it is no universal program".to_owned()]);
    }
    let fat = MachOFatFile32::parse(bytes)?;
    let mut problems = Vec::new();
    for (cpu, kind) in [(Cpu::X86_64, CPU_TYPE_X86_64), (Cpu::Aarch64, CPU_TYPE_ARM64)] {
        match fat.arches().iter().find(|arch| arch.cputype() == kind) {
            Some(arch) => problems.extend(self::problems(arch.data(bytes)?, cpu, name)?),
            None => problems.push(format!("it has nothing for {cpu:?}")),
        }
    }
    Ok(problems)
}

/// The system it is for, and the libraries.
fn of_commands(file: &MachOFile64<'_, LittleEndian>) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut versioned = false;
    for command in file.macho_load_commands()? {
        let command = command?;
        let variant = command.variant()?;
        if let LoadCommandVariant::BuildVersion(build, _) = variant {
            versioned = build.platform.get(LittleEndian) == PLATFORM_MACOS;
            let minimum = build.minos.get(LittleEndian).0;
            if minimum > MINIMUM {
                problems.push(format!("it asks for macOS {}", minimum >> 16));
            }
        }
        if let LoadCommandVariant::Dylib(dylib) = variant {
            let path = String::from_utf8_lossy(command.string(LittleEndian, dylib.dylib.name)?);
            if !SYSTEM.iter().any(|dir| path.starts_with(dir)) {
                problems.push(format!("it loads `{path}`, which macOS may not have"));
            }
        }
    }
    if !versioned {
        problems.push("it does not say which macOS it is for".to_owned());
    }
    Ok(problems)
}

/// Every page's hash is computed anew.
fn of_signature(
    file: &MachOFile64<'_, LittleEndian>,
    bytes: &[u8],
    name: &str,
) -> anyhow::Result<Vec<String>> {
    let Some(directory) = code_directory(file, bytes)? else {
        return Ok(vec!["it is not signed".to_owned()]);
    };
    let mut problems = Vec::new();
    let identifier = String::from_utf8_lossy(directory.ident()?).into_owned();
    if identifier != name {
        problems.push(format!("its signature is for `{identifier}`"));
    }
    let header = directory.header();
    if header.hash_type != CS_HASHTYPE_SHA256 {
        problems.push("its signature does not use SHA-256".to_owned());
        return Ok(problems);
    }
    let limit = usize::try_from(directory.code_limit())?;
    let code = bytes.get(..limit).context("the signature covers more than there is")?;
    let mut broken = 0;
    for (index, page) in (0..).zip(code.chunks(1 << header.page_size)) {
        broken += usize::from(Sha256::digest(page).as_slice() != directory.code_hash(index)?);
    }
    if broken > 0 {
        problems.push(format!("{broken} of its pages are not what was signed"));
    }
    if header.n_code_slots.get(BigEndian) as usize != code.chunks(1 << header.page_size).len() {
        problems.push("its signature covers another number of pages".to_owned());
    }
    Ok(problems)
}

fn code_directory<'data>(
    file: &MachOFile64<'data, LittleEndian>,
    bytes: &'data [u8],
) -> anyhow::Result<Option<CodeDirectory<'data>>> {
    for command in file.macho_load_commands()? {
        let command = command?;
        let LoadCommandVariant::LinkeditData(data) = command.variant()? else { continue };
        if command.cmd() != LC_CODE_SIGNATURE {
            continue;
        }
        for blob in data.code_signature(LittleEndian, bytes)?.blobs() {
            let blob = blob?;
            if blob.magic() == CSMAGIC_CODEDIRECTORY {
                return Ok(blob.code_directory()?);
            }
        }
    }
    Ok(None)
}

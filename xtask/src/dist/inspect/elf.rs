//! Programs for Linux: static, so that they start on every distribution.

use object::{
    LittleEndian,
    elf::{EM_AARCH64, EM_X86_64, ET_DYN, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_INTERP},
    read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _},
};

use crate::dist::target::Cpu;

pub(super) fn problems(bytes: &[u8], cpu: Cpu) -> anyhow::Result<Vec<String>> {
    let file = ElfFile64::<LittleEndian>::parse(bytes)?;
    let mut problems = Vec::new();
    if file.elf_header().e_type(LittleEndian) != ET_DYN {
        problems.push("it lies at a fixed address".to_owned());
    }
    let machine = match cpu {
        Cpu::X86_64 => EM_X86_64,
        Cpu::Aarch64 => EM_AARCH64,
    };
    if file.elf_header().e_machine(LittleEndian) != machine {
        problems.push("it is for another processor".to_owned());
    }
    for segment in file.elf_program_headers() {
        let kind = segment.p_type(LittleEndian);
        if kind == PT_INTERP {
            problems.push("it asks for a loader".to_owned());
        }
        if kind == PT_DYNAMIC && needs_libraries(segment, bytes)? {
            problems.push("it asks for libraries".to_owned());
        }
        if kind == PT_GNU_STACK && segment.p_flags(LittleEndian).0 & PF_X.0 != 0 {
            problems.push("its stack is executable".to_owned());
        }
    }
    if file.elf_section_table().section_by_name(LittleEndian, b".symtab").is_some() {
        problems.push("it has symbols".to_owned());
    }
    Ok(problems)
}

fn needs_libraries(
    segment: &object::elf::ProgramHeader64<LittleEndian>,
    bytes: &[u8],
) -> anyhow::Result<bool> {
    let entries = segment.dynamic(LittleEndian, bytes)?.unwrap_or_default();
    Ok(entries.iter().any(|entry| entry.tag(LittleEndian) == object::elf::DT_NEEDED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_distribution_is_not_for_every_one() {
        let bytes = std::fs::read("/bin/true").unwrap();
        let other = if cfg!(target_arch = "x86_64") { Cpu::Aarch64 } else { Cpu::X86_64 };
        let problems = problems(&bytes, other).unwrap();
        for problem in ["another processor", "a loader", "libraries"] {
            assert!(problems.iter().any(|told| told.ends_with(problem)), "{problem}: {problems:?}");
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(problems(b"#!/bin/sh\n", Cpu::X86_64).is_err());
    }
}

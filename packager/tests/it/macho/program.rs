//! Programs for macOS, as short as they can be. Source: `mach-o/loader.h`, `mach-o/fat.h`.

pub(crate) const X86_64: u32 = 0x0100_0007;
pub(crate) const ARM64: u32 = 0x0100_000c;

const TEXT: usize = 0x4000;
const ADDRESS: u64 = 0x1_0000_0000;
const LC_SEGMENT_64: u32 = 0x19;
const LC_BUILD_VERSION: u32 = 0x32;

/// One for the processor `cpu` with `length` bytes of tables behind its code.
pub(crate) fn thin(cpu: u32, length: usize) -> Vec<u8> {
    let section = [name("__text"), name("__TEXT"), longs(&[ADDRESS + 0x1000, 0x100])].concat();
    let section = [section, numbers(&[0x1000, 4, 0, 0, 0x8000_0400, 0, 0, 0])].concat();
    let text = segment("__TEXT", [0, TEXT], &section);
    let linkedit = segment("__LINKEDIT", [TEXT, length], &[]);
    // macOS, from 11.0, built against 14.2.
    let version = numbers(&[LC_BUILD_VERSION, 24, 1, 0xb_0000, 0xe_0200, 0]);
    let commands = [text, linkedit, version].concat();
    let size = u32::try_from(commands.len()).unwrap();
    let head = numbers(&[0xfeed_facf, cpu, if cpu == ARM64 { 0 } else { 3 }, 2, 3, size, 0x85, 0]);
    let mut program = [head, commands].concat();
    program.resize(0x1000, 0);
    program.extend((0x1000..TEXT).map(|at| (at * 7) as u8));
    program.extend((0..length).map(|at| (at * 13) as u8));
    program
}

fn segment(title: &str, [start, size]: [usize; 2], section: &[u8]) -> Vec<u8> {
    let count = u32::try_from(section.len() / 80).unwrap();
    let long = u32::try_from(72 + section.len()).unwrap();
    let memory = size.next_multiple_of(0x4000) as u64;
    [
        numbers(&[LC_SEGMENT_64, long]),
        name(title),
        longs(&[ADDRESS + start as u64, memory, start as u64, size as u64]),
        numbers(&[5, 5, count, 0]),
        section.to_vec(),
    ]
    .concat()
}

/// One for each processor.
pub(crate) fn universal(programs: &[(u32, Vec<u8>)]) -> Vec<u8> {
    const ALIGNMENT: u32 = 14;
    let mut file =
        [0xcafe_babe, u32::try_from(programs.len()).unwrap()].map(u32::to_be_bytes).concat();
    let mut at = 1_u32 << ALIGNMENT;
    for (cpu, program) in programs {
        let size = u32::try_from(program.len()).unwrap();
        let variant = if *cpu == ARM64 { 0 } else { 3 };
        file.extend([*cpu, variant, at, size, ALIGNMENT].into_iter().flat_map(u32::to_be_bytes));
        at = (at + size).next_multiple_of(1 << ALIGNMENT);
    }
    for (_, program) in programs {
        file.resize(file.len().next_multiple_of(1 << ALIGNMENT), 0);
        file.extend(program);
    }
    file
}

fn name(text: &str) -> Vec<u8> {
    let mut name = text.as_bytes().to_vec();
    name.resize(16, 0);
    name
}

fn numbers(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|it| it.to_le_bytes()).collect()
}

fn longs(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|it| it.to_le_bytes()).collect()
}

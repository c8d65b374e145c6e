//! Programs for Windows: they import what every supported version brings, and let it protect them.

use object::{
    LittleEndian,
    pe::{
        IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
        IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64,
    },
    read::pe::{ImageNtHeaders as _, ImageOptionalHeader as _, PeFile64},
};

use crate::dist::target::Cpu;

/// Libraries of Windows 10 and Windows Server 2016, and of every version since, that a service or a
/// command may use. Those of the C runtime are part of Windows since then, too.
const SYSTEM: &[&str] = &[
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "combase.dll",
    "comctl32.dll",
    "crypt32.dll",
    "gdi32.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    "ktmw32.dll",
    "msvcrt.dll",
    "ncrypt.dll",
    "netapi32.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "pdh.dll",
    "powrprof.dll",
    "psapi.dll",
    "rpcrt4.dll",
    "secur32.dll",
    "shell32.dll",
    "shlwapi.dll",
    "user32.dll",
    "userenv.dll",
    "winhttp.dll",
    "wintrust.dll",
    "ws2_32.dll",
    "wtsapi32.dll",
];

/// Names that stand for whichever library has the functions: those of Windows 8 that Rust's standard
/// library and the `windows` crates use, and those of the C runtime that Windows 10 brings. Others
/// came later, with `-l1-2-1` and the like at their ends.
const SETS: &[&str] = &[
    "api-ms-win-core-synch-l1-2-0.dll",
    "api-ms-win-core-winrt-error-l1-1-0.dll",
    "api-ms-win-crt-conio-l1-1-0.dll",
    "api-ms-win-crt-convert-l1-1-0.dll",
    "api-ms-win-crt-environment-l1-1-0.dll",
    "api-ms-win-crt-filesystem-l1-1-0.dll",
    "api-ms-win-crt-heap-l1-1-0.dll",
    "api-ms-win-crt-locale-l1-1-0.dll",
    "api-ms-win-crt-math-l1-1-0.dll",
    "api-ms-win-crt-multibyte-l1-1-0.dll",
    "api-ms-win-crt-private-l1-1-0.dll",
    "api-ms-win-crt-process-l1-1-0.dll",
    "api-ms-win-crt-runtime-l1-1-0.dll",
    "api-ms-win-crt-stdio-l1-1-0.dll",
    "api-ms-win-crt-string-l1-1-0.dll",
    "api-ms-win-crt-time-l1-1-0.dll",
    "api-ms-win-crt-utility-l1-1-0.dll",
];

pub(super) fn problems(bytes: &[u8], cpu: Cpu) -> anyhow::Result<Vec<String>> {
    let file = PeFile64::parse(bytes)?;
    let headers = file.nt_headers();
    let mut problems = Vec::new();
    let machine = match cpu {
        Cpu::X86_64 => IMAGE_FILE_MACHINE_AMD64,
        Cpu::Aarch64 => IMAGE_FILE_MACHINE_ARM64,
    };
    if headers.file_header().machine.get(LittleEndian) != machine {
        problems.push("it is for another processor".to_owned());
    }
    for library in imports(&file)?.iter().filter(|name| !is_of_the_system(name)) {
        problems.push(format!("it imports `{library}`, which Windows may not have"));
    }
    let protections = headers.optional_header().dll_characteristics();
    for (flag, name) in [
        (IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "address space layout randomization"),
        (IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "data execution prevention"),
    ] {
        if protections.0 & flag.0 == 0 {
            problems.push(format!("it refuses {name}"));
        }
    }
    Ok(problems)
}

/// Libraries that the file names, in lower case.
fn imports(file: &PeFile64<'_>) -> anyhow::Result<Vec<String>> {
    let Some(table) = file.import_table()? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let name = table.name(descriptor.name.get(LittleEndian))?;
        names.push(String::from_utf8_lossy(name).to_lowercase());
    }
    Ok(names)
}

fn is_of_the_system(library: &str) -> bool {
    SYSTEM.contains(&library) || SETS.contains(&library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_compilers_are_not_of_the_system() {
        for name in ["libgcc_s_seh-1.dll", "libwinpthread-1.dll", "vcruntime140.dll"] {
            assert!(!is_of_the_system(name), "{name}");
        }
        assert!(is_of_the_system("api-ms-win-crt-heap-l1-1-0.dll"));
    }

    #[test]
    fn later_sets_of_functions_are_not_of_every_supported_system() {
        for name in [
            "api-ms-win-core-synch-l1-2-1.dll",
            "api-ms-win-core-memory-l1-1-8.dll",
            "api-ms-win-core-winrt-error-l1-1-1.dll",
        ] {
            assert!(!is_of_the_system(name), "{name}");
        }
        assert!(is_of_the_system("api-ms-win-core-synch-l1-2-0.dll"));
    }
}

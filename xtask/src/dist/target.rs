//! The systems that programs are built for.

use anyhow::bail;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Linux,
    Windows,
    Macos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cpu {
    X86_64,
    Aarch64,
}

/// Who compiles C and links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linker {
    /// Zig does both.
    Zig,
    /// Debian's mingw does both.
    Mingw,
    /// Zig compiles, the lld of the Rust toolchain links.
    ZigAndLld,
}

/// A system and a processor, as Rust names them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) triple: &'static str,
    pub(crate) system: System,
    pub(crate) cpu: Cpu,
    pub(crate) linker: Linker,
}

/// The name of what the two macOS targets are joined into.
pub(crate) const UNIVERSAL: &str = "universal-apple-darwin";

/// The oldest macOS that Rust and its programs start on where Apple silicon is concerned.
pub(crate) const MACOS_MINIMUM: &str = "11.0";

pub(crate) const TARGETS: &[Target] = &[
    Target {
        triple: "x86_64-unknown-linux-musl",
        system: System::Linux,
        cpu: Cpu::X86_64,
        linker: Linker::Zig,
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        system: System::Linux,
        cpu: Cpu::Aarch64,
        linker: Linker::Zig,
    },
    Target {
        triple: "x86_64-pc-windows-gnu",
        system: System::Windows,
        cpu: Cpu::X86_64,
        linker: Linker::Mingw,
    },
    Target {
        triple: "aarch64-pc-windows-gnullvm",
        system: System::Windows,
        cpu: Cpu::Aarch64,
        linker: Linker::Zig,
    },
    Target {
        triple: "x86_64-apple-darwin",
        system: System::Macos,
        cpu: Cpu::X86_64,
        linker: Linker::ZigAndLld,
    },
    Target {
        triple: "aarch64-apple-darwin",
        system: System::Macos,
        cpu: Cpu::Aarch64,
        linker: Linker::ZigAndLld,
    },
];

impl Target {
    /// What the oldest system is that its programs start on.
    pub(crate) const fn minimum_system(&self) -> &'static str {
        match (self.system, self.cpu) {
            (System::Linux, Cpu::X86_64) => "Linux 3.2",
            (System::Linux, Cpu::Aarch64) => "Linux 4.1",
            (System::Windows, Cpu::X86_64) => "Windows 10, Windows Server 2016",
            (System::Windows, Cpu::Aarch64) => "Windows 11",
            (System::Macos, _) => "macOS 11.0",
        }
    }

    /// `name` as a program's file is called on this system.
    pub(crate) fn file_name(&self, name: &str) -> String {
        match self.system {
            System::Windows => format!("{name}.exe"),
            System::Linux | System::Macos => name.to_owned(),
        }
    }
}

/// Targets as asked for, each once, in the order of [`TARGETS`], and whether the macOS ones are
/// to be joined. Nothing asked for is everything.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) targets: Vec<&'static Target>,
    pub(crate) universal: bool,
}

impl Choice {
    pub(crate) fn new(names: &[String]) -> anyhow::Result<Self> {
        let known =
            |name: &String| name == UNIVERSAL || TARGETS.iter().any(|target| target.triple == name);
        let unknown: Vec<_> = names.iter().filter(|name| !known(name)).cloned().collect();
        if !unknown.is_empty() {
            let all: Vec<_> = TARGETS.iter().map(|target| target.triple).collect();
            bail!(
                "there is no target `{}`; there are {} and {UNIVERSAL}",
                unknown.join("`, `"),
                all.join(", ")
            );
        }
        let universal = names.is_empty() || names.iter().any(|name| name == UNIVERSAL);
        let is_asked = |target: &&Target| {
            names.is_empty()
                || names.iter().any(|name| name == target.triple)
                || (universal && target.system == System::Macos)
        };
        Ok(Self { targets: TARGETS.iter().filter(is_asked).collect(), universal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> (Vec<&'static str>, bool) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let choice = Choice::new(&names).unwrap();
        (choice.targets.iter().map(|target| target.triple).collect(), choice.universal)
    }

    #[test]
    fn nothing_asked_for_is_everything() {
        assert_eq!(chosen(&[]).0.len(), TARGETS.len());
        assert!(chosen(&[]).1);
    }

    #[test]
    fn a_universal_program_needs_both_macos_targets() {
        let both = vec!["x86_64-apple-darwin", "aarch64-apple-darwin"];
        assert_eq!(chosen(&[UNIVERSAL]), (both, true));
        assert_eq!(chosen(&["aarch64-apple-darwin"]), (vec!["aarch64-apple-darwin"], false));
    }

    #[test]
    fn unknown_targets_are_all_named() {
        let names = ["a", "x86_64-apple-darwin", "b"].map(str::to_owned);
        let error = Choice::new(&names).unwrap_err().to_string();
        assert!(error.starts_with("there is no target `a`, `b`; there are x86_64-"), "{error}");
    }
}

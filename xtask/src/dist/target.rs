//! The systems that programs are built for: the one place that knows what each is called, what it
//! asks for, and what its programs' files are called.

use anyhow::{Context as _, bail};

/// What a target's programs run on, besides a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Linux,
    Windows,
    Macos,
}

/// A kind of processor.
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
const UNIVERSAL: &str = "universal-apple-darwin";

/// The oldest macOS that Rust and its programs start on where Apple silicon is concerned.
pub(crate) const MACOS_MINIMUM: (u32, u32) = (11, 0);

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
    /// The target called `triple`, if programs are built for it.
    pub(crate) fn named(triple: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.triple == triple)
    }

    /// The Linux target whose programs this machine starts by itself.
    pub(crate) fn of_this_machine() -> anyhow::Result<&'static Self> {
        let is_ours = |target: &&Self| {
            target.system == System::Linux && target.cpu.name() == std::env::consts::ARCH
        };
        TARGETS.iter().find(is_ours).context("nothing is built for this machine's processor")
    }
}

impl Cpu {
    /// As Rust calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl System {
    /// `name` as a program's file is called on this system.
    pub(crate) fn file_name(self, name: &str) -> String {
        match self {
            Self::Windows => format!("{name}.exe"),
            Self::Linux | Self::Macos => name.to_owned(),
        }
    }
}

/// What the programs of one folder run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One target.
    One(&'static Target),
    /// Both macOS targets: each program is two in one file.
    Universal,
}

impl Reach {
    /// What `name`, the name of a folder, stands for.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name == UNIVERSAL {
            return Some(Self::Universal);
        }
        Target::named(name).map(Self::One)
    }

    /// As Rust calls the target, or as nobody but us calls both Macs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::One(target) => target.triple,
            Self::Universal => UNIVERSAL,
        }
    }

    pub(crate) const fn system(self) -> System {
        match self {
            Self::One(target) => target.system,
            Self::Universal => System::Macos,
        }
    }

    /// The targets whose programs are in one file.
    pub(crate) fn parts(self) -> Vec<&'static Target> {
        match self {
            Self::One(target) => vec![target],
            Self::Universal => {
                TARGETS.iter().filter(|target| target.system == System::Macos).collect()
            }
        }
    }

    /// Tells whether its programs start on `system` with `cpu`.
    pub(crate) fn covers(self, system: System, cpu: Cpu) -> bool {
        self.parts().iter().any(|target| target.system == system && target.cpu == cpu)
    }

    /// What the oldest system is that its programs start on.
    pub(crate) fn minimum_system(self) -> String {
        match self {
            Self::One(Target { system: System::Linux, cpu: Cpu::X86_64, .. }) => "Linux 3.2".into(),
            Self::One(Target { system: System::Linux, cpu: Cpu::Aarch64, .. }) => {
                "Linux 4.1".into()
            }
            Self::One(Target { system: System::Windows, cpu: Cpu::X86_64, .. }) => {
                "Windows 10, Windows Server 2016".into()
            }
            Self::One(Target { system: System::Windows, cpu: Cpu::Aarch64, .. }) => {
                "Windows 11".into()
            }
            Self::One(Target { system: System::Macos, .. }) | Self::Universal => {
                let (major, minor) = MACOS_MINIMUM;
                format!("macOS {major}.{minor}")
            }
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
        let known = |name: &&String| Reach::named(name).is_some();
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
    fn a_folder_stands_for_what_its_programs_run_on() {
        for target in TARGETS {
            assert_eq!(Reach::named(target.triple).map(Reach::parts), Some(vec![target]));
        }
        let both = Reach::named(UNIVERSAL).unwrap();
        assert_eq!(both.parts().len(), 2);
        assert!(
            both.covers(System::Macos, Cpu::X86_64) && both.covers(System::Macos, Cpu::Aarch64)
        );
        assert!(!both.covers(System::Linux, Cpu::X86_64));
        assert_eq!(Reach::named("sparc64-unknown-netbsd"), None);
    }

    #[test]
    fn unknown_targets_are_all_named() {
        let names = ["a", "x86_64-apple-darwin", "b"].map(str::to_owned);
        let error = Choice::new(&names).unwrap_err().to_string();
        assert!(error.starts_with("there is no target `a`, `b`; there are x86_64-"), "{error}");
    }
}

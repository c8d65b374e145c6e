//! How a program of another system is started here.

use std::path::{Path, PathBuf};

use super::wine::Prefix;
use crate::{deployment::Desk, dist::target::System};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emulator {
    /// The kernel starts it.
    None,
    /// Another processor's instructions are translated.
    Qemu,
    /// Another system's functions are translated.
    Wine,
}

/// Starts the programs of one folder.
#[derive(Debug)]
pub(super) struct Runner {
    dir: PathBuf,
    home: PathBuf,
    emulator: Emulator,
    wine: Option<Prefix>,
}

impl Runner {
    pub(super) fn new(emulator: Emulator, desk: &Desk, dir: &Path) -> anyhow::Result<Self> {
        let wine = (emulator == Emulator::Wine).then(|| Prefix::new(desk)).transpose()?;
        Ok(Self { dir: dir.to_owned(), home: desk.dir.clone(), emulator, wine })
    }

    /// The Windows that programs run in, if they need one.
    pub(super) fn wine(&self) -> Option<&Prefix> {
        self.wine.as_ref()
    }

    pub(super) const fn emulator(&self) -> Emulator {
        self.emulator
    }

    /// `name` in the desk's folder, as the emulated system writes paths, quoted for the shell.
    pub(super) fn path(&self, name: &str) -> String {
        self.foreign(&self.home.join(name))
    }

    /// `path` as the emulated system writes it, quoted for the shell.
    pub(super) fn foreign(&self, path: &Path) -> String {
        match self.emulator {
            Emulator::Wine => Prefix::path(path),
            Emulator::None | Emulator::Qemu => format!("'{}'", path.display()),
        }
    }

    /// The line of shell that runs `program` with `args`.
    pub(super) fn line(&self, program: &str, args: &str) -> String {
        let system = match self.emulator {
            Emulator::Wine => System::Windows,
            Emulator::None | Emulator::Qemu => System::Linux,
        };
        let path = self.dir.join(system.file_name(program));
        let path = path.display();
        match (self.emulator, &self.wine) {
            (Emulator::Qemu, _) => format!("qemu-aarch64-static '{path}' {args}"),
            (Emulator::Wine, Some(prefix)) => format!("{} '{path}' {args}", prefix.command()),
            (Emulator::None | Emulator::Wine, _) => format!("'{path}' {args}"),
        }
    }
}

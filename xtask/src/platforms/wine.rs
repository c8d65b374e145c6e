//! A Windows for one run: made in the run's own folder, ended and removed with it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{cleanup::Cleanup, deployment::Desk, process};

/// Debian's wine, which is on nobody's search path.
const WINE: &str = "/usr/lib/wine/wine64";
const SERVER: &str = "/usr/lib/wine/wineserver64";

/// A library that wine 8 lacks and every Rust program asks for.
const RANDOM: &str = include_str!("bcryptprimitives.c");

/// What wine's Windows Installer lacks.
const MSIEXEC: &str = include_str!("msiexec.c");

/// What it lacks of `certutil`.
const TRUST: &str = include_str!("trust.c");

/// What its own `icacls` does not do.
const ICACLS: &str = include_str!("icacls.c");

/// A folder that wine keeps a Windows in.
#[derive(Debug)]
pub(super) struct Prefix {
    environment: String,
    /// What is `C:\` there.
    pub(super) drive: PathBuf,
    /// The program made of [`MSIEXEC`].
    pub(super) msiexec: PathBuf,
    _end: Cleanup,
}

impl Prefix {
    /// Makes a Windows 10 below the desk's folder; needs no screen.
    pub(super) fn new(desk: &Desk) -> anyhow::Result<Self> {
        let dir = desk.dir.join("wine");
        let environment = format!(
            "WINEPREFIX='{}' WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=;icacls.exe=n' WINESERVER={SERVER}",
            dir.display()
        );
        let stop = format!("env {environment} {SERVER} -k -w");
        let end = Cleanup::new(move || process::run_quietly(&stop));
        let drive = dir.join("drive_c");
        let msiexec = desk.dir.join("upgrading").join("msiexec.exe");
        let prefix = Self { environment, drive, msiexec, _end: end };
        desk.run(&format!("{} wineboot --init", prefix.command()))
            .and_then(|_| desk.run(&format!("{} winecfg -v win10", prefix.command())))
            .context("could not make a Windows with wine")?;
        for (name, source) in [
            ("bcryptprimitives.c", RANDOM),
            ("msiexec.c", MSIEXEC),
            ("trust.c", TRUST),
            ("icacls.c", ICACLS),
        ] {
            fs::write(desk.dir.join(name), source).context("could not write a source")?;
        }
        desk.run("x86_64-w64-mingw32-gcc -O2 -s -shared -o wine/drive_c/windows/system32/bcryptprimitives.dll bcryptprimitives.c -ladvapi32")?;
        desk.run("x86_64-w64-mingw32-gcc -municode -O2 -s -o icacls.exe icacls.c -ladvapi32 && mv -f icacls.exe wine/drive_c/windows/system32/")?;
        desk.run("mkdir upgrading && x86_64-w64-mingw32-gcc -municode -O2 -s -o upgrading/msiexec.exe msiexec.c -lmsi")?;
        Ok(prefix)
    }

    /// What stands before a Windows program on a line of shell.
    pub(super) fn command(&self) -> String {
        self.command_on("")
    }

    /// The same for one that draws on the X display of that name.
    pub(super) fn command_on(&self, display: &str) -> String {
        format!("env {} DISPLAY={display} {WINE}", self.environment)
    }

    /// Has Windows trust the authority in the file `path`, which is as it writes paths, in PEM format.
    pub(super) fn trust(&self, desk: &Desk, path: &str) -> anyhow::Result<()> {
        desk.run("x86_64-w64-mingw32-gcc -municode -O2 -s -o trust.exe trust.c -lcrypt32")?;
        desk.run(&format!("{} ./trust.exe {path}", self.command())).map(|_| ())
    }

    /// `path` of this machine as Windows there has it, quoted for the shell.
    pub(super) fn path(path: &Path) -> String {
        format!("'Z:{}'", path.display().to_string().replace('/', "\\"))
    }
}

//! A small Debian with systemd and rpm, made once and kept below the target directory.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use xshell::cmd;

use crate::{cleanup, terminal, workspace::Workspace};

/// Which Debian.
const SUITE: &str = "bookworm";

/// What is in it beyond the essentials.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "init-system-helpers",
    "ca-certificates",
    "iproute2",
    "rpm",
];

/// The directory tree that every container starts from. Nothing writes to it.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) root: PathBuf,
    /// Where containers keep what they change.
    pub(super) scratch: PathBuf,
}

impl Base {
    /// Finds the tree, or makes it, which takes a minute.
    pub(super) fn prepare(workspace: &Workspace) -> anyhow::Result<Self> {
        let scratch = workspace.scratch("acceptance")?;
        let mut hasher = DefaultHasher::new();
        (SUITE, PACKAGES).hash(&mut hasher);
        let root = scratch.join(format!("base-{:016x}", hasher.finish()));
        if !root.exists() {
            make(workspace, &root)?;
        }
        Ok(Self { root, scratch })
    }
}

fn make(workspace: &Workspace, root: &Path) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    let mirror = mirror()?;
    let unfinished = root.with_extension("unfinished");
    cleanup::remove(&unfinished);
    terminal::note(&format!("making a Debian in `{}`", root.display()));
    let include = format!("--include={}", PACKAGES.join(","));
    cmd!(sh, "debootstrap --variant=minbase {include} {SUITE} {unfinished} {mirror}")
        .quiet()
        .ignore_stdout()
        .run()?;
    fs::write(unfinished.join("etc/machine-id"), "")?;
    fs::write(unfinished.join("etc/locale.conf"), "LANG=C.UTF-8\n")?;
    fs::rename(&unfinished, root).context("could not put the tree in its place")
}

/// The mirror that this system installs Debian's own packages from.
fn mirror() -> anyhow::Result<String> {
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    if let Ok(listing) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut files: Vec<_> = listing.flatten().map(|entry| entry.path()).collect();
        files.sort();
        texts.extend(files.iter().map(|file| fs::read_to_string(file).unwrap_or_default()));
    }
    match texts.iter().find_map(|text| mirror_in(text)) {
        Some(mirror) => Ok(mirror),
        None => bail!("could not find a mirror of {SUITE} in /etc/apt"),
    }
}

/// Finds the mirror of the suite itself in a sources file, of either kind.
fn mirror_in(text: &str) -> Option<String> {
    one_line(text).or_else(|| stanzas(text))
}

/// `deb [options] http://mirror/debian bookworm main`.
fn one_line(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == SUITE)?;
        (words.first() == Some(&"deb") && at > 1).then(|| words[at - 1].to_owned())
    })
}

/// `URIs: http://mirror/debian` beside `Suites: bookworm`.
fn stanzas(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let suites = field("Suites:")?;
        let uri = field("URIs:")?.split_whitespace().next()?;
        suites.split_whitespace().any(|suite| suite == SUITE).then(|| uri.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn mirrors_are_found_in_both_kinds_of_sources() {
        let line = "# deb x\ndeb [arch=amd64] http://mirror.example/debian bookworm main\n";
        let stanza = "Types: deb\nURIs: http://security.example\nSuites: bookworm-security\n\n# note\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n";
        for text in [line, stanza] {
            assert_eq!(mirror_in(text).as_deref(), Some("http://mirror.example/debian"));
        }
        assert_eq!(mirror_in("deb http://mirror.example/other stable main\n"), None);
    }
}

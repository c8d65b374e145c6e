//! Whether two builds in two directories give the same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{cleanup::TemporaryDir, workspace::Workspace};

/// The sources a second time, in a directory with another name and depth.
#[derive(Debug)]
pub(crate) struct Copy {
    dir: TemporaryDir,
}

impl Copy {
    pub(crate) fn new(workspace: &Workspace) -> anyhow::Result<Self> {
        let copy = Self { dir: TemporaryDir::new()? };
        for path in workspace.files()? {
            let to = copy.sources().join(&path);
            let problem = || format!("could not copy `{}`", path.display());
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).with_context(problem)?;
            }
            fs::copy(workspace.root.join(&path), to).with_context(problem)?;
        }
        Ok(copy)
    }

    pub(crate) fn sources(&self) -> PathBuf {
        self.dir.path().join("elsewhere").join("a second checkout")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.dir.path().join("built")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }
}

/// Fails unless every file in `one` is in `other` with the same bytes, and the other way round.
pub(crate) fn compare(one: &Path, other: &Path) -> anyhow::Result<usize> {
    let (names, others) = (files(one)?, files(other)?);
    if names != others {
        bail!("the two builds made different files: {names:?} and {others:?}");
    }
    let mut different = Vec::new();
    for name in &names {
        let read = |dir: &Path| {
            fs::read(dir.join(name)).with_context(|| format!("could not read `{name}`"))
        };
        if let Some(at) = first_difference(&read(one)?, &read(other)?) {
            different.push(format!("`{name}` at byte {at}"));
        }
    }
    if !different.is_empty() {
        bail!("the two builds differ: {}", different.join(", "));
    }
    Ok(names.len())
}

fn files(dir: &Path) -> anyhow::Result<Vec<String>> {
    let listing =
        fs::read_dir(dir).with_context(|| format!("could not list `{}`", dir.display()))?;
    let mut names: Vec<_> =
        listing.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let at = one.iter().zip(other).position(|(a, b)| a != b);
    at.or_else(|| (one.len() != other.len()).then(|| one.len().min(other.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"axc"), Some(1));
        assert_eq!(first_difference(b"abc", b"abcd"), Some(3));
    }

    #[test]
    fn folders_that_differ_are_told_apart() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(one.path().join("orbit"), "1").unwrap();
        assert!(compare(one.path(), other.path()).is_err());
        fs::write(other.path().join("orbit"), "2").unwrap();
        let told = compare(one.path(), other.path()).unwrap_err().to_string();
        assert_eq!(told, "the two builds differ: `orbit` at byte 0");
        fs::write(other.path().join("orbit"), "1").unwrap();
        assert_eq!(compare(one.path(), other.path()).unwrap(), 1);
    }
}

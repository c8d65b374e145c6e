//! `build.json`: what a folder of built programs is, for whoever makes a release of it.

use std::{
    collections::BTreeSet, fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    build::{Purpose, Settings},
    program::Program,
    target::Reach,
};
use crate::version::Version;

/// The file in a folder that describes it.
pub(crate) const NAME: &str = "build.json";

/// What the programs of one folder have in common.
#[derive(Debug, Serialize)]
pub(crate) struct Manifest<'a> {
    pub(crate) version: &'a str,
    pub(crate) commit: &'a str,
    /// Whether the sources differed from the commit.
    pub(crate) dirty: bool,
    pub(crate) target: &'a str,
    /// Names of the programs, without the ending that a system adds.
    pub(crate) bins: Vec<&'a str>,
    /// All that the compiler says about itself.
    pub(crate) toolchain: &'a str,
    pub(crate) linker: &'a str,
    /// The profiles of `Cargo.toml` that were used.
    pub(crate) profile: String,
    pub(crate) minimum_system: String,
    #[serde(flatten)]
    pub(crate) settings: Option<&'a Settings>,
}

impl<'a> Manifest<'a> {
    pub(crate) fn new(version: &'a Version, reach: Reach) -> Self {
        Self {
            version: &version.text,
            commit: &version.commit,
            dirty: version.dirty,
            target: reach.name(),
            bins: Vec::new(),
            toolchain: "",
            linker: "",
            profile: String::new(),
            minimum_system: reach.minimum_system(),
            settings: None,
        }
    }

    /// Names of the programs in `dir` that were made of the same clean commit by the same compiler.
    pub(crate) fn earlier(&self, dir: &Path) -> Vec<String> {
        let Ok(json) = fs::read(dir.join(NAME)) else { return Vec::new() };
        let Ok(earlier) = serde_json::from_slice::<Earlier>(&json) else { return Vec::new() };
        let Earlier { version, commit, dirty, toolchain, bins } = earlier;
        let same = version == self.version
            && commit == self.commit
            && toolchain == self.toolchain
            && !dirty
            && !self.dirty;
        if same { bins } else { Vec::new() }
    }

    /// Says which programs are in the folder.
    pub(crate) fn describe(&mut self, programs: &[&'a Program], purpose: Purpose) {
        self.bins = programs.iter().map(|program| program.name).collect();
        let panics: BTreeSet<_> = programs.iter().map(|program| program.panic).collect();
        let profiles: Vec<_> = panics.into_iter().map(|panic| purpose.profile(panic)).collect();
        self.profile = profiles.join(", ");
    }

    /// Writes it into `dir` in one step.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let problem = || format!("could not describe `{}`", dir.display());
        let text = serde_json::to_string_pretty(self).with_context(problem)?;
        let mut file = tempfile::NamedTempFile::new_in(dir).with_context(problem)?;
        file.write_all(text.as_bytes()).with_context(problem)?;
        let everybody = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(everybody).with_context(problem)?;
        file.persist(dir.join(NAME)).with_context(problem)?;
        Ok(())
    }
}

/// What an earlier run says of a folder.
#[derive(Debug, Deserialize)]
struct Earlier {
    version: String,
    commit: String,
    dirty: bool,
    toolchain: String,
    bins: Vec<String>,
}

/// Removes the description of `dir` while what it describes changes, and every file that is not of
/// `programs`: whatever lies in the folder when it is described again is as described.
pub(crate) fn retract(dir: &Path, reach: Reach, programs: &[&Program]) -> anyhow::Result<()> {
    let problem = || format!("could not clear `{}`", dir.display());
    let of = |program: &&Program| [reach.system().file_name(program.name), program.symbols()];
    let wanted: BTreeSet<_> = programs.iter().flat_map(of).collect();
    for entry in fs::read_dir(dir).with_context(problem)? {
        let entry = entry.with_context(problem)?;
        if entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
            continue;
        }
        let is_folder = entry.file_type().with_context(problem)?.is_dir();
        let remove = if is_folder { fs::remove_dir_all } else { fs::remove_file };
        remove(entry.path()).with_context(problem)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(commit: &str, dirty: bool) -> Version {
        Version { text: "1.2.3".into(), commit: commit.into(), tag: None, dirty, date: 0 }
    }

    /// A folder with `orbit` and `fleetctl`, of which `bins` are described.
    fn folder(bins: &[&str], version: &Version, reach: Reach) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["orbit", "orbit.debug", "fleetctl", "fleetctl.debug"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let programs: Vec<_> = bins.iter().map(|name| Program::named(name).unwrap()).collect();
        let mut manifest = Manifest::new(version, reach);
        manifest.describe(&programs, Purpose::Shipping);
        manifest.write(dir.path()).unwrap();
        dir
    }

    #[test]
    fn programs_of_the_same_clean_commit_are_kept_and_no_others() {
        let reach = Reach::Universal;
        let of = |version: &Version| {
            let dir = folder(&["orbit"], version, reach);
            Manifest::new(&self::version("c0ffee", false), reach).earlier(dir.path())
        };
        assert_eq!(of(&version("c0ffee", false)), ["orbit"]);
        assert!(of(&version("c0ffee", true)).is_empty());
        assert!(of(&version("decaf", false)).is_empty());
    }

    #[test]
    fn stale_files_are_gone_before_a_folder_is_filled() {
        let reach = Reach::Universal;
        let dir = folder(&["orbit", "fleetctl"], &version("c0ffee", false), reach);
        retract(dir.path(), reach, &[Program::named("orbit").unwrap()]).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["orbit", "orbit.debug"]);
    }
}

//! Which version a checkout is: `Cargo.toml` says it once, git's tags say when it was released.
//!
//! A clean checkout of the commit tagged `v1.2.3` is 1.2.3, and `Cargo.toml` must say so, too. Any
//! other is a development version, later than the last release and earlier than the next:
//! `1.2.4-dev.17.g0a1b2c3`, 17 commits after the tag, `.dirty` if something was changed.

use std::fs;

use anyhow::{Context as _, bail};
use semver::{BuildMetadata, Prerelease, Version as Semver};
use serde::Serialize;
use xshell::cmd;

use crate::{terminal, workspace::Workspace};

/// Digits of a commit's name in a development version.
const SHORT: usize = 7;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print commit, tag and date, too, as JSON
    #[arg(long)]
    json: bool,
}

/// What a checkout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Version {
    /// By [SemVer](https://semver.org).
    pub(crate) text: String,
    /// The whole name of the commit, 40 hexadecimal digits.
    pub(crate) commit: String,
    /// The tag that makes it a release.
    pub(crate) tag: Option<String>,
    /// Whether files differ from the commit or are not in it.
    pub(crate) dirty: bool,
    /// `SOURCE_DATE_EPOCH`, else when the commit was made; seconds since 1970.
    pub(crate) date: i64,
}

/// What git knows about a checkout.
#[derive(Debug)]
struct History {
    commit: String,
    dirty: bool,
    /// Version tags on this very commit.
    tags: Vec<Semver>,
    /// The newest version tag at or before this commit.
    last: Option<Semver>,
    /// Commits after that tag, or in all.
    commits: usize,
}

/// Prints the version of this checkout.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let version = of_checkout(workspace)?;
    let json = || serde_json::to_string_pretty(&version).context("could not write JSON");
    terminal::line(&if args.json { json()? } else { version.text.clone() });
    Ok(())
}

/// Asks git and `Cargo.toml`; fails if the two name different releases.
pub(crate) fn of_checkout(workspace: &Workspace) -> anyhow::Result<Version> {
    let declared = declared(workspace)?;
    let history = history(workspace)?;
    let text = name(&declared, &history)?;
    let released = text == declared;
    Ok(Version {
        tag: released.then(|| format!("v{text}")),
        text: text.to_string(),
        commit: history.commit,
        dirty: history.dirty,
        date: date(workspace)?,
    })
}

/// The version that `Cargo.toml` has for all crates.
fn declared(workspace: &Workspace) -> anyhow::Result<Semver> {
    let problem = "could not read the version in `Cargo.toml`";
    let text = fs::read_to_string(workspace.root.join("Cargo.toml")).context(problem)?;
    let manifest: toml::Table = text.parse().context(problem)?;
    let version = manifest.get("workspace").and_then(|it| it.get("package")?.get("version"));
    let version = version.and_then(toml::Value::as_str).context(problem)?;
    Semver::parse(version).context(problem)
}

fn history(workspace: &Workspace) -> anyhow::Result<History> {
    let sh = &workspace.sh;
    let commit = cmd!(sh, "git rev-parse HEAD").quiet().read().context("could not ask git")?;
    let changes = cmd!(sh, "git status --porcelain").quiet().read()?;
    let here = cmd!(sh, "git tag --points-at HEAD").quiet().read()?;
    let before = cmd!(sh, "git tag --merged HEAD").quiet().read()?;
    let last = before.lines().filter_map(tagged).max();
    let range = last.as_ref().map_or_else(|| "HEAD".to_owned(), |tag| format!("v{tag}..HEAD"));
    let commits = cmd!(sh, "git rev-list --count {range}").quiet().read()?;
    Ok(History {
        commit,
        dirty: !changes.is_empty(),
        tags: here.lines().filter_map(tagged).collect(),
        last,
        commits: commits.parse().context("could not count commits")?,
    })
}

/// `v1.2.3` → 1.2.3. None for tags that name no version.
fn tagged(tag: &str) -> Option<Semver> {
    Semver::parse(tag.strip_prefix('v')?).ok()
}

fn date(workspace: &Workspace) -> anyhow::Result<i64> {
    let sh = &workspace.sh;
    let text = match sh.var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => text,
        _ => cmd!(sh, "git show --no-patch --format=%ct HEAD").quiet().read()?,
    };
    text.parse().with_context(|| format!("could not understand the date `{text}`"))
}

fn name(declared: &Semver, history: &History) -> anyhow::Result<Semver> {
    if let Some(other) = history.tags.iter().find(|tag| *tag != declared) {
        bail!("the tag `v{other}` and the version {declared} in `Cargo.toml` disagree");
    }
    if !history.dirty && !history.tags.is_empty() {
        return Ok(declared.clone());
    }
    let mut version = next(declared, history.last.as_ref());
    let dirty = if history.dirty { ".dirty" } else { "" };
    let commit = history.commit.get(..SHORT).unwrap_or(&history.commit);
    let before = if version.pre.is_empty() { String::new() } else { format!("{}.", version.pre) };
    let pre = format!("{before}dev.{}.g{commit}{dirty}", history.commits);
    version.pre = Prerelease::new(&pre).with_context(|| format!("could not use `{pre}`"))?;
    Ok(version)
}

/// What development versions belong to, so that they sort after the `last` release.
fn next(declared: &Semver, last: Option<&Semver>) -> Semver {
    let plain = |version: &Semver| Semver::new(version.major, version.minor, version.patch);
    match last {
        Some(last) if plain(last) >= plain(declared) => {
            let after = if last.pre.is_empty() { last.patch + 1 } else { last.patch };
            Semver { patch: after, build: BuildMetadata::EMPTY, ..last.clone() }
        }
        Some(_) | None => plain(declared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(declared: &str, tags: &[&str], last: Option<&str>, dirty: bool) -> String {
        let version = |text: &&str| Semver::parse(text).unwrap();
        let history = History {
            commit: "0a1b2c3d4e5f".into(),
            dirty,
            tags: tags.iter().map(version).collect(),
            last: last.as_ref().map(version),
            commits: 17,
        };
        let name = name(&version(&declared), &history);
        name.map_or_else(|error| error.to_string(), |name| name.to_string())
    }

    #[test]
    fn a_clean_checkout_of_a_tag_is_the_release() {
        assert_eq!(named("1.2.3", &["1.2.3"], Some("1.2.3"), false), "1.2.3");
        assert_eq!(named("2.0.0-rc.1", &["2.0.0-rc.1"], Some("2.0.0-rc.1"), false), "2.0.0-rc.1");
    }

    #[test]
    fn a_tag_that_says_otherwise_is_refused() {
        let told = "the tag `v1.2.4` and the version 1.2.3 in `Cargo.toml` disagree";
        assert_eq!(named("1.2.3", &["1.2.4"], Some("1.2.4"), false), told);
    }

    #[test]
    fn what_is_not_released_says_how_far_it_is() {
        assert_eq!(named("0.1.0", &[], None, false), "0.1.0-dev.17.g0a1b2c3");
        assert_eq!(named("1.3.0", &[], Some("1.2.3"), false), "1.3.0-dev.17.g0a1b2c3");
        assert_eq!(named("1.2.3", &[], Some("1.2.3"), false), "1.2.4-dev.17.g0a1b2c3");
        assert_eq!(named("1.2.3", &["1.2.3"], Some("1.2.3"), true), "1.2.4-dev.17.g0a1b2c3.dirty");
    }

    #[test]
    fn development_versions_sort_between_the_releases_around_them() {
        for (last, declared, after) in [
            ("1.2.3", "1.2.3", "1.2.4"),
            ("1.2.3", "1.3.0", "1.3.0-rc.1"),
            ("1.3.0-rc.1", "1.3.0-rc.1", "1.3.0-rc.2"),
            ("1.3.0-rc.1", "1.3.0-rc.2", "1.3.0-rc.2"),
            ("1.3.0-rc.2", "1.3.0", "1.3.0"),
        ] {
            let between = Semver::parse(&named(declared, &[], Some(last), false)).unwrap();
            assert!(Semver::parse(last).unwrap() < between, "{last} < {between}");
            assert!(between < Semver::parse(after).unwrap(), "{between} < {after}");
        }
    }
}

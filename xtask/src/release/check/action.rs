//! The composite action, run as a runner runs it, on a release in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use xshell::cmd;

use super::{Specimen, second_line};
use crate::{cleanup, release::signature};

/// A secret that must show up nowhere.
const SECRET: &str = "never-to-be-shown-0123456789";

impl Specimen<'_> {
    pub(super) fn act(&self) -> anyhow::Result<()> {
        let key = self.key_text()?;
        let (code, said) = self.run_action(&self.release, &key, &self.version)?;
        ensure!(code == 0, "{said}");
        ensure!(!said.contains(SECRET), "the secret was told:\n{said}");
        let output = fs::read_to_string(self.dir.join("github-output"))?;
        let packages: Vec<_> = output.lines().filter(|line| Path::new(line).is_file()).collect();
        ensure!(packages.len() == 2, "{output}");
        ensure!(self.unpacked_by_action()?.len() == 1, "nothing was unpacked where it should be");
        Ok(())
    }

    pub(super) fn provoke_refusals(&self) -> anyhow::Result<()> {
        let key = self.key_text()?;
        let other = self.dir.join("other");
        signature::keygen_unprotected(self.workspace, &other)?;
        let other = second_line(&other.join("fleetd.pub"))?;
        let refused = |told: &str, (code, said): (i32, String)| {
            ensure!(code == 1 && said.contains(told), "not `{told}`, but {code}:\n{said}");
            let unpacked = self.unpacked_by_action()?;
            ensure!(unpacked.is_empty(), "it unpacked {unpacked:?}, so it may have run that");
            Ok(())
        };
        refused("signed with another key", self.run_action(&self.release, &other, &self.version)?)?;
        refused("has no fleetctl 9.9.9", self.run_action(&self.release, &key, "9.9.9")?)?;
        let copy = self.dir.join("tampered");
        let archive = format!("{}.tar.zst", self.stem()?);
        for (name, told) in [
            ("SHA256SUMS", "is not signed by the given key"),
            (archive.as_str(), "is not what was released"),
        ] {
            copy_files(&self.release, &copy)?;
            let mut bytes = fs::read(copy.join(name))?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(copy.join(name), bytes)?;
            refused(told, self.run_action(&copy, &key, &self.version)?)?;
        }
        Ok(())
    }

    /// Where the action may put what it needs for a while.
    fn runner_temp(&self) -> PathBuf {
        self.dir.join("runner-temp")
    }

    /// What the action has unpacked: it does nothing with a release before that.
    fn unpacked_by_action(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folders = fs::read_dir(self.runner_temp())?.flatten();
        let releases = folders.map(|folder| folder.path().join("release"));
        Ok(releases.filter(|release| release.exists()).collect())
    }

    /// Runs the action as a runner does, on a release in a folder: exit code and output.
    fn run_action(
        &self,
        release: &Path,
        key: &str,
        version: &str,
    ) -> anyhow::Result<(i32, String)> {
        let sh = &self.workspace.sh;
        let (output, packages) = (self.dir.join("github-output"), self.dir.join("packages"));
        fs::write(&output, "")?;
        cleanup::remove(&self.runner_temp());
        fs::create_dir_all(self.runner_temp())?;
        let arch = if std::env::consts::ARCH == "aarch64" { "ARM64" } else { "X64" };
        let mut run: Command = cmd!(sh, "bash .github/actions/package/package.sh").into();
        run.env("RUNNER_OS", "Linux")
            .env("RUNNER_ARCH", arch)
            .env("RUNNER_TEMP", self.runner_temp());
        run.env("GITHUB_OUTPUT", &output).env("INPUT_OUT_DIR", &packages);
        run.env("INPUT_VERSION", version).env("INPUT_PUBLIC_KEY", key);
        run.env("INPUT_RELEASE_URL", format!("file://{}", release.display()));
        run.env("INPUT_TYPE", "deb,rpm").env("INPUT_ARGUMENTS", "--without-osqueryd\n");
        run.env("INPUT_ARCH", if arch == "X64" { "amd64" } else { "arm64" });
        run.env("INPUT_FLEET_URL", "https://fleet.example.com").env("FLEET_ENROLL_SECRET", SECRET);
        let ended = run.output().context("could not run the action")?;
        let said = [ended.stdout, ended.stderr].concat();
        Ok((ended.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
    }
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

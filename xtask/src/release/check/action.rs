//! The composite action, run as a runner runs it, on a release in a folder.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use xshell::cmd;

use super::{Bench, second_line};
use crate::release::signature;

/// A secret that must show up nowhere.
const SECRET: &str = "never-to-be-shown-0123456789";

impl Bench<'_> {
    pub(super) fn acts(&self) -> anyhow::Result<()> {
        let key = self.key_text()?;
        let (code, said) = self.act(&self.release, &key, &self.version)?;
        ensure!(code == 0, "{said}");
        ensure!(!said.contains(SECRET), "the secret was told:\n{said}");
        let output = fs::read_to_string(self.dir.join("github-output"))?;
        let packages: Vec<_> = output.lines().filter(|line| Path::new(line).is_file()).collect();
        ensure!(packages.len() == 2, "{output}");
        Ok(())
    }

    pub(super) fn refuses(&self) -> anyhow::Result<()> {
        let key = self.key_text()?;
        let other = self.dir.join("other");
        signature::keygen_unprotected(self.workspace, &other)?;
        let other = second_line(&other.join("fleetd.pub"))?;
        let refused = |told: &str, (code, said): (i32, String)| {
            ensure!(code == 1 && said.contains(told), "not `{told}`, but {code}:\n{said}");
            ensure!(!said.contains("checksums  1 files"), "it ran fleetctl:\n{said}");
            Ok(())
        };
        refused("signed with another key", self.act(&self.release, &other, &self.version)?)?;
        refused("has no fleetctl 9.9.9", self.act(&self.release, &key, "9.9.9")?)?;
        let copy = self.dir.join("tampered");
        let archive = format!("{}.tar.zst", self.stem());
        for (name, told) in [
            ("SHA256SUMS", "is not signed by the given key"),
            (archive.as_str(), "is not what was released"),
        ] {
            copy_files(&self.release, &copy)?;
            let mut bytes = fs::read(copy.join(name))?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(copy.join(name), bytes)?;
            refused(told, self.act(&copy, &key, &self.version)?)?;
        }
        Ok(())
    }

    /// Runs the action as a runner does, on a release in a folder: exit code and output.
    fn act(&self, release: &Path, key: &str, version: &str) -> anyhow::Result<(i32, String)> {
        let sh = &self.workspace.sh;
        let (output, packages) = (self.dir.join("github-output"), self.dir.join("packages"));
        fs::write(&output, "")?;
        let arch = if std::env::consts::ARCH == "aarch64" { "ARM64" } else { "X64" };
        let mut run: Command = cmd!(sh, "bash .github/actions/package/package.sh").into();
        run.env("RUNNER_OS", "Linux").env("RUNNER_ARCH", arch).env("RUNNER_TEMP", &self.dir);
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

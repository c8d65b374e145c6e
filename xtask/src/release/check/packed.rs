//! Packages and the container image of a release, read by other people's tools.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use xshell::cmd;

use super::Specimen;
use crate::release::checksums;

impl Specimen<'_> {
    /// What is packed is what the archive of this machine's target has.
    pub(super) fn expect_packed(&self) -> anyhow::Result<()> {
        let sh = &self.workspace.sh;
        for name in ["fleetctl", "fleet-server"] {
            let path = format!("/usr/bin/{name}");
            let sum = self.released(name)?;
            let deb = self.only(&format!("{name}_"), ".deb")?;
            let unpacked = self.workspace.scratch(&format!("release-check/deb/{name}"))?;
            cmd!(sh, "dpkg-deb --extract {deb} {unpacked}").quiet().run()?;
            let packed = checksums::of_file(&unpacked.join("usr/bin").join(name))?;
            ensure!(packed == sum, "`{}` has another {name}", deb.display());
            let rpm = self.only(&format!("{name}-"), ".rpm")?;
            let format = "[%{FILENAMES} %{FILEDIGESTS}\n]";
            let files = cmd!(sh, "rpm -qp --nosignature --queryformat {format} {rpm}");
            let files = files.quiet().read()?;
            let found = files.lines().any(|line| line == format!("{path} {sum}"));
            ensure!(found, "`{}` has another {name}:\n{files}", rpm.display());
        }
        let image = format!("oci-archive:{}", self.only("fleet-server-", ".oci.tar")?.display());
        let config = cmd!(sh, "skopeo inspect --raw --config {image}").quiet().read()?;
        ensure!(config.contains("/usr/bin/fleet-server"), "the image starts no server: {config}");
        ensure!(config.contains(&self.version), "the image has another version: {config}");
        Ok(())
    }

    /// The checksum of the program `name` that archive and packages are made of.
    fn released(&self, name: &str) -> anyhow::Result<String> {
        let unpacked = self.workspace.scratch("release-check/unpacked")?;
        checksums::of_file(&unpacked.join(self.stem()?).join(name))
    }

    /// The one file of the release that is called so.
    fn only(&self, start: &str, end: &str) -> anyhow::Result<PathBuf> {
        let problem = || format!("could not read `{}`", self.release.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.release).with_context(problem)? {
            let path = entry.with_context(problem)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(start) && name.ends_with(end) {
                found.push(path);
            }
        }
        ensure!(found.len() == 1, "not one file is called `{start}*{end}`: {found:?}");
        found.pop().context("there is one")
    }
}

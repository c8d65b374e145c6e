//! What package managers need to install `fleetctl` from a release: a formula for Homebrew, three
//! manifests for winget, one for Scoop. Addresses and hashes are those of the release's archives.

mod homebrew;
mod scoop;
mod winget;

use super::{Release, built::Target, checksums};
use crate::{
    dist::target::{Cpu, Reach, System},
    version::Version,
};

/// What `fleetctl` is, in one sentence for all package managers.
const DESCRIPTION: &str = "Builds installers of the fleetd agent and talks to its server";

/// The SPDX expression of the licence.
const LICENSE: &str = "Apache-2.0 OR MIT";

/// Where a release is to be found.
#[derive(Debug)]
pub(super) struct Origin {
    /// What file names are appended to, without a slash at its end.
    base_url: String,
    /// The product's page.
    homepage: String,
}

/// An archive with `fleetctl` in it.
#[derive(Debug)]
struct Download {
    reach: Reach,
    url: String,
    sha256: String,
    /// The folder in the archive.
    folder: String,
}

/// What all manifests say.
#[derive(Debug)]
struct Subject<'a> {
    version: &'a str,
    homepage: &'a str,
    downloads: Vec<Download>,
}

impl Origin {
    /// A repository alone is taken for one on GitHub. None if there is neither.
    pub(super) fn new(
        base_url: Option<&str>,
        repository: Option<&str>,
        version: &Version,
    ) -> Option<Self> {
        let on_github =
            |it: &str| format!("{}/releases/download/v{}", it.trim_end_matches('/'), version.text);
        let base_url = base_url.map(str::to_owned).or_else(|| repository.map(on_github))?;
        let base_url = base_url.trim_end_matches('/').to_owned();
        let homepage = repository.unwrap_or(&base_url).to_owned();
        Some(Self { base_url, homepage })
    }
}

/// Writes what the targets allow: nothing for winget and Scoop without Windows, for example.
pub(super) fn write(
    release: &Release<'_>,
    targets: &[Target],
    origin: &Origin,
) -> anyhow::Result<()> {
    let version = release.version.text.as_str();
    let with_fleetctl = targets.iter().filter(|target| target.program("fleetctl").is_some());
    let downloads = with_fleetctl.map(|target| download(release, target, origin));
    let downloads = downloads.collect::<anyhow::Result<_>>()?;
    let subject = Subject { version, homepage: &origin.homepage, downloads };
    for (name, text) in [homebrew::formula(&subject), scoop::manifest(&subject)?]
        .into_iter()
        .flatten()
        .chain(winget::manifests(&subject, release.version.date)?)
    {
        release.write(&name, text)?;
    }
    Ok(())
}

fn download(release: &Release<'_>, target: &Target, origin: &Origin) -> anyhow::Result<Download> {
    let name = target.archive(&release.version.text);
    Ok(Download {
        reach: target.reach,
        url: format!("{}/{name}", origin.base_url),
        sha256: checksums::of_file(&release.dir.join(&name))?,
        folder: release.name(target.name()),
    })
}

impl Subject<'_> {
    /// The archive whose programs start on `system` with `cpu`.
    fn download(&self, system: System, cpu: Cpu) -> Option<&Download> {
        self.downloads.iter().find(|it| it.reach.covers(system, cpu))
    }
}

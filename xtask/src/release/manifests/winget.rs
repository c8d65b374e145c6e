//! The three manifests for [winget](https://learn.microsoft.com/windows/package-manager/package/manifest).

use anyhow::Context as _;
use jiff::Timestamp;

use super::{DESCRIPTION, Download, LICENSE, Subject};
use crate::dist::target::{Cpu, System};

/// What the package is called there.
const IDENTIFIER: &str = "Fleetd.Fleetctl";

/// The version of the manifests' format.
const FORMAT: &str = "1.6.0";

/// File names and texts; none without Windows.
pub(super) fn manifests(subject: &Subject<'_>, date: i64) -> anyhow::Result<Vec<(String, String)>> {
    let mut installers = String::new();
    for (name, cpu) in [("x64", Cpu::X86_64), ("arm64", Cpu::Aarch64)] {
        if let Some(download) = subject.download(System::Windows, cpu) {
            installers.push_str(&installer(name, download));
        }
    }
    if installers.is_empty() {
        return Ok(Vec::new());
    }
    let date = Timestamp::from_second(date).context("no such date")?.strftime("%Y-%m-%d");
    let install = format!(
        "ReleaseDate: {date}\nInstallerType: zip\nNestedInstallerType: portable\n\
         Commands:\n- fleetctl\nInstallers:\n{installers}"
    );
    Ok(vec![
        manifest(subject, "", "version", "DefaultLocale: en-US\n"),
        manifest(subject, ".installer", "installer", &install),
        manifest(subject, ".locale.en-US", "defaultLocale", &locale(subject)),
    ])
}

fn installer(arch: &str, download: &Download) -> String {
    let Download { url, folder, sha256, .. } = download;
    let sha256 = sha256.to_uppercase();
    format!(
        "- Architecture: {arch}\n  InstallerUrl: {url}\n  InstallerSha256: {sha256}\n  \
         NestedInstallerFiles:\n  - RelativeFilePath: {folder}\\fleetctl.exe\n    \
         PortableCommandAlias: fleetctl\n"
    )
}

fn locale(subject: &Subject<'_>) -> String {
    let homepage = subject.homepage;
    format!(
        "PackageLocale: en-US\nPublisher: The fleetd authors\nPackageName: fleetctl\n\
         PackageUrl: {homepage}\nLicense: {LICENSE}\nShortDescription: {DESCRIPTION}\n"
    )
}

fn manifest(subject: &Subject<'_>, part: &str, kind: &str, inside: &str) -> (String, String) {
    let schema = format!("https://aka.ms/winget-manifest.{kind}.{FORMAT}.schema.json");
    let version = subject.version;
    let text = format!(
        "# yaml-language-server: $schema={schema}\n\nPackageIdentifier: {IDENTIFIER}\n\
         PackageVersion: {version}\n{inside}ManifestType: {kind}\nManifestVersion: {FORMAT}\n"
    );
    (format!("{IDENTIFIER}{part}.yaml"), text)
}

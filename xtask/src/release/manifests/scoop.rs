//! The manifest for [Scoop](https://github.com/ScoopInstaller/Scoop/wiki/App-Manifests).

use anyhow::Context as _;
use serde_json::{Map, json};

use super::{DESCRIPTION, LICENSE, Subject};
use crate::dist::target::{Cpu, System};

/// The manifest's file name and text; None without Windows.
pub(super) fn manifest(subject: &Subject<'_>) -> anyhow::Result<Option<(String, String)>> {
    let mut architecture = Map::new();
    for (name, cpu) in [("64bit", Cpu::X86_64), ("arm64", Cpu::Aarch64)] {
        if let Some(download) = subject.download(System::Windows, cpu) {
            let one = json!({
                "url": download.url,
                "hash": download.sha256,
                "extract_dir": download.folder,
            });
            architecture.insert(name.to_owned(), one);
        }
    }
    if architecture.is_empty() {
        return Ok(None);
    }
    let manifest = json!({
        "version": subject.version,
        "description": DESCRIPTION,
        "homepage": subject.homepage,
        // A bar between two licences means that either may be chosen.
        "license": LICENSE.replace(" OR ", "|"),
        "architecture": architecture,
        "bin": "fleetctl.exe",
    });
    let text = serde_json::to_string_pretty(&manifest).context("could not write JSON")?;
    Ok(Some(("fleetctl.json".to_owned(), format!("{text}\n"))))
}

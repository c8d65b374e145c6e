//! What `fleetctl package` is to do.

use std::path::PathBuf;

use camino::Utf8PathBuf;
use packager::{
    Compression, PackageSpec, Platform, SourceDate,
    format::pkg::Identifier,
    payload::{Arch, Os},
    sign::Keys,
};
use semver::Version;
use update::{Channel, RepositoryConfig};

use super::{notarize::Notary, signing::Entitlements};

/// What to build, from what, and where to.
#[derive(Debug)]
pub(crate) struct Order {
    pub spec: PackageSpec,
    pub types: Vec<Type>,
    pub archs: Vec<Arch>,
    pub origin: Origin,
    pub channels: Tracks,
    pub with_osqueryd: bool,
    pub destination: Destination,
    pub version: Option<Version>,
    /// Whether each package has a bill of materials beside it.
    pub sbom: bool,
    pub compression: Option<Compression>,
    /// What macOS knows the package by.
    pub identifier: Identifier,
    /// The date of everything in the package, if it was given.
    pub date: Option<SourceDate>,
    /// What packages are signed with.
    pub keys: Keys,
    /// What programs for macOS may do, where that is not what they carry.
    pub entitlements: Entitlements,
    /// Who notarizes packages of type pkg.
    pub notary: Option<Notary>,
}

impl Order {
    /// What the packages are to run on, each once.
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        let mut platforms = Vec::new();
        for &kind in &self.types {
            for platform in kind.platforms(&self.archs) {
                if !platforms.contains(&platform) {
                    platforms.push(platform);
                }
            }
        }
        platforms
    }
}

/// A kind of installer that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Deb,
    Rpm,
    Msi,
    Pkg,
}

impl Type {
    /// As in `--type`, and how its files end.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Msi => "msi",
            Self::Pkg => "pkg",
        }
    }

    /// The system that it installs on.
    pub(crate) fn os(self) -> Os {
        match self {
            Self::Deb | Self::Rpm => Os::Linux,
            Self::Msi => Os::Windows,
            Self::Pkg => Os::Macos,
        }
    }

    /// What it is built for when `archs` are asked for. On macOS one package serves them all.
    pub(crate) fn platforms(self, archs: &[Arch]) -> Vec<Platform> {
        let os = self.os();
        match os {
            Os::Macos => vec![Platform { os, arch: Arch::Universal }],
            Os::Linux | Os::Windows => archs.iter().map(|&arch| Platform { os, arch }).collect(),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "deb" => Ok(Self::Deb),
            "rpm" => Ok(Self::Rpm),
            "msi" => Ok(Self::Msi),
            "pkg" => Ok(Self::Pkg),
            "pkg.tar.zst" => {
                Err(format!("--type {text} is not built by fleetctl; deb, rpm, msi and pkg are"))
            }
            _ => Err(format!("--type `{text}` is unknown; one of deb, rpm, msi, pkg")),
        }
    }
}

/// Where programs come from.
#[derive(Debug)]
pub(crate) enum Origin {
    Folder(Utf8PathBuf),
    Repository(Box<RepositoryConfig>),
}

/// The channels to fetch components from.
#[derive(Debug)]
pub(crate) struct Tracks {
    pub orbit: Channel,
    pub osqueryd: Channel,
    pub desktop: Channel,
}

/// Where artifacts go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Into this folder, under their conventional names.
    Folder(PathBuf),
    /// The only artifact, to this file.
    File(PathBuf),
    /// Nowhere: their trees are printed.
    Nowhere,
}

//! Container images: a tar archive of an OCI image layout, for as many architectures as there are
//! programs. Source: OCI image specification 1.0, image-layout.md, manifest.md, config.md.
//!
//! The documents are written as JSON here: the crates that have types for them keep labels in hash
//! maps, whose order would be another in every run.

use std::io::Write;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    archive::tar::{Item, TarWriter},
    compression::{Algorithm, Compression, Encoder, all_cores},
    error::BuildError,
    feed::Feed,
    format::Progress,
    package::SourceDate,
    payload::Platform,
    tarball::{self, Numbers},
    tree::{FileTree, Owner},
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What a container runs, whatever the architecture.
#[derive(Debug, Clone)]
pub struct Image {
    pub version: String,
    pub title: &'static str,
    pub description: &'static str,
    /// SPDX expression.
    pub license: &'static str,
    pub vendor: String,
    /// Started with `arguments`, for which others may be given.
    pub entrypoint: &'static str,
    pub arguments: &'static [&'static str],
    /// As `NAME=value`.
    pub environment: &'static [&'static str],
    /// Run now and then inside; exit code 0 says that the container does its work.
    pub health: &'static [&'static str],
    /// A TCP port.
    pub port: u16,
    /// Where the data is that outlives a container.
    pub volume: &'static str,
    /// Whom it runs as: the number of a user and its group.
    pub user: u32,
    /// The whole file system for each platform.
    pub layers: Vec<(Platform, FileTree)>,
    pub built_at: SourceDate,
}

/// Writes `image` to `out`. The same image gives the same bytes. `progress` hears of the bytes of its
/// files.
pub fn write(image: &Image, out: &mut dyn Write, progress: Progress<'_>) -> Result<(), BuildError> {
    let mut layout = Layout { tar: TarWriter::new(out, image.built_at.unix()) };
    for folder in ["/blobs", "/blobs/sha256"] {
        layout.tar.dir(&item(folder)).map_err(BuildError::Write)?;
    }
    let mut manifests = Vec::new();
    for (platform, tree) in &image.layers {
        manifests.push(layout.add_platform(image, *platform, tree, progress)?);
    }
    let annotations = image.annotations();
    let all = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": annotations,
    });
    let mut all = layout.add(INDEX, &document(&all))?;
    all["annotations"] = json!({ "org.opencontainers.image.ref.name": image.version });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [all] });
    layout.add_file("/index.json", &document(&index))?;
    layout.add_file("/oci-layout", &document(&json!({ "imageLayoutVersion": "1.0.0" })))?;
    layout.tar.finish().map(drop).map_err(BuildError::Write)
}

/// The archive in the making.
struct Layout<'a> {
    tar: TarWriter<&'a mut dyn Write>,
}

impl Layout<'_> {
    /// Adds layer, configuration and manifest; gives what describes the manifest.
    fn add_platform(
        &mut self,
        image: &Image,
        platform: Platform,
        tree: &FileTree,
        progress: Progress<'_>,
    ) -> Result<Value, BuildError> {
        let plain = image.layer(tree, progress)?;
        let layer = self.add(LAYER, &squeezed(&plain).map_err(BuildError::Write)?)?;
        let config = image.config(platform, &digest(&plain));
        let config = self.add(CONFIG, &document(&config))?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
            "annotations": image.annotations(),
        });
        let mut manifest = self.add(MANIFEST, &document(&manifest))?;
        manifest["platform"] = json!({ "architecture": platform.arch.to_string(), "os": "linux" });
        Ok(manifest)
    }

    /// Adds a blob; gives what describes it.
    fn add(&mut self, kind: &str, blob: &[u8]) -> Result<Value, BuildError> {
        let digest = digest(blob);
        self.add_file(&format!("/blobs/{}", digest.replace(':', "/")), blob)?;
        Ok(json!({ "mediaType": kind, "digest": digest, "size": blob.len() }))
    }

    fn add_file(&mut self, path: &str, content: &[u8]) -> Result<(), BuildError> {
        let size = content.len() as u64;
        let tar = &mut self.tar;
        tar.file(&Item { mode: 0o644, ..item(path) }, size)
            .and_then(|()| tar.out().write_all(content))
            .and_then(|()| tar.pad(size))
            .map_err(BuildError::Write)
    }
}

impl Image {
    /// The file system as a tar archive, not yet squeezed.
    fn layer(&self, tree: &FileTree, progress: Progress<'_>) -> Result<Vec<u8>, BuildError> {
        let mut tar = TarWriter::new(Vec::new(), self.built_at.unix());
        tarball::add_files(&mut tar, tree, NUMBERS, &mut Feed::new(progress))?;
        tar.finish().map_err(BuildError::Write)
    }

    fn config(&self, platform: Platform, layer: &str) -> Value {
        let created = self.built_at.timestamp().to_string();
        let health: Vec<_> = ["CMD"].iter().chain(self.health).collect();
        json!({
            "created": created,
            "architecture": platform.arch.to_string(),
            "os": "linux",
            "config": {
                "User": format!("{0}:{0}", self.user),
                "ExposedPorts": { format!("{}/tcp", self.port): {} },
                "Env": self.environment,
                "Entrypoint": [self.entrypoint],
                "Cmd": self.arguments,
                "Volumes": { self.volume: {} },
                "WorkingDir": self.volume,
                "Labels": self.annotations(),
                "StopSignal": "SIGTERM",
                // Docker's; readers that do not know it pass over it, as the specification says.
                "Healthcheck": { "Test": health },
            },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
            "history": [{ "created": created, "created_by": self.title }],
        })
    }

    fn annotations(&self) -> Value {
        let key = |name: &str| format!("org.opencontainers.image.{name}");
        json!({
            key("created"): self.built_at.timestamp().to_string(),
            key("description"): self.description,
            key("licenses"): self.license,
            key("title"): self.title,
            key("vendor"): self.vendor,
            key("version"): self.version,
        })
    }
}

/// Of the one account that images have beside root's, as other images without a system number it.
pub(crate) const ACCOUNT: u32 = 65532;

const NUMBERS: Numbers = |owner| if owner == Owner::ROOT { 0 } else { ACCOUNT };

fn item(path: &str) -> Item<'_> {
    let Owner { user, group } = Owner::ROOT;
    Item { path, mode: 0o755, user, group, number: 0 }
}

fn document(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

fn squeezed(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let gzip = Compression::of(Algorithm::Gzip);
    let mut encoder = Encoder::new(gzip, all_cores(), Vec::new())?;
    encoder.write_all(plain)?;
    encoder.finish()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

//! The container image, read by the tools that containers are made with.

use std::{fs, path::Path};

use camino::Utf8Path;
use packager::{
    Platform, Program, image,
    payload::{Arch, Os},
    product::{self, Release},
    tree::Source,
};

use crate::fixture::{DATE, as_root, platform, run};

/// An image for both architectures, in `folder`.
fn archive(folder: &Path) -> String {
    let program = Program::open(Utf8Path::new("/bin/true"), platform()).unwrap();
    let release = Release { version: "1.2.3".parse().unwrap(), program, built_at: DATE };
    let mut other = release.clone();
    other.program.platform = Platform { os: Os::Linux, arch: Arch::Arm64 };
    other.program.source = Source::Bytes("for another architecture".into());
    let image = product::fleet_server_image(&release, &[other]).unwrap();
    let mut bytes = Vec::new();
    image::write(&image, &mut bytes, &|_| ()).unwrap();
    let path = folder.join("image.oci.tar");
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn config(archive: &str, arch: &str) -> serde_json::Value {
    let archive = format!("oci-archive:{archive}");
    let args = [
        "--override-os",
        "linux",
        "--override-arch",
        arch,
        "inspect",
        "--raw",
        "--config",
        &archive,
    ];
    serde_json::from_str(&run("skopeo", &args)).unwrap()
}

#[test]
fn skopeo_finds_an_image_for_each_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path());
    for arch in ["amd64", "arm64"] {
        let config = config(&archive, arch);
        assert_eq!(config["architecture"], arch);
        let config = &config["config"];
        assert_eq!(config["User"], "65532:65532");
        assert_eq!(config["Entrypoint"][0], "/usr/bin/fleet-server");
        let health = serde_json::json!(["CMD", "/usr/bin/fleet-server", "health"]);
        assert_eq!(config["Healthcheck"]["Test"], health);
        assert_eq!(config["Cmd"][0], "serve");
        assert!(
            config["Volumes"]["/data"].is_object()
                && config["ExposedPorts"]["8443/tcp"].is_object()
        );
        assert_eq!(config["Labels"]["org.opencontainers.image.version"], "1.2.3");
    }
}

#[test]
fn umoci_unpacks_what_was_laid_out() {
    let folder = tempfile::tempdir().unwrap();
    let archive = format!("oci-archive:{}", archive(folder.path()));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let layout = format!("oci:{}:it", path("layout"));
    let wanted = ["--override-os", "linux", "--override-arch", "arm64"];
    run("skopeo", &[&wanted[..], &["copy", "--quiet", &archive, &layout]].concat());
    let image = format!("{}:it", path("layout"));
    as_root("umoci", &["unpack", "--rootless", "--image", &image, &path("bundle")]);
    let root = folder.path().join("bundle/rootfs");
    let program = fs::read_to_string(root.join("usr/bin/fleet-server")).unwrap();
    assert_eq!(program, "for another architecture");
    let found = run(
        "sh",
        &["-c", r#"cd "$1" && find . -printf '%m %p\n' | sort -k 2"#, "sh", root.to_str().unwrap()],
    );
    snapbox::assert_data_eq!(
        found,
        snapbox::str![[r#"
755 .
700 ./data
755 ./etc
755 ./etc/fleet-server
644 ./etc/fleet-server/config.yaml
644 ./etc/group
644 ./etc/passwd
1777 ./tmp
755 ./usr
755 ./usr/bin
755 ./usr/bin/fleet-server

"#]]
    );
}

#[test]
fn the_same_programs_give_the_same_image() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] = folders.each_ref().map(|folder| fs::read(archive(folder.path())).unwrap());
    assert!(one == other);
}

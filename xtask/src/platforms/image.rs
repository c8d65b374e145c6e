//! The container image of `fleet-server`: made of the program, unpacked by other people's tools, and
//! started as a container is, in a root file system with nothing else in it.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use rustix::process::geteuid;
use serde::Deserialize;

use crate::{
    deployment::Desk,
    dist::target::Target,
    process::Daemon,
    release::Files,
    selfpack::{self, Request},
    version::Version,
    workspace::Workspace,
};

/// What a container is started with.
#[derive(Debug, Deserialize)]
struct Image {
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    user: String,
    env: Vec<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    healthcheck: Healthcheck,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    /// `CMD` and what it is.
    test: Vec<String>,
}

/// Packs the server at `program`, starts the image, and asks it for its health as Docker would.
pub(super) fn check(
    workspace: &Workspace,
    desk: &Desk,
    program: &Path,
    version: &Version,
) -> anyhow::Result<()> {
    ensure!(geteuid().is_root(), "only root may change its root file system; run this as root");
    pack(workspace, desk, program, version)?;
    desk.run("skopeo copy --quiet oci-archive:$(ls image/*.oci.tar) oci:layout:it")?;
    desk.run("umoci unpack --image layout:it bundle 2>&1")?;
    let json = desk.read("skopeo inspect --raw --config oci:layout:it")?;
    let image: Image =
        serde_json::from_str(&json).context("could not read the image's configuration")?;
    let container = image.config;
    desk.run(&format!(
        "fleet-server cert --out-dir cert --host localhost && cd bundle/rootfs/etc/fleet-server && mkdir tls \
         && cp ../../../../cert/server.pem tls/tls.crt && cp ../../../../cert/server.key tls/tls.key \
         && chown -R {} tls",
        container.user
    ))?;
    let serve = [&container.entrypoint[..], &container.cmd].concat();
    let server = desk.start("image", &container.line(&serve, "--listen 127.0.0.1:0"))?;
    let address = server.wait_for("its address", address_in)?;
    let [kind, health @ ..] = &container.healthcheck.test[..] else {
        bail!("it has no health check")
    };
    ensure!(kind == "CMD", "its health check asks for a shell, which it has not");
    let healthy = desk.read(&container.line(health, &format!("--listen {address}")));
    expect_ready(healthy, &server)
}

/// Has `image/*.oci.tar` written.
fn pack(
    workspace: &Workspace,
    desk: &Desk,
    program: &Path,
    version: &Version,
) -> anyhow::Result<()> {
    desk.run("mkdir image")?;
    let request = Request {
        programs: &[(Target::of_this_machine()?.cpu, program)],
        reference: &Files::new(),
        out: &desk.dir.join("image"),
        version: &version.text,
        date: version.date,
    };
    selfpack::packages(workspace, &request).map(|_| ())
}

fn address_in(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on https://")?;
    let (address, _) = rest.split_once('\n')?;
    Some(address.to_owned())
}

fn expect_ready(said: anyhow::Result<String>, server: &Daemon) -> anyhow::Result<()> {
    let said = said.with_context(|| server.output())?;
    ensure!(said == "ready\n", "it says {said}");
    Ok(())
}

impl Config {
    /// A line of shell that runs `command` in the container's file system, as its user.
    fn line(&self, command: &[String], more: &str) -> String {
        let (env, user, command) = (self.env.join(" "), &self.user, command.join(" "));
        format!("env -i {env} /usr/sbin/chroot --userspec={user} bundle/rootfs {command} {more}")
    }
}

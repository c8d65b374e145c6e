//! The packages that are installed: built by `fleetctl package` from the `orbit` just built.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::{Shell, cmd};

use super::{arm64, values};
use crate::{
    deployment::Deployment,
    dist::target::Target,
    release,
    selfpack::{self, Request},
    workspace::{Programs, Workspace},
};

/// Versions, oldest first. The programs in them differ, so that it shows which one runs.
pub(super) const VERSIONS: [&str; 4] = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"];

/// Packages of the server in two versions, and of the command line.
pub(super) const SERVERS: [&str; 2] = ["fleet-server-1.0.0", "fleet-server-1.1.0"];
pub(super) const COMMAND: &str = "fleetctl-1.0.0";

/// What the product's own packages are dated.
const DATE: i64 = 1_790_000_000;

/// Built packages and what they were built from.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// Builds every package that the checks install.
    pub(super) fn build(deployment: &Deployment, programs: &Programs) -> anyhow::Result<Self> {
        let orbit = &programs.orbit;
        let shelf = Self { dir: deployment.desk.dir.join("packages") };
        let server = server_flags(deployment);
        for version in VERSIONS {
            shelf.component(orbit, version)?;
            let flags = format!("--type deb,rpm {server}");
            shelf.package(deployment, (version, version), version, &flags)?;
        }
        let [first, ..] = VERSIONS;
        shelf.package(deployment, ("unconfigured", first), first, "--type deb")?;
        shelf.desktop(deployment, programs)?;
        values::prepare(deployment)?;
        let flags = format!("--type deb {server} {}", values::FLAGS);
        let flags = flags.replace("secret.txt", values::SECRET_FILE);
        shelf.package(deployment, ("values", first), first, &flags)?;
        Ok(shelf)
    }

    /// Packs `orbit`, which is built for arm64.
    pub(super) fn pack_arm64(&self, deployment: &Deployment, orbit: &Path) -> anyhow::Result<()> {
        for name in arm64::NAMES {
            let version = name.trim_start_matches("arm64-");
            let program = self.program(name);
            fs::create_dir_all(self.components(name))
                .and_then(|()| fs::copy(orbit, &program))
                .with_context(|| format!("could not make `{}`", program.display()))?;
            mark(&program, version)?;
            let flags = format!("--type deb,rpm --arch arm64 {}", server_flags(deployment));
            self.package(deployment, (name, name), version, &flags)?;
        }
        Ok(())
    }

    /// Packs the server and the command line that were just built.
    pub(super) fn pack_product(
        &self,
        workspace: &Workspace,
        programs: &Programs,
    ) -> anyhow::Result<()> {
        let reference = release::reference(workspace, &programs.fleetctl)?;
        let cpu = Target::of_this_machine()?.cpu;
        for name in [SERVERS[0], SERVERS[1], COMMAND] {
            let (program, version) = name.rsplit_once('-').context("a name has no version")?;
            let path = if name == COMMAND { &programs.fleetctl } else { &programs.server };
            let (built, out) = (self.dir.join(format!("built-{name}")), self.dir.join(name));
            for dir in [&built, &out] {
                fs::create_dir_all(dir)
                    .with_context(|| format!("could not make `{}`", dir.display()))?;
            }
            let stripped = built.join(program);
            let sh = &workspace.sh;
            cmd!(sh, "strip -o {stripped} {path}").quiet().run()?;
            let request = Request {
                programs: &[(cpu, &stripped)],
                reference: &reference,
                out: &out,
                version,
                date: DATE,
            };
            selfpack::packages(workspace, &request)?;
        }
        Ok(())
    }

    /// The only `format` package called `name`.
    pub(super) fn find(&self, name: &str, format: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        let listing =
            fs::read_dir(&dir).with_context(|| format!("could not list `{}`", dir.display()))?;
        let mut paths = listing.flatten().map(|entry| entry.path());
        paths
            .find(|path| path.extension().is_some_and(|extension| extension == format))
            .with_context(|| format!("could not find a .{format} in `{}`", dir.display()))
    }

    /// The program packed in `version`, which is a version or a package for arm64.
    pub(super) fn program(&self, version: &str) -> PathBuf {
        self.components(version).join("orbit")
    }

    fn components(&self, version: &str) -> PathBuf {
        self.dir.join("components").join(version)
    }

    /// Copies `orbit` without what only debuggers read, and marks it with its version.
    fn component(&self, orbit: &Path, version: &str) -> anyhow::Result<()> {
        let dir = self.components(version);
        fs::create_dir_all(&dir).with_context(|| format!("could not make `{}`", dir.display()))?;
        let program = dir.join("orbit");
        let sh = Shell::new().context("could not start in the current directory")?;
        cmd!(sh, "strip -o {program} {orbit}").quiet().run()?;
        mark(&program, version)
    }

    /// Packs an agent without configuration that shows an icon.
    fn desktop(&self, deployment: &Deployment, programs: &Programs) -> anyhow::Result<()> {
        const NAME: &str = "desktop";
        self.component(&programs.orbit, NAME)?;
        let (program, built) = (self.components(NAME).join("fleet-desktop"), &programs.desktop);
        let sh = Shell::new().context("could not start in the current directory")?;
        cmd!(sh, "strip -o {program} {built}").quiet().run()?;
        self.package(deployment, (NAME, NAME), VERSIONS[0], "--type deb --fleet-desktop")
    }

    fn package(
        &self,
        deployment: &Deployment,
        (name, components): (&str, &str),
        version: &str,
        flags: &str,
    ) -> anyhow::Result<()> {
        let components = self.components(components);
        let out = self.dir.join(name);
        let line = format!(
            "fleetctl package --components {} --without-osqueryd --package-version {version} --out-dir {} {flags}",
            components.display(),
            out.display()
        );
        deployment.desk.run(&line).map(|_| ())
    }
}

/// What a package is told of the server.
fn server_flags(deployment: &Deployment) -> String {
    format!(
        "--fleet-url {} --fleet-certificate tls/ca.pem --enroll-secret-file secret.txt",
        deployment.url
    )
}

/// Makes a program another one: what follows the end of an ELF file is not read by anyone.
fn mark(program: &Path, version: &str) -> anyhow::Result<()> {
    let mut file = File::options().append(true).open(program).context("could not open orbit")?;
    file.write_all(version.as_bytes()).context("could not mark orbit with its version")
}

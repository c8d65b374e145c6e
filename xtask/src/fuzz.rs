//! `cargo xtask fuzz`: packages that were changed at random are read, within bounds of memory and time.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use crate::{cleanup::TemporaryDir, terminal, workspace::Workspace};

/// What the reader may allocate: twice what its decoders may, and room for everything else.
const MEMORY: &str = "--as=1073741824";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where chance begins; the same gives the same packages
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Args {
    /// What CI runs.
    pub(crate) fn quick() -> Self {
        Self { seconds: 15, seed: 1 }
    }
}

/// Reads changed packages for a while; fails at the first that brings the reader down, which is kept.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    let folder = workspace.scratch("fuzz")?;
    let identity = folder.join("identity.pem");
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| folder.join(name));
    let subject = ["-subj", "/CN=Fuzz", "-addext", "extendedKeyUsage=codeSigning"];
    cmd!(
        sh,
        "openssl req -x509 -newkey rsa:2048 -noenc {subject...} -keyout {key} -out {certificate}"
    )
    .quiet()
    .ignore_stderr()
    .run()?;
    fs::write(&identity, [fs::read(&certificate)?, fs::read(&key)?].concat())
        .with_context(|| format!("could not write `{}`", identity.display()))?;
    let openpgp = folder.join("openpgp.key");
    make_openpgp_key(sh, &openpgp)?;
    cmd!(sh, "cargo build --quiet --locked --package fleetd-packager --example fuzz").run()?;
    let program = workspace.target.join("debug/examples/fuzz");
    // A reader that hangs uses the processor for longer than it was given.
    let time = format!("--cpu={}", args.seconds + 60);
    let (seconds, seed) = (args.seconds.to_string(), args.seed.to_string());
    let run = cmd!(
        sh,
        "prlimit {MEMORY} {time} {program} {seconds} {folder} {identity} {openpgp} {seed}"
    );
    if run.run().is_err() {
        bail!("`{}` brings the reader down", folder.join("package").display());
    }
    let reads = fs::read_to_string(folder.join("reads")).context("could not read the count")?;
    terminal::line(&format!("{reads} changed packages were read or refused"));
    Ok(())
}

/// Writes a secret key that is older than the packages.
fn make_openpgp_key(sh: &Shell, key: &Path) -> anyhow::Result<()> {
    // Its agent's socket wants a short path.
    let home = TemporaryDir::new()?;
    let home = home.path();
    let common = ["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
    let gpg = || cmd!(sh, "gpg --homedir {home} {common...}");
    let made = ["--faked-system-time", "1600000000!", "--quick-generate-key", "Fuzz"];
    gpg().args(made).args(["ed25519", "sign", "never"]).quiet().ignore_stderr().run()?;
    gpg().arg("--output").arg(key).args(["--export-secret-keys", "Fuzz"]).quiet().run()?;
    cmd!(sh, "gpgconf --homedir {home} --kill gpg-agent").quiet().run()?;
    Ok(())
}

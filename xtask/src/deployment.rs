//! A server with its owner, for the demo and the acceptance tests: made in a directory of its own,
//! by the commands that a user would type.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{process::Daemon, terminal, workspace::Workspace};

/// Whether commands and their output are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    Aloud,
    Silent,
}

/// A directory that command lines are run in, as by a user whose home it is, with the product's
/// programs on the search path.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) dir: PathBuf,
    path: String,
    voice: Voice,
    exported: Vec<(String, String)>,
}

impl Desk {
    /// Opens the directory `dir`; `programs` is where the product's programs are.
    pub(crate) fn new(
        workspace: &Workspace,
        dir: &Path,
        programs: &Path,
        voice: Voice,
    ) -> anyhow::Result<Self> {
        let inherited = workspace.sh.var("PATH").context("could not read `PATH`")?;
        let path = format!("{}:{inherited}", programs.display());
        Ok(Self { dir: dir.to_owned(), path, voice, exported: Vec::new() })
    }

    /// Runs a line of shell, shown with its output, and gives what it printed on standard output.
    pub(crate) fn run(&self, line: &str) -> anyhow::Result<String> {
        self.announce(line);
        let (text, errors) = self.output(line)?;
        self.show(&text);
        self.show(&errors);
        Ok(text)
    }

    /// Runs a line of shell, shown by nobody, and gives what it printed on standard output.
    pub(crate) fn read(&self, line: &str) -> anyhow::Result<String> {
        Ok(self.output(line)?.0)
    }

    /// Sets a variable for all that follows to what the line of shell `command` prints.
    pub(crate) fn export(&mut self, name: &str, command: &str) -> anyhow::Result<()> {
        self.announce(&format!("export {name}=$({command})"));
        let value = self.read(command)?.trim_end().to_owned();
        self.exported.push((name.to_owned(), value));
        Ok(())
    }

    /// Starts a line of shell that goes on until it is stopped; its output goes to `<name>.log`.
    pub(crate) fn start(&self, name: &str, line: &str) -> anyhow::Result<Daemon> {
        self.announce(&format!("{line} &"));
        Daemon::start(
            name,
            self.shell(&format!("exec {line}")),
            &self.dir.join(format!("{name}.log")),
        )
    }

    /// Shows what a command has printed.
    pub(crate) fn show(&self, output: &str) {
        if self.voice == Voice::Aloud && !output.trim().is_empty() {
            terminal::line(output.trim_end());
        }
    }

    fn output(&self, line: &str) -> anyhow::Result<(String, String)> {
        let output =
            self.shell(line).output().with_context(|| format!("could not run `{line}`"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("`{line}` failed ({}):\n{text}{errors}", output.status);
        }
        Ok((text, errors))
    }

    fn announce(&self, line: &str) {
        if self.voice == Voice::Aloud {
            terminal::command(line);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "it runs what a user would type")]
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(&self.dir).stdin(Stdio::null());
        command.env_clear().env("PATH", &self.path).env("HOME", &self.dir);
        command.env("LANG", "C.UTF-8").env("TERM", "dumb").env("RUST_BACKTRACE", "1");
        command.envs(self.exported.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running server that has an owner, with `fleetctl` signed in to it.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) desk: Desk,
    /// The server's address.
    pub(crate) url: String,
    server: Daemon,
}

impl Deployment {
    /// Makes certificates, starts the server on a free port and sets it up.
    pub(crate) fn start(desk: Desk) -> anyhow::Result<Self> {
        desk.run("fleet-server cert --out-dir tls --host localhost --host 127.0.0.1")?;
        Self::certified(desk)
    }

    /// The same, with the certificate that is in `tls`.
    pub(crate) fn certified(desk: Desk) -> anyhow::Result<Self> {
        let server = desk.start(
            "fleet-server",
            "fleet-server serve --listen 127.0.0.1:0 --data-dir data --tls-certificate tls/server.pem --tls-key tls/server.key",
        )?;
        let url = server.wait_for("its address", |log| word_after(log, "listening on "))?;
        let code = server.wait_for("its set-up code", |log| word_after(log, "--code "))?;
        desk.show(&server.output());
        desk.run("printf 'Aa1-%s' \"$(openssl rand -base64 18)\" > password.txt")?;
        desk.run(&format!(
            "fleetctl setup --url {url} --fleet-certificate tls/ca.pem --code {code} --email ann@example.com --name Ann --organization Example --password-stdin < password.txt"
        ))?;
        Ok(Self { desk, url, server })
    }

    /// Makes an enroll secret, into `secret.txt`, and an API key, into `api-key.txt`.
    pub(crate) fn credentials(&self) -> anyhow::Result<()> {
        self.desk.run("fleetctl enroll-secrets create --name laptops --quiet > secret.txt")?;
        self.desk.run(
            "fleetctl api-keys create --name inventory --scope devices:read --quiet > api-key.txt",
        )?;
        Ok(())
    }

    /// The end of the server's log, for explanations.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.server.output();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Finds `prefix` in `text` and gives the word that follows it.
fn word_after(text: &str, prefix: &str) -> Option<String> {
    let (_, rest) = text.split_once(prefix)?;
    let (word, _) = rest.split_once(char::is_whitespace)?;
    Some(word.to_owned())
}

/// An enrolled device, as `fleetctl devices list --output json` tells.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) hostname: String,
}

impl Deployment {
    /// The devices that the server knows.
    pub(crate) fn devices(&self) -> anyhow::Result<Vec<Device>> {
        let json = self.desk.read("fleetctl devices list --output json")?;
        serde_json::from_str(&json).context("could not read the list of devices")
    }
}

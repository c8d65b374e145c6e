//! `cargo xtask conformance`: whether the server answers as its OpenAPI document says. schemathesis
//! makes requests of that document, good and bad ones, and judges every answer: no failure inside, no
//! status that is not documented, no body that breaks its schema.

use std::{fs, path::Path};

use anyhow::Context as _;
use xshell::cmd;

use crate::{
    cleanup::TemporaryDir,
    deployment::{Desk, Voice},
    process::Daemon,
    python, terminal,
    workspace::Workspace,
};

/// The tool, from PyPI.
const TOOL: &str = "schemathesis==4.32.5";
/// Requests of each operation; the same ones in every run.
const EXAMPLES: &str = "5";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";
/// What signs out whoever asks, or deletes their organization: all after it would be refused.
const LEFT_OUT: [&str; 5] = [
    "POST /auth/logout",
    "DELETE /auth/sessions",
    "DELETE /auth/sessions/{id}",
    "POST /auth/revocations",
    "DELETE /organization",
];
/// Without limits, so that what they guard is looked at.
const SERVER: &str = "\
auth: {jwt: {alg: EdDSA}}
limits:
  requests_per_minute: 1000000
  anonymous_requests_per_minute: 1000000
  sign_in_requests_per_minute: 1000000
  refreshes_per_minute: 1000000
  login_attempts: 1000000
  login_attempts_per_network: 1000000
  enroll_failures_per_minute: 1000000
";

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let tool = python::tool(workspace, TOOL)?.join("schemathesis");
    let programs = workspace.programs()?;
    let folder = programs.server.parent().context("the programs lie nowhere")?;
    let home = TemporaryDir::new()?;
    let desk = Desk::new(workspace, home.path(), folder, Voice::Silent)?;
    write(home.path(), "server.yaml", SERVER)?;
    let serve = "fleet-server serve --listen 127.0.0.1:0 --data-dir data --config server.yaml";
    let server = desk.start("fleet-server", serve)?;
    let url = word_after(&server, "listening on ")?;
    let token = owner(&desk, &url, &word_after(&server, "--code ")?)?;
    let settings = format!("headers = {{ Authorization = \"Bearer {token}\" }}\n");
    write(home.path(), "schemathesis.toml", &settings)?;
    let sh = &workspace.sh;
    let _inside = sh.push_dir(home.path());
    let options = ["--phases", "examples,fuzzing", "--no-shrink", "--continue-on-failure"];
    let left_out = LEFT_OUT.iter().flat_map(|name| ["--exclude-name", name]);
    let fixed = ["--generation-deterministic", "--max-time", "50", "--no-color"];
    cmd!(
        sh,
        "{tool} run {url}/openapi.json -n {EXAMPLES} --checks {CHECKS} {left_out...} {options...} {fixed...}"
    )
    .quiet()
    .run()
    .context("the server does not answer as docs/openapi.json says")?;
    terminal::line("every answer is as the document says");
    Ok(())
}

/// Sets the server up and gives its owner's access token.
fn owner(desk: &Desk, url: &str, code: &str) -> anyhow::Result<String> {
    let setup = format!(
        r#"{{"setup_code": "{code}", "email": "owner@example.com", "name": "Owner",
            "password": "Copper walrus, 7 ledgers", "organization": "Acme", "client": "cli"}}"#
    );
    write(&desk.dir, "setup.json", &setup)?;
    let told = desk.read(&format!(
        "curl -sSf -H 'content-type: application/json' --data @setup.json {url}/auth/register"
    ))?;
    let told: serde_json::Value = serde_json::from_str(&told).context("the reply is no JSON")?;
    told["access_token"].as_str().map(str::to_owned).context("the reply has no access token")
}

fn word_after(server: &Daemon, before: &str) -> anyhow::Result<String> {
    server.wait_for(before, |log| {
        let (_, rest) = log.split_once(before)?;
        rest.split_once(char::is_whitespace).map(|(word, _)| word.to_owned())
    })
}

fn write(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    fs::write(dir.join(name), text).with_context(|| format!("could not write `{name}`"))
}

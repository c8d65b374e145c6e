//! `cargo xtask conformance`: whether the server answers as its OpenAPI document says. schemathesis
//! makes requests of that document, good and bad ones, and judges every answer: no failure inside, no
//! status that is not documented, no body that breaks its schema, nothing told to who shows no good token.
//! Of every parameter and field it tries each edge and each way to be wrong, of every path the methods that
//! it has not, and then goes on at random.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use serde::Deserialize;
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
/// For how many seconds it goes on with others, from the first request of all.
const SECONDS: &str = "80";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method,ignored_auth";
/// Examples of the document, one by one what the document says of each value, and requests at random.
const PHASES: &str = "examples,coverage,fuzzing";
/// What signs out whoever asks, or deletes their organization: all after it would be refused. Each is tried
/// by itself after all others, in a session of its own.
const LAST: [&str; 5] = [
    "POST /auth/logout",
    "DELETE /auth/sessions",
    "DELETE /auth/sessions/{id}",
    "POST /auth/revocations",
    "DELETE /organization",
];
const EMAIL: &str = "owner@example.com";
const PASSWORD: &str = "Copper walrus, 7 ledgers";
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

/// What the tool reports, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Report {
    operations: Operations,
}

#[derive(Debug, Deserialize)]
struct Operations {
    /// Those of the document.
    total: usize,
    /// Those that were asked for something.
    tested: usize,
}

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
    let owner = owner(&desk, &url, &word_after(&server, "--code ")?)?;
    let judge =
        |token: &str, which: &[&str]| judge(workspace, (&tool, &desk.dir, &url), token, which);
    let but = LAST.iter().flat_map(|name| ["--exclude-name", name]);
    let all_but: Vec<_> = ["--max-time", SECONDS].into_iter().chain(but).collect();
    let Operations { total, tested } = judge(&owner, &all_but)?;
    if tested + LAST.len() != total {
        bail!("could not try all operations: {tested} and {} of {total}", LAST.len());
    }
    still_signed_in(&desk, &url, &owner)?;
    for name in LAST {
        if judge(&sign_in(&desk, &url)?, &["--include-name", name])?.tested != 1 {
            bail!("could not try `{name}`");
        }
    }
    terminal::line(&format!("every answer of {total} operations is as the document says"));
    Ok(())
}

/// Has the tool make requests of some operations, and judge the answers.
fn judge(
    workspace: &Workspace,
    (tool, dir, url): (&Path, &Path, &str),
    token: &str,
    which: &[&str],
) -> anyhow::Result<Operations> {
    const REPORT: &str = "report.json";
    let settings = format!("headers = {{ Authorization = \"Bearer {token}\" }}\n");
    write(dir, "schemathesis.toml", &settings)?;
    let sh = &workspace.sh;
    let _inside = sh.push_dir(dir);
    let options = ["--phases", PHASES, "--no-shrink", "--continue-on-failure"];
    let fixed = ["--generation-deterministic", "--no-color"];
    let report = ["--report", "json", "--report-json-path", REPORT];
    cmd!(
        sh,
        "{tool} run {url}/openapi.json -n {EXAMPLES} --checks {CHECKS} {which...} {options...} {fixed...} {report...}"
    )
    .quiet()
    .run()
    .context("the server does not answer as docs/openapi.json says")?;
    let report = fs::read_to_string(dir.join(REPORT)).context("the tool wrote no report")?;
    let report: Report = serde_json::from_str(&report).context("the report is another")?;
    Ok(report.operations)
}

/// Sets the server up and gives its owner's access token.
fn owner(desk: &Desk, url: &str, code: &str) -> anyhow::Result<String> {
    let setup = format!(
        r#"{{"setup_code": "{code}", "email": "{EMAIL}", "name": "Owner",
            "password": "{PASSWORD}", "organization": "Acme", "client": "cli"}}"#
    );
    access_token(desk, &format!("{url}/auth/register"), &setup)
}

/// Signs the owner in once more.
fn sign_in(desk: &Desk, url: &str) -> anyhow::Result<String> {
    let login = format!(r#"{{"email": "{EMAIL}", "password": "{PASSWORD}", "client": "cli"}}"#);
    access_token(desk, &format!("{url}/auth/login"), &login)
}

/// Fails if the session of `token` has ended on the way: all that was asked after that was refused alike.
fn still_signed_in(desk: &Desk, url: &str, token: &str) -> anyhow::Result<()> {
    write(&desk.dir, "authorization", &format!("Authorization: Bearer {token}\n"))?;
    let checked = desk.read(&format!("curl -sSf -H @authorization {url}/check"));
    checked
        .map(drop)
        .context("something that was tried has ended the session that all is asked with")
}

fn access_token(desk: &Desk, url: &str, body: &str) -> anyhow::Result<String> {
    write(&desk.dir, "body.json", body)?;
    let told = desk
        .read(&format!("curl -sSf -H 'content-type: application/json' --data @body.json {url}"))?;
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

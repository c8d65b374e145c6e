//! `orbit doctor` beside an agent that runs: it passes nothing over, and tells one fault from another.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::{ORBIT, Stage};
use crate::{
    platforms::{authority, surroundings::NAME},
    report::Report,
};

/// Everything there is to look at where there are no updates.
const CHECKS: [&str; 8] =
    ["settings", "permissions", "disk", "secret", "dns", "server", "clock", "service"];

/// Where no proxy listens.
const NO_PROXY: &str = "env HTTPS_PROXY=http://127.0.0.1:1";

#[derive(Debug, Deserialize)]
struct Diagnosis {
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    outcome: String,
    found: String,
}

impl Stage<'_> {
    /// The agent runs, is enrolled, and has made all its files.
    pub(super) fn diagnose(self, report: &mut Report) {
        let outcome = self.expect_nothing_to_do();
        report.record("orbit doctor looks at everything, and finds nothing to be done", outcome);
        let nobody = self.url.replace(NAME, &format!("nobody.{NAME}"));
        let outcome = self.expect_fault(("", &nobody), "dns", "nobody");
        report.record("orbit doctor tells a name that nobody knows", outcome);
        let outcome = self.expect_fault((NO_PROXY, self.url), "server", "through the proxy at");
        report.record("orbit doctor tells a proxy that does not answer", outcome);
        let desk = &self.deployment.desk;
        let outcome = desk
            .run("chmod o+r agent/identity.json")
            .and_then(|_| self.expect_fault(("", self.url), "permissions", "identity.json"))
            .and_then(|()| desk.run("chmod o-r agent/identity.json").map(drop));
        report.record("orbit doctor tells a file that others can read", outcome);
    }

    fn expect_nothing_to_do(self) -> anyhow::Result<()> {
        let Diagnosis { checks } = self.diagnosis(("", self.url))?;
        let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
        ensure!(names == CHECKS && checks.iter().all(|check| check.outcome == "ok"), "{checks:#?}");
        Ok(())
    }

    /// Expects the check `name` to fail, and to say `words`.
    fn expect_fault(self, asked: (&str, &str), name: &str, words: &str) -> anyhow::Result<()> {
        let Diagnosis { checks } = self.diagnosis(asked)?;
        let told = |check: &Check| {
            check.name == name && check.outcome == "failed" && check.found.contains(words)
        };
        ensure!(checks.iter().any(told), "it says {checks:#?}");
        Ok(())
    }

    /// What it finds, started by `before`, about the server at `url`.
    fn diagnosis(self, (before, url): (&str, &str)) -> anyhow::Result<Diagnosis> {
        let (certificate, secret) =
            (self.runner.path(authority::CERTIFICATE), self.runner.path("secret.txt"));
        let line = self.of_agent(
            ORBIT,
            &format!(
                "doctor --output json --fleet-url {url} --fleet-certificate {certificate} --enroll-secret-path {secret}"
            ),
        );
        let json = self.deployment.desk.read(&format!("{before} {line} || true"))?;
        serde_json::from_str(&json).with_context(|| format!("it says {json}"))
    }
}

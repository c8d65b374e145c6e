//! Named steps with their outcome, counted.

use crate::terminal;

/// What held and what did not. A failing check does not stop those after it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<String>,
}

impl Report {
    /// Records and prints the outcome of the check `name`; tells whether it held.
    pub(crate) fn record(&mut self, name: &str, outcome: anyhow::Result<()>) -> bool {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                terminal::ok(name);
                true
            }
            Err(error) => {
                terminal::failed(name);
                for line in format!("{error:#}").lines() {
                    terminal::line(&format!("         {line}"));
                }
                self.failed.push(name.to_owned());
                false
            }
        }
    }

    pub(crate) fn passed(&self) -> usize {
        self.passed
    }

    /// Names of the checks that did not hold.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }
}

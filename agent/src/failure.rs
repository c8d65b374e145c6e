//! What is said when `orbit` cannot do what it was called for, and the exit code that says it again.

use std::io::Write;

use agent::{
    config::{ConfigError, EX_CONFIG},
    platform,
};

/// What cannot be used as it was given.
const USAGE: u8 = 2;

/// Says what went wrong, once, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, out: &mut dyn Write) -> u8 {
    let Some(config) = error.downcast_ref::<ConfigError>() else {
        let _ = writeln!(out, "error: {error:#}");
        return if is_bad_input(error) { USAGE } else { 1 };
    };
    let _ = writeln!(out, "error: the configuration cannot be used");
    for problem in &config.problems {
        let _ = writeln!(out, "  - {problem}");
    }
    let _ = writeln!(out, "help: {}", platform::SETTINGS_HELP);
    EX_CONFIG
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    use agent::installer::InstallerError;
    matches!(error.downcast_ref(), Some(InstallerError::Settings { .. }))
}

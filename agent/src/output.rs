//! What `orbit` and `fleet-desktop` print: data, on standard output.

use std::io::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

/// What data looks like.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
}

/// Prints `value` as JSON, or what `text` makes of it for people.
pub(crate) fn print<T: Serialize>(
    output: Output,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = match output {
        Output::Text => text(value),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(value)?),
    };
    std::io::stdout().write_all(text.as_bytes()).context("could not write to standard output")
}

/// Prints the version of the program called `name`.
pub(crate) fn print_version(output: Output, name: &str) -> anyhow::Result<()> {
    let version = agent::VERSION;
    let json = serde_json::json!({ "version": version });
    print(output, &json, |_| format!("{name} {version}\n"))
}

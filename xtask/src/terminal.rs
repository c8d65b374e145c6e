//! All that xtask prints itself.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::io::{self, IsTerminal as _};

/// How a task prints what it has measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Json,
}

/// A line of output.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A line that opens a part of the output.
pub(crate) fn heading(text: &str) {
    println!("\n{}", styled("1", text));
}

/// A command as the user would type it.
pub(crate) fn command(text: &str) {
    println!("{}", styled("1;36", &format!("$ {text}")));
}

/// A check that held.
pub(crate) fn ok(text: &str) {
    println!("  {} {text}", styled("32", "ok    "));
}

/// A check that did not hold.
pub(crate) fn failed(text: &str) {
    println!("  {} {text}", styled("1;31", "FAILED"));
}

/// What went wrong, on standard error.
pub(crate) fn error(text: &str) {
    eprintln!("error: {text}");
}

/// What is being done, on standard error: not among the data.
pub(crate) fn note(text: &str) {
    eprintln!("note: {text}");
}

fn styled(code: &str, text: &str) -> String {
    if io::stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

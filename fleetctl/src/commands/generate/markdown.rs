//! The reference of all commands, as Markdown.

use std::fmt::Write as _;

use clap::{Arg, Command};

/// One section a command, in the order of the help.
pub(crate) fn reference(command: &Command) -> String {
    let mut text = String::from(
        "# Commands\n\nMade by `fleetctl generate markdown` from the help; not to be edited.\n",
    );
    section(command, &mut text);
    text
}

fn section(command: &Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(text, "\n## `{name}`\n\n{}\n\n```text\n{usage}\n```\n", about.trim());
    subcommands(command, text);
    arguments(command, text);
    if let Some(after) = command.get_after_help() {
        let _ = write!(text, "\n```text\n{}\n```\n", after.to_string().trim_end());
    }
    for below in shown(command) {
        section(below, text);
    }
}

fn subcommands(command: &Command, text: &mut String) {
    if !command.has_subcommands() {
        return;
    }
    text.push_str("\n| Command | |\n|---|---|\n");
    for below in shown(command) {
        let about = below.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {} |", below.get_name(), cell(&about));
    }
}

fn arguments(command: &Command, text: &mut String) {
    let is_root = command.get_bin_name().is_none_or(|name| !name.contains(' '));
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .filter(|argument| is_root || !argument.is_global_set())
        .collect();
    if arguments.is_empty() {
        return;
    }
    text.push_str("\n| Option | Meaning |\n|---|---|\n");
    for argument in arguments {
        let _ = writeln!(text, "| {} | {} |", spelling(argument), cell(&meaning(argument)));
    }
}

fn spelling(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .map(|names| names.join(" "));
    let Some(long) = argument.get_long() else {
        return format!("`<{}>`", value.unwrap_or_else(|| argument.get_id().to_string()));
    };
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    match value {
        Some(value) => format!("{short}`--{long} <{}>`", value.replace('|', "\\|")),
        None => format!("{short}`--{long}`"),
    }
}

fn meaning(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> =
        argument.get_default_values().iter().filter_map(|value| value.to_str()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(text, " (default: `{}`)", defaults.join(","));
    }
    if let Some(variable) = argument.get_env().and_then(|variable| variable.to_str()) {
        let _ = write!(text, " (environment: `{variable}`)");
    }
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set())
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

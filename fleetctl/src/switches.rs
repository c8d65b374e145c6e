//! Switches as Go's flags have them, hence Fleet's: `--insecure`, `--insecure=true`,
//! `--insecure=false`. A value is never a word of its own: `--insecure false` is an error.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, ArgAction, Command,
    builder::{BoolishValueParser, TypedValueParser as _},
};

/// `command`, every switch of which takes a value as well. Its help would show that with each of
/// them: what is printed for people comes from the command as it was.
pub(crate) fn with_values(command: Command) -> Command {
    command.mut_args(with_value).mut_subcommands(with_values)
}

fn with_value(argument: Arg) -> Arg {
    if !matches!(argument.get_action(), ArgAction::SetTrue) {
        return argument;
    }
    argument
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("true|false")
        .value_parser(BoolishValueParser::new())
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
}

/// `arguments` without switches that are given a value: what asks for the same help.
pub(crate) fn without_values(arguments: &[OsString]) -> Vec<OsString> {
    let is_switch = |argument: &OsStr| {
        let pair = argument.to_str().and_then(|text| text.split_once('='));
        pair.is_some_and(|(name, value)| name.starts_with("--") && is_boolean(value))
    };
    arguments.iter().filter(|argument| !is_switch(argument)).cloned().collect()
}

fn is_boolean(text: &str) -> bool {
    BoolishValueParser::new().parse_ref(&Command::new(""), None, OsStr::new(text)).is_ok()
}

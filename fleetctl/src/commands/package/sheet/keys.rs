//! The keys: every flag of `fleetctl package`.

use clap::{Arg, ArgAction, Command, Id, builder::ValueParser};

/// A key, which is a flag.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) id: Id,
    /// Without dashes before it.
    pub(super) name: String,
    /// True or false.
    pub(super) switch: bool,
    /// May have several values.
    pub(super) many: bool,
    path: bool,
    pub(super) help: String,
    /// Known to tell why it is refused.
    pub(super) refused: bool,
}

impl Key {
    fn new(arg: &Arg) -> Option<Self> {
        let parser = arg.get_value_parser().type_id();
        Some(Self {
            id: arg.get_id().clone(),
            name: arg.get_long()?.to_owned(),
            switch: parser == ValueParser::bool().type_id(),
            many: matches!(arg.get_action(), ArgAction::Append),
            path: parser == ValueParser::path_buf().type_id(),
            help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            refused: arg.is_hide_set(),
        })
    }

    /// What its value has to be, in words.
    pub(super) fn kind(&self) -> &'static str {
        match (self.switch, self.many) {
            (true, _) => "true or false",
            (false, true) => "a text or a list of texts",
            (false, false) => "a text or a number",
        }
    }

    /// Whether `value` is a path, which is below the file's folder unless it is absolute.
    pub(super) fn is_path(&self, value: &str) -> bool {
        match self.name.as_str() {
            "update-roots" => !value.trim_start().starts_with('{'),
            "update-url" => !value.contains("://"),
            // Keys need not be files.
            _ => {
                self.path
                    && value != "-"
                    && !value.starts_with("exec:")
                    && !value.starts_with("pkcs11:")
            }
        }
    }
}

/// Every flag of `fleetctl package` below `command` but those that name files of flags, ask for help, or
/// are every command's.
pub(super) fn keys(command: &Command) -> Vec<Key> {
    let package = command.find_subcommand("package").expect("it is a command");
    let own = |arg: &&Arg| {
        !arg.is_global_set() && !matches!(arg.get_id().as_str(), "spec" | "help" | "version")
    };
    package.get_arguments().filter(own).filter_map(Key::new).collect()
}

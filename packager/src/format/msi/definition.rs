//! `templates/windows/installer.toml`, typed.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::template::WINDOWS_INSTALLER;

/// What an installer does besides laying files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    pub(super) product: Product,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) settings: Settings,
    pub(super) permissions: Permissions,
    pub(super) service: Service,
    pub(super) sign_in: SignIn,
    #[serde(rename = "requirement")]
    pub(super) requirements: Vec<Requirement>,
    #[serde(rename = "action")]
    pub(super) actions: Vec<Action>,
    #[serde(rename = "assignment")]
    pub(super) assignments: Vec<Assignment>,
    pub(super) progress: Vec<Progress>,
    pub(super) sequence: Sequences,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Product {
    pub(super) name: String,
    /// A Windows language identifier.
    pub(super) language: u16,
    /// The name in the database of the picture that stands for it.
    pub(super) icon: String,
    pub(super) upgrade_code: String,
    /// Upgrade codes of other products that go when this one comes.
    pub(super) replaces: Vec<String>,
}

/// Properties that who installs may give.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Below `HKEY_LOCAL_MACHINE`: where the agent finds the values.
    pub(super) key: String,
    pub(super) properties: Vec<String>,
    pub(super) hidden: Vec<String>,
    /// Properties that are handed to nobody.
    pub(super) conditions: Vec<String>,
}

/// Security descriptors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Permissions {
    /// Of the agent's folder and everything below.
    pub(super) root: String,
    /// Of files with secrets.
    pub(super) secret: String,
    /// Of the key that [`Settings::key`] names.
    pub(super) settings: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) description: String,
    pub(super) arguments: String,
}

/// What runs in the session of whoever signs in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// Below `HKEY_LOCAL_MACHINE`: where Windows finds it.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// A condition without which nothing is installed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requirement {
    pub(super) condition: String,
    pub(super) message: String,
}

/// A call of the installed agent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) arguments: String,
    /// Whether the installation goes on when the call fails.
    pub(super) may_fail: bool,
}

/// A property that is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) property: String,
    pub(super) value: String,
}

/// What is told of an action of the installer's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    pub(super) action: String,
    pub(super) description: String,
    /// Of each thing that is done; `[1]` and so on stand for what the action reports.
    pub(super) template: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Sequences {
    pub(super) admin_execute_sequence: Vec<Step>,
    #[serde(rename = "AdminUISequence")]
    pub(super) admin_ui_sequence: Vec<Step>,
    pub(super) advt_execute_sequence: Vec<Step>,
    pub(super) install_execute_sequence: Vec<Step>,
    #[serde(rename = "InstallUISequence")]
    pub(super) install_ui_sequence: Vec<Step>,
}

/// An action and its place in a sequence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) action: String,
    pub(super) at: u16,
    /// A condition; always, if there is none.
    pub(super) when: Option<String>,
}

/// The only one there is.
pub(super) static DEFINITION: LazyLock<Definition> = LazyLock::new(|| {
    toml::from_str(WINDOWS_INSTALLER).expect("a test reads the definition before it is shipped")
});

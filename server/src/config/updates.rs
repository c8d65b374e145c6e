//! `updates:`, the repository of updates that is published at `/updates`.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// `updates:`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Updates {
    /// A folder that `fleetctl updates` filled: its `repository`, or what `publish` copied. Read at
    /// each request, so that it may be brought up to date, or be a link to another one, meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<Utf8PathBuf>,
}

impl Updates {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let Some(dir) = &self.dir else { return };
        if dir.join("keys").is_dir() {
            problems.push(format!(
                "updates.dir: `{dir}` has the keys in it: give the folder `repository` in it"
            ));
        } else if !dir.is_dir() {
            problems.push(format!("updates.dir: `{dir}` is not a folder"));
        }
    }
}

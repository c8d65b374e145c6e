//! Secrets in the configuration: as they stand, or taken from the environment by name.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroize as _;

/// A text that is never shown. Each `${NAME}` in it stands for that environment variable.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` as it is; [`Config::load`](super::Config::load) alone looks for variables.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Puts the values of variables in place of their names. `key` is what the file calls it.
    pub(super) fn resolve(&mut self, key: &str, problems: &mut Vec<String>) {
        match interpolated(&self.0, variable) {
            Ok(value) => self.0 = value,
            Err(problem) => problems.push(format!("{key}: {problem}")),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "part of the configuration")]
fn variable(name: &str) -> Option<String> {
    // A name with one of these is refused by some systems with a panic.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `text` with each `${NAME}` replaced; or which name means nothing.
pub(super) fn interpolated(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) =
            after.split_once('}').ok_or_else(|| "`${` without its `}`".to_owned())?;
        let value = lookup(name)
            .ok_or_else(|| format!("the environment variable {name} is not set, or empty"))?;
        done.push_str(before);
        done.push_str(&value);
        rest = behind;
    }
    done.push_str(rest);
    Ok(done)
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_missing_ones_are_told() {
        let lookup = |name: &str| (name == "A").then(|| "x${B}".to_owned());
        assert_eq!(interpolated("${A}-${A}", lookup).unwrap(), "x${B}-x${B}");
        assert_eq!(interpolated("$A {A} plain", lookup).unwrap(), "$A {A} plain");
        assert!(interpolated("${B}", lookup).unwrap_err().contains("variable B "));
        assert!(interpolated("a${A", lookup).is_err());
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
    }
}

//! What macOS knows a package by.

use std::{fmt, str::FromStr};

use crate::error::SpecError;

/// A name like `com.example.agent`: two or more parts of letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier(String);

impl Identifier {
    /// That of the component package, which is in the device's receipts.
    pub(super) fn component(&self) -> String {
        format!("{self}.base.pkg")
    }
}

/// Fleet's, so that a device's receipts tell of one agent and not of two.
impl Default for Identifier {
    fn default() -> Self {
        Self("com.fleetdm.orbit".to_owned())
    }
}

impl FromStr for Identifier {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let part = |part: &str| !part.is_empty() && part.chars().all(plain);
        if text.split('.').all(part) && text.contains('.') && text.len() <= 200 {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecError::Identifier { given: text.to_owned() })
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

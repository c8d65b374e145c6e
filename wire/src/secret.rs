//! Values that admit their bearer. They serialise as plain strings, because that is how they
//! travel, but `Debug` prints `[redacted]`, there is no `Display`, and memory is cleared on drop.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroize;

/// The longest secret accepted, in bytes. Fleet's column for enroll secrets holds as many.
pub const MAX_SECRET_LEN: usize = 255;

/// Why a text cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {MAX_SECRET_LEN} bytes")]
    TooLong,
    #[error("it contains a control character")]
    Control,
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 1, max_length = 255))]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` as it is: 1 to [`MAX_SECRET_LEN`] bytes, no control characters.
            pub fn new(text: impl Into<String>) -> Result<Self, SecretError> {
                let text = text.into();
                check(&text).map(|()| Self(text))
            }

            /// The value itself. Name the reason wherever this is called for anything but sending
            /// or hashing it.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

secret! {
    /// Admits devices to an organization or team. Shared by many; worth rotating.
    EnrollSecret
}
secret! {
    /// Proves to the server that a request comes from one device's agent. Issued on enroll.
    NodeKey
}
secret! {
    /// The same for that device's osqueryd, which keeps it in its own database.
    OsqueryNodeKey
}
secret! {
    /// Opens an end user's "My device" page. Set by the agent, rotated hourly.
    DesktopToken
}

fn check(text: &str) -> Result<(), SecretError> {
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    if text.len() > MAX_SECRET_LEN {
        return Err(SecretError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(SecretError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = EnrollSecret::new("hunter2").unwrap();
        assert_eq!(format!("{secret:?}"), "EnrollSecret([redacted])");
    }

    #[test]
    fn json_is_the_plain_string_and_is_checked() {
        let key: NodeKey = serde_json::from_str(r#""abc""#).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), r#""abc""#);
        for bad in [r#""""#, r#""a\nb""#, r"7"] {
            assert!(serde_json::from_str::<NodeKey>(bad).is_err(), "{bad}");
        }
    }
}

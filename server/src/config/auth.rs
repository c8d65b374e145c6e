//! How people sign in, and for how long.

mod jwt;
mod session;

use serde::{Deserialize, Serialize};

pub use self::{
    jwt::{Algorithm, Jwt, TokenType},
    session::{IpBinding, OnLimit, Session, Timers},
};

/// `auth:`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub provider: Provider,
    pub jwt: Jwt,
    pub session: Session,
    pub password: Password,
}

/// Who knows people's passwords.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The server itself.
    #[default]
    BuiltIn,
}

/// `auth.password:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Password {
    /// In characters.
    pub min_length: usize,
    /// In characters; no password is cut.
    pub max_length: usize,
}

impl Default for Password {
    fn default() -> Self {
        Self { min_length: 12, max_length: 128 }
    }
}

impl Auth {
    /// Takes what the environment has, and notes what is wrong.
    pub(super) fn check(&mut self, problems: &mut Vec<String>) {
        self.jwt.check(problems);
        self.session.check(problems);
        if self.password.min_length < 8 {
            problems.push("auth.password.min_length: must be at least 8".to_owned());
        }
        if self.password.max_length < self.password.min_length || self.password.max_length > 1024 {
            problems.push(
                "auth.password.max_length: must be between auth.password.min_length and 1024"
                    .to_owned(),
            );
        }
    }
}

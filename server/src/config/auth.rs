//! How people sign in, and for how long.

mod jwt;
mod session;

use serde::{Deserialize, Serialize};

use super::Password;

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
    /// Whether anybody may ask for an account and an organization of their own. Needs mail.
    pub registration: bool,
}

/// Who knows people's passwords.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The server itself.
    #[default]
    BuiltIn,
}

impl Auth {
    /// Takes what the environment has, and notes what is wrong.
    pub(super) fn check(&mut self, problems: &mut Vec<String>) {
        self.jwt.check(problems);
        self.session.check(problems);
        self.password.check(problems);
    }
}

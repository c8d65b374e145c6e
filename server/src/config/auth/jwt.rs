//! Access tokens: who signs them with what, and what they say.

use serde::{Deserialize, Serialize};

use crate::config::{
    Period, Secret,
    period::{DAY, at_most},
};

/// What HMAC-SHA-256 needs at least (RFC 7518, section 3.2), in bytes.
const MIN_SECRET: usize = 32;

/// `auth.jwt:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// How access tokens are signed.
    pub alg: Algorithm,
    /// The master key: private signing keys are encrypted with what is derived from it. With HS256
    /// it signs. Absent: a file in the data directory, made at the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    pub issuer: String,
    pub audience: String,
    /// `aud` of the tokens that devices get, which others check.
    pub device_audience: String,
    pub typ: TokenType,
    /// How long an access token lasts; no longer than a day, as long as a stolen one could be of use
    /// to who checks it by its signature alone.
    #[serde(deserialize_with = "at_most::<_, DAY>")]
    pub access_ttl: Period,
    /// How long a session lasts at most, however often it is refreshed.
    pub refresh_ttl: Period,
    /// How long a key signs before the next one takes over.
    pub rotation: Period,
}

/// A way to sign, by its name in RFC 7518 and 8037.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[default]
    RS256,
    ES256,
    EdDSA,
    HS256,
}

/// What the header of a token calls it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenType {
    #[default]
    #[serde(rename = "JWT")]
    Jwt,
    /// RFC 9068.
    #[serde(rename = "at+jwt")]
    AccessToken,
}

impl Algorithm {
    /// As it is written in headers and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
        }
    }
}

impl TokenType {
    /// As it is written in headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "JWT",
            Self::AccessToken => "at+jwt",
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            alg: Algorithm::default(),
            secret: None,
            issuer: "fleetd.sh".to_owned(),
            audience: "fleetd-api".to_owned(),
            device_audience: "fleetd-device".to_owned(),
            typ: TokenType::default(),
            access_ttl: Period::seconds(15 * 60),
            refresh_ttl: Period::seconds(7 * 24 * 60 * 60),
            rotation: Period::seconds(30 * 24 * 60 * 60),
        }
    }
}

impl Jwt {
    pub(super) fn check(&mut self, problems: &mut Vec<String>) {
        if let Some(secret) = &mut self.secret {
            secret.resolve("auth.jwt.secret", problems);
        }
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(format!("auth.jwt.{problem}"));
            }
        };
        let secret = self.secret.as_ref().map(Secret::expose);
        let short = secret.is_some_and(|secret| secret.len() < MIN_SECRET);
        // One that is not set is told as such above, not as too short.
        let resolved = !secret.is_some_and(|secret| secret.contains("${"));
        refuse(short && resolved, "secret: must have at least 32 bytes");
        refuse(
            self.alg == Algorithm::HS256 && self.secret.is_none(),
            "secret: HS256 signs with it, so it must be set",
        );
        refuse(
            self.refresh_ttl < self.access_ttl,
            "refresh_ttl: is shorter than auth.jwt.access_ttl",
        );
        refuse(self.access_ttl < Period::seconds(1), "access_ttl: must be at least 1s");
        refuse(self.rotation < Period::seconds(3600), "rotation: must be at least 1h");
        refuse(self.issuer.is_empty(), "issuer: must not be empty");
        refuse(self.audience.is_empty(), "audience: must not be empty");
        refuse(
            self.device_audience.is_empty() || self.device_audience == self.audience,
            "device_audience: must not be empty, nor the same as auth.jwt.audience",
        );
    }
}

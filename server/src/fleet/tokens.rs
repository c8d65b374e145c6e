//! Access tokens: JSON Web Tokens (RFC 7519) that say who somebody is, in which session, with which
//! permissions. Whoever has the published keys can check one; the server itself looks at the session
//! as well, so that what was revoked counts at once.
//!
//! Rules of RFC 8725: the algorithm follows from the key that `kid` names, never from the token;
//! keys that a token brings along are not looked at; what is not understood is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm as JwtAlgorithm, Validation, decode, decode_header, errors::ErrorKind,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::{DeviceId, OrgId, Permission, UserId};

use super::keys::{KeyFailure, Ring};
use crate::config::auth::{Algorithm, Jwt};

/// The longest token that is looked at, in bytes. Ours are shorter, with every permission.
pub const MAX_TOKEN: usize = 8 << 10;

/// How far in the future a token of another server may have been made.
const LEEWAY: SignedDuration = SignedDuration::from_secs(10);

/// How long a device's token lasts.
pub const DEVICE_TTL: SignedDuration = SignedDuration::from_hours(1);

/// How far a device's own clock may be behind.
const DEVICE_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Before every id in `sub`: what kind it is of.
const USER: &str = "user_";
const DEVICE: &str = "device_";
const ORGANIZATION: &str = "org_";

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    #[error("the access token has ended")]
    Expired,
    #[error("the access token's signature is wrong")]
    Signature,
    #[error("the access token is not one of this server")]
    Foreign,
}

/// What a token is to say.
#[derive(Debug)]
pub(super) struct Grant<'a> {
    pub user_id: UserId,
    pub email: &'a str,
    pub org_id: OrgId,
    pub role: &'a str,
    pub permissions: &'a [Permission],
    /// Names the token.
    pub jti: Uuid,
    pub session_id: &'a str,
    pub authenticated_at: Timestamp,
    /// How they proved who they are, in words of RFC 8176, separated by blanks.
    pub methods: &'a str,
}

/// What a good token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub user_id: UserId,
    pub org_id: OrgId,
    pub session_id: String,
    pub jti: String,
    pub expires_at: Timestamp,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: String,
    email: &'a str,
    org_id: String,
    role: &'a str,
    permissions: &'a [Permission],
    iat: i64,
    nbf: i64,
    exp: i64,
    iss: &'a str,
    aud: &'a str,
    jti: Uuid,
    sid: &'a str,
    auth_time: i64,
    amr: Vec<&'a str>,
}

/// What a device's token says.
#[derive(Serialize)]
struct DeviceClaims<'a> {
    sub: String,
    org_id: String,
    role: &'a str,
    permissions: [Permission; 0],
    iat: i64,
    nbf: i64,
    exp: i64,
    iss: &'a str,
    aud: &'a str,
    jti: Uuid,
}

/// What is read back. `iss` and `aud` are compared by the library.
#[derive(Deserialize)]
struct Presented {
    sub: String,
    org_id: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    sid: String,
}

/// Makes and checks tokens as configured.
#[derive(Debug)]
pub(super) struct Tokens {
    alg: Algorithm,
    typ: &'static str,
    issuer: String,
    audience: String,
    device_audience: String,
    ttl: SignedDuration,
    validation: Validation,
}

impl Tokens {
    pub(super) fn new(jwt: &Jwt) -> Self {
        let mut validation = Validation::new(match jwt.alg {
            Algorithm::RS256 => JwtAlgorithm::RS256,
            Algorithm::ES256 => JwtAlgorithm::ES256,
            Algorithm::EdDSA => JwtAlgorithm::EdDSA,
            Algorithm::HS256 => JwtAlgorithm::HS256,
        });
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[&jwt.issuer]);
        validation.set_audience(&[&jwt.audience]);
        // Times are compared here, by the server's clock and with its own leeway.
        validation.validate_exp = false;
        Self {
            alg: jwt.alg,
            typ: jwt.typ.as_str(),
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            device_audience: jwt.device_audience.clone(),
            ttl: jwt.access_ttl.as_signed(),
            validation,
        }
    }

    /// Signs a token that lasts as long as configured, from `now`.
    pub(super) fn issue(
        &self,
        ring: &Ring,
        grant: &Grant<'_>,
        now: Timestamp,
    ) -> Result<String, KeyFailure> {
        let claims = Claims {
            sub: format!("{USER}{}", grant.user_id),
            email: grant.email,
            org_id: format!("{ORGANIZATION}{}", grant.org_id),
            role: grant.role,
            permissions: grant.permissions,
            iat: now.as_second(),
            nbf: now.as_second(),
            exp: (now + self.ttl).as_second(),
            iss: &self.issuer,
            aud: &self.audience,
            jti: grant.jti,
            sid: grant.session_id,
            auth_time: grant.authenticated_at.as_second(),
            amr: grant.methods.split_whitespace().collect(),
        };
        self.sign(ring, &claims, now)
    }

    /// Signs a token that says which device its bearer is, for whoever has the published keys.
    pub(super) fn issue_to_device(
        &self,
        ring: &Ring,
        (device_id, org_id): (DeviceId, OrgId),
        now: Timestamp,
    ) -> Result<String, KeyFailure> {
        let claims = DeviceClaims {
            sub: format!("{DEVICE}{device_id}"),
            org_id: format!("{ORGANIZATION}{org_id}"),
            role: "device",
            permissions: [],
            iat: now.as_second(),
            nbf: (now - DEVICE_SKEW).as_second(),
            exp: (now + DEVICE_TTL).as_second(),
            iss: &self.issuer,
            aud: &self.device_audience,
            jti: Uuid::new_v4(),
        };
        self.sign(ring, &claims, now)
    }

    fn sign(
        &self,
        ring: &Ring,
        claims: &impl Serialize,
        now: Timestamp,
    ) -> Result<String, KeyFailure> {
        let claims = part(claims)?;
        let (message, signature) = ring.sign(now, |kid| {
            let header = Header { alg: self.alg.as_str(), typ: self.typ, kid };
            let header = part(&header).expect("three texts are JSON");
            format!("{header}.{claims}")
        })?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Who bears `token`, if it is one of ours that has not ended.
    pub(super) fn check(
        &self,
        ring: &Ring,
        token: &str,
        now: Timestamp,
    ) -> Result<Bearer, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Foreign);
        }
        let header = decode_header(token).map_err(|_| TokenError::Foreign)?;
        if header.typ.as_deref() != Some(self.typ) || header.crit.is_some() {
            return Err(TokenError::Foreign);
        }
        let key = header.kid.as_deref().and_then(|kid| ring.key(kid, now));
        let key = key.ok_or(TokenError::Foreign)?;
        let token = decode::<Presented>(token, &key.verifier, &self.validation);
        let claims = token.map_err(|error| why(&error))?.claims;
        self.bearer(claims, now)
    }

    fn bearer(&self, claims: Presented, now: Timestamp) -> Result<Bearer, TokenError> {
        let time = |second| Timestamp::from_second(second).map_err(|_| TokenError::Foreign);
        let (made, begins, ends) = (time(claims.iat)?, time(claims.nbf)?, time(claims.exp)?);
        if made.max(begins) > now + LEEWAY {
            return Err(TokenError::Foreign);
        }
        if ends <= now {
            return Err(TokenError::Expired);
        }
        let id = |text: &str, prefix: &str| text.strip_prefix(prefix)?.parse::<Uuid>().ok();
        Ok(Bearer {
            user_id: UserId(id(&claims.sub, USER).ok_or(TokenError::Foreign)?),
            org_id: OrgId(id(&claims.org_id, ORGANIZATION).ok_or(TokenError::Foreign)?),
            session_id: claims.sid,
            jti: claims.jti,
            expires_at: ends,
        })
    }
}

fn part(value: &impl Serialize) -> Result<String, KeyFailure> {
    serde_json::to_vec(value).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| KeyFailure)
}

fn why(error: &jsonwebtoken::errors::Error) -> TokenError {
    if matches!(error.kind(), ErrorKind::InvalidSignature) {
        TokenError::Signature
    } else {
        TokenError::Foreign
    }
}

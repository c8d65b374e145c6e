//! Who asks: extractors. A handler that does not take [`SignedIn`] cannot name an actor.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};

use super::{envelope::ClientAddress, error::ApiError, problems};
use crate::{
    Fleet,
    fleet::{Actor, sessions},
};

/// A person or script that presented a good access token or API key.
#[derive(Debug)]
pub struct SignedIn(pub Actor);

/// Where a request comes from and with which program, for those who are not signed in yet.
#[derive(Debug)]
pub struct Caller {
    address: ClientAddress,
    user_agent: String,
}

impl Caller {
    /// The same for [`Fleet`].
    #[must_use]
    pub fn as_caller(&self) -> sessions::Caller<'_> {
        sessions::Caller { address: self.address.0, user_agent: &self.user_agent }
    }
}

/// The longest token that is looked at.
const MAX_TOKEN: usize = 256;

impl FromRequestParts<Fleet> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        let address = ClientAddress::from_request_parts(parts, fleet).await?;
        let presented = presented(&parts.headers)?;
        let presented = presented.ok_or_else(|| ApiError::of(problems::UNAUTHENTICATED))?;
        let token = presented.token(fleet);
        let token = token.ok_or_else(|| ApiError::refused_token(problems::UNAUTHENTICATED))?;
        Ok(Self(fleet.authenticate(token, address.0).await?))
    }
}

/// A text in the place of a proof.
enum Presented<'a> {
    /// `Authorization: Bearer …`: an access token or an API key.
    Bearer(&'a str),
    /// `X-API-Key: …`: an API key and nothing else.
    ApiKey(&'a str),
}

impl<'a> Presented<'a> {
    /// The text, if it can be what its place is for.
    fn token(self, fleet: &Fleet) -> Option<&'a str> {
        let token = match self {
            Self::Bearer(token) => token,
            Self::ApiKey(token) => Some(token).filter(|token| fleet.looks_like_api_key(token))?,
        };
        Some(token).filter(|token| token.len() <= MAX_TOKEN)
    }
}

/// `Authorization: Bearer …`, or `X-API-Key`. Never the URL, which ends up in logs. Of several it
/// would be unclear who asks (RFC 6750, section 2). Other schemes are meant for a proxy.
fn presented(headers: &HeaderMap) -> Result<Option<Presented<'_>>, ApiError> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer);
    let keys = headers.get_all("x-api-key").iter().filter_map(|value| value.to_str().ok());
    let mut tokens = bearers.map(Presented::Bearer).chain(keys.map(Presented::ApiKey));
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token),
        (_, Some(_)) => Err(ApiError::because(
            problems::UNAUTHENTICATED,
            "present one proof: an access token or an API key, in one header",
        )),
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl FromRequestParts<Fleet> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _fleet: &Fleet) -> Result<Self, ApiError> {
        Ok(*parts.extensions.get::<Self>().expect("the envelope around all routes puts it there"))
    }
}

impl FromRequestParts<Fleet> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        let address = ClientAddress::from_request_parts(parts, fleet).await?;
        let user_agent = parts.headers.get(header::USER_AGENT);
        let user_agent = user_agent.and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self { address, user_agent: user_agent.to_owned() })
    }
}

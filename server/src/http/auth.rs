//! Who asks: extractors. A handler that does not take [`SignedIn`] cannot name an actor.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};

use wire::api::{ACTIVITY_HEADER, BACKGROUND};

use super::{
    envelope::{ClientAddress, Told},
    error::ApiError,
    problems,
};
use crate::{
    Fleet,
    fleet::{Actor, fingerprint::ClientHints, limits::Part, sessions, tokens},
};

/// A person or script that presented a good access token or API key.
#[derive(Debug)]
pub struct SignedIn(pub Actor);

/// Where a request comes from and with which program, for those who are not signed in yet. Taking it
/// counts the request for its network.
#[derive(Debug)]
pub struct Caller {
    address: ClientAddress,
    user_agent: String,
    languages: String,
    platform: String,
}

impl Caller {
    /// The same for [`Fleet`].
    #[must_use]
    pub fn as_caller(&self) -> sessions::Caller<'_> {
        let hints = ClientHints {
            user_agent: &self.user_agent,
            languages: &self.languages,
            platform: &self.platform,
        };
        sessions::Caller { address: self.address.0, hints }
    }
}

/// A monitoring system that presented the token which the operator gave it.
#[derive(Debug)]
pub struct Monitoring;

impl FromRequestParts<Fleet> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        let address = ClientAddress::from_request_parts(parts, fleet).await?;
        let authenticated = authenticate(parts, fleet, address).await;
        let part = part_of(parts);
        let quota = match &authenticated {
            Ok(actor) => fleet.count_request(actor, part).await?,
            Err(error) if error.status() == 401 => fleet.count_stranger(address.0, part).await?,
            Err(error) => return Err(error.clone()),
        };
        if let Some(told) = parts.extensions.get::<Told>() {
            told.tell(quota);
        }
        let actor = authenticated?;
        if part == Part::Api {
            actor.require_network()?;
        }
        Ok(Self(actor))
    }
}

/// Nobody, where no proof is presented; one that is no good is refused.
impl OptionalFromRequestParts<Fleet> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        fleet: &Fleet,
    ) -> Result<Option<Self>, ApiError> {
        if presented(&parts.headers)?.is_none() {
            return Ok(None);
        }
        <Self as FromRequestParts<Fleet>>::from_request_parts(parts, fleet).await.map(Some)
    }
}

/// Counts a request with a wrong token for its network, as others without a good proof.
impl FromRequestParts<Fleet> for Monitoring {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        let address = ClientAddress::from_request_parts(parts, fleet).await?;
        let token = match presented(&parts.headers)? {
            Some(Presented::Bearer(token)) => token,
            Some(Presented::ApiKey(_)) | None => "",
        };
        match fleet.is_metrics_token(token) {
            None => Err(ApiError::of(problems::NOT_FOUND)),
            Some(true) => Ok(Self),
            Some(false) => {
                fleet.count_stranger(address.0, Part::Api).await?;
                Err(ApiError::refused_token(problems::UNAUTHENTICATED))
            }
        }
    }
}

fn part_of(parts: &Parts) -> Part {
    if parts.uri.path().starts_with("/auth/") { Part::Accounts } else { Part::Api }
}

async fn authenticate(
    parts: &Parts,
    fleet: &Fleet,
    address: ClientAddress,
) -> Result<Actor, ApiError> {
    let presented = presented(&parts.headers)?;
    let presented = presented.ok_or_else(|| ApiError::of(problems::UNAUTHENTICATED))?;
    let token = presented.token(fleet);
    let token = token.ok_or_else(|| ApiError::refused_token(problems::UNAUTHENTICATED))?;
    let is_action = !is_background(&parts.headers);
    Ok(fleet.authenticate(token, address.0, is_action).await?)
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
        Some(token).filter(|token| token.len() <= tokens::MAX_TOKEN)
    }
}

/// Whether a client asks by itself, without a person behind it.
fn is_background(headers: &HeaderMap) -> bool {
    let activity = headers.get(ACTIVITY_HEADER).and_then(|value| value.to_str().ok());
    activity.is_some_and(|activity| activity.trim().eq_ignore_ascii_case(BACKGROUND))
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

/// The text after `Bearer`.
pub(super) fn bearer(value: &HeaderValue) -> Option<&str> {
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
        fleet.count_stranger(address.0, part_of(parts)).await?;
        let text = |name: &str| {
            let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Ok(Self {
            address,
            user_agent: text("user-agent"),
            languages: text("accept-language"),
            platform: text("sec-ch-ua-platform"),
        })
    }
}

//! Who we are to the server, and how an access token that has ended is replaced.

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use url::Url;
use wire::{
    api::{Hidden, RefreshRequest, SessionTokens},
    settings::endpoint,
};

use super::{Request, parsed, send};
use crate::{
    config::{Context, ContextFile, Contexts, Session},
    exit::Stop,
};

/// An access token this close to its end is not used any more.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

const SIGN_IN: &str = "sign in with `fleetctl login`, or set FLEET_API_KEY";

/// What is presented with each request.
#[derive(Debug)]
pub(crate) enum Access {
    /// Nothing, to sign in.
    Nobody,
    ApiKey(Hidden),
    Session(ContextSession),
}

/// The session that a context keeps.
#[derive(Debug)]
pub(crate) struct ContextSession {
    pub file: ContextFile,
    pub context: String,
    pub session: Session,
}

impl Access {
    /// What to present now. A token that is about to end is replaced first.
    pub(super) async fn token(
        &mut self,
        http: &reqwest::Client,
        server: &Url,
    ) -> anyhow::Result<Option<Hidden>> {
        match self {
            Self::Nobody => Ok(None),
            Self::ApiKey(key) => Ok(Some(key.clone())),
            Self::Session(session) if session.session.expires_at <= now() + MARGIN => {
                session.refresh(http, server).await.map(Some)
            }
            Self::Session(session) => Ok(Some(session.session.access_token.clone())),
        }
    }

    /// Another token, since the server refused the last one.
    pub(super) async fn refreshed(
        &mut self,
        http: &reqwest::Client,
        server: &Url,
    ) -> anyhow::Result<Hidden> {
        match self {
            Self::Session(session) => session.refresh(http, server).await,
            Self::Nobody | Self::ApiKey(_) => {
                Err(Stop::unauthenticated("nobody is signed in", SIGN_IN).into())
            }
        }
    }
}

impl ContextSession {
    /// Trades the refresh token for new tokens, unless another `fleetctl` has just done so: a
    /// refresh token is good once, and whoever presents it twice is logged out.
    async fn refresh(&mut self, http: &reqwest::Client, server: &Url) -> anyhow::Result<Hidden> {
        let file = self.file.clone();
        let locked = file.lock()?;
        let kept = stored(&locked.read()?, &self.context)
            .ok_or_else(|| Stop::unauthenticated("nobody is signed in", SIGN_IN))?;
        if kept.access_token != self.session.access_token && kept.expires_at > now() + MARGIN {
            self.session = kept;
            return Ok(self.session.access_token.clone());
        }
        self.session = exchange(http, server, kept.refresh_token).await?;
        locked.change(|contexts| {
            let context = contexts.contexts.get_mut(&self.context);
            if let Some(context) = context {
                context.session = Some(self.session.clone());
            }
            Ok(())
        })?;
        Ok(self.session.access_token.clone())
    }
}

fn stored(contexts: &Contexts, name: &str) -> Option<Session> {
    contexts.contexts.get(name)?.session.clone()
}

async fn exchange(
    http: &reqwest::Client,
    server: &Url,
    refresh_token: Hidden,
) -> anyhow::Result<Session> {
    let body = RefreshRequest { refresh_token: Some(refresh_token) };
    let request = Request {
        body: Some(serde_json::to_vec(&body)?),
        ..Request::new(Method::POST, endpoint(server, "/auth/refresh"))
    };
    let reply = send(http, &request, None).await?;
    if reply.status == StatusCode::UNAUTHORIZED {
        return Err(Stop::unauthenticated("the session has ended", SIGN_IN).into());
    }
    session_of(parsed(&reply.into_body()?)?)
}

/// What is kept of the tokens that signing in or refreshing gave.
pub(crate) fn session_of(tokens: SessionTokens) -> anyhow::Result<Session> {
    let lasts = SignedDuration::from_secs(i64::try_from(tokens.expires_in).unwrap_or(i64::MAX));
    Ok(Session {
        expires_at: now().checked_add(lasts).unwrap_or(Timestamp::MAX),
        access_token: tokens.access_token,
        refresh_token: tokens
            .refresh_token
            .ok_or_else(|| anyhow::anyhow!("the server gave no refresh token"))?,
    })
}

/// Keeps `context` under `name` and makes it the current one.
pub(crate) fn save_session(file: &ContextFile, name: &str, context: Context) -> anyhow::Result<()> {
    file.change(|contexts| {
        contexts.contexts.insert(name.to_owned(), context);
        contexts.current = Some(name.to_owned());
        Ok(())
    })
}

#[expect(clippy::disallowed_methods, reason = "tokens end by this computer's clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

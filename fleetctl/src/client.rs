//! The server's JSON interface, as `wire::api` describes it.

mod access;
mod error;

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;
use wire::{
    api::{MAX_PAGE, Page, Problem},
    settings::endpoint,
};

pub(crate) use self::access::{Access, ContextSession, save_session, session_of};
pub(crate) use self::error::causes;
use self::error::refusal;
use crate::{exit::Stop, trust::Trust};

/// How long a connection may take to come about, and a whole exchange.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_mins(1);

const REFUSED_KEY: &str =
    "FLEET_API_KEY is wrong, revoked or expired: `fleetctl api-keys create` makes another";

/// A connection to one server, by somebody.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    access: Access,
}

impl Client {
    /// Prepares to talk to `server`. Nothing is sent yet.
    pub(crate) fn new(server: Url, trust: &Trust, access: Access) -> anyhow::Result<Self> {
        let http = http(trust)?.build().context("could not set up HTTP")?;
        Ok(Self { http, server, access })
    }

    /// What `GET path` gives.
    pub(crate) async fn read<T: DeserializeOwned>(&mut self, path: &str) -> anyhow::Result<T> {
        let reply = self.exchange(&Request::new(Method::GET, self.url(path))).await?;
        parsed(&reply)
    }

    /// What `GET path` gives for a query (names and values).
    pub(crate) async fn query<T: DeserializeOwned>(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        let reply = self.exchange(&Request::new(Method::GET, url)).await?;
        parsed(&reply)
    }

    /// What `method path` gives for a body.
    pub(crate) async fn change<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let reply = self.exchange(&Request { method, ..self.post(path, body)? }).await?;
        parsed(&reply)
    }

    /// The file at `path`, if there is one.
    pub(crate) async fn file(&mut self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let reply = self.reply(&Request::new(Method::GET, self.url(path))).await?;
        if reply.status == StatusCode::NOT_FOUND { Ok(None) } else { reply.into_body().map(Some) }
    }

    /// Everything that `GET path` lists, page by page, as far as `filters` (names and values) allow.
    pub(crate) async fn list<T: DeserializeOwned>(
        &mut self,
        path: &str,
        filters: &[(&str, &str)],
    ) -> anyhow::Result<Vec<T>> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut url = self.url(path);
            url.query_pairs_mut()
                .extend_pairs(filters)
                .append_pair("limit", &MAX_PAGE.to_string())
                .extend_pairs(after.iter().map(|after| ("after", after)));
            let reply = self.exchange(&Request::new(Method::GET, url)).await?;
            let page: Page<T> = parsed(&reply)?;
            items.extend(page.items);
            match page.next {
                Some(next) if after.as_ref() == Some(&next) => {
                    anyhow::bail!("the server gives the same page of `{path}` again and again")
                }
                Some(next) => after = Some(next),
                None => return Ok(items),
            }
        }
    }

    /// What `POST path` gives.
    pub(crate) async fn create<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let reply = self.exchange(&self.post(path, body)?).await?;
        parsed(&reply)
    }

    /// Why `POST path` is refused; `None` when it is not.
    pub(crate) async fn refused(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<Option<Problem>> {
        let reply = send(&self.http, &self.post(path, body)?, None).await?;
        if reply.status.is_success() {
            return Ok(None);
        }
        match serde_json::from_slice(&reply.body) {
            Ok(problem) => Ok(Some(problem)),
            Err(_) => Err(refusal(&reply).into()),
        }
    }

    /// What `POST path` gives; or the problem, when that is one of the answers to be expected
    /// (status 400).
    pub(crate) async fn attempt<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<Result<T, Problem>> {
        let reply = send(&self.http, &self.post(path, body)?, None).await?;
        if reply.status == StatusCode::BAD_REQUEST
            && let Ok(problem) = serde_json::from_slice(&reply.body)
        {
            return Ok(Err(problem));
        }
        parsed(&reply.into_body()?).map(Ok)
    }

    /// `POST path` whose reply does not matter.
    pub(crate) async fn tell(&mut self, path: &str, body: &impl Serialize) -> anyhow::Result<()> {
        self.exchange(&self.post(path, body)?).await.map(drop)
    }

    /// `DELETE path`.
    pub(crate) async fn delete(&mut self, path: &str) -> anyhow::Result<()> {
        self.exchange(&Request::new(Method::DELETE, self.url(path))).await.map(drop)
    }

    fn post(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Request> {
        let body = serde_json::to_vec(body).context("could not write a request")?;
        Ok(Request { body: Some(body), ..Request::new(Method::POST, self.url(path)) })
    }

    fn url(&self, path: &str) -> Url {
        endpoint(&self.server, path)
    }

    /// Sends `request`; when its access token has ended, gets another and sends it again.
    async fn exchange(&mut self, request: &Request) -> anyhow::Result<Vec<u8>> {
        self.reply(request).await?.into_body()
    }

    /// What comes back, be it a refusal.
    async fn reply(&mut self, request: &Request) -> anyhow::Result<Reply> {
        let token = self.access.token(&self.http, &self.server).await?;
        let reply = send(&self.http, request, token.as_ref()).await?;
        match (&self.access, reply.status) {
            (Access::Session(_), StatusCode::UNAUTHORIZED) => {
                let token = self.access.refreshed(&self.http, &self.server).await?;
                send(&self.http, request, Some(&token)).await
            }
            (Access::ApiKey(_), StatusCode::UNAUTHORIZED) => {
                Err(Stop::unauthenticated("the server refused the API key", REFUSED_KEY).into())
            }
            _ => Ok(reply),
        }
    }
}

struct Request {
    method: Method,
    url: Url,
    body: Option<Vec<u8>>,
}

impl Request {
    fn new(method: Method, url: Url) -> Self {
        Self { method, url, body: None }
    }
}

struct Reply {
    url: Url,
    status: StatusCode,
    location: Option<String>,
    body: Vec<u8>,
}

impl Reply {
    fn into_body(self) -> anyhow::Result<Vec<u8>> {
        if self.status.is_success() { Ok(self.body) } else { Err(refusal(&self).into()) }
    }
}

async fn send(
    http: &reqwest::Client,
    request: &Request,
    token: Option<&wire::api::Hidden>,
) -> anyhow::Result<Reply> {
    let mut builder = http.request(request.method.clone(), request.url.clone());
    if let Some(token) = token {
        builder = builder.bearer_auth(&token.0);
    }
    if let Some(body) = &request.body {
        builder = builder.header("content-type", "application/json").body(body.clone());
    }
    let reply = builder.send().await.map_err(|error| error::unreachable(&request.url, error))?;
    let url = request.url.clone();
    let status = reply.status();
    let location =
        reply.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = reply.bytes().await.map_err(|error| error::unreachable(&url, error))?.to_vec();
    Ok(Reply { url, status, location, body })
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("could not understand the server's reply")
}

/// A client to be: it follows no redirect, since a token must not travel where nobody sent it.
pub(crate) fn http(trust: &Trust) -> anyhow::Result<reqwest::ClientBuilder> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(trust.client_config()?)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(format!("fleetctl/{}", wire::VERSION))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT))
}

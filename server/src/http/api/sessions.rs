//! `/auth`: set-up, signing in and out, and who one is. A browser keeps its refresh token in a
//! cookie that no script can read; other clients get it in the body.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, uri::Authority},
    response::{IntoResponse as _, Response},
};
use axum_extra::extract::cookie::{Cookie, CookieJar};
use wire::{
    SessionId, UserId,
    api::{
        Checked, ClientKind, CurrentUser, LoginRequest, Membership, Page as ListPage,
        RefreshRequest, RegisterRequest, Revocation, Session, SessionTokens, StepUpRequest,
        SwitchOrganization,
    },
};

use crate::{
    Fleet,
    fleet::sessions::Tokens,
    http::{
        api::accounts::mail_will_tell,
        auth::{Caller, SignedIn},
        body::ApiJson,
        error::ApiError,
        pagination::Id,
        problems,
    },
};

/// The refresh token's cookie. `__Host-` pins it to this host, `Secure` and `Path=/`.
const COOKIE: &str = "__Host-fleetd_rt";

/// With the set-up code that the server printed, makes the first organization and its owner. Without
/// one, and where that is allowed, asks for an account and an organization of one's own.
#[utoipa::path(post, path = "/auth/register", tag = "sessions", request_body = RegisterRequest,
    responses((status = 201, body = SessionTokens), (status = 202, description = "Mail will tell.", body = Object), (status = 403, body = wire::api::Problem), (status = 404, body = wire::api::Problem), (status = 429, body = wire::api::Problem)))]
pub async fn register(
    State(fleet): State<Fleet>,
    caller: Caller,
    ApiJson(mut request): ApiJson<RegisterRequest>,
) -> Result<Response, ApiError> {
    let Some(code) = request.setup_code.take() else {
        fleet.ask_for_account(request, caller.as_caller().address).await?;
        return Ok(mail_will_tell().into_response());
    };
    let (cookies, body) = hand_over(fleet.register(&code, request, caller.as_caller()).await?);
    Ok((StatusCode::CREATED, cookies, body).into_response())
}

/// Signs a person in.
#[utoipa::path(post, path = "/auth/login", tag = "sessions", request_body = LoginRequest,
    responses((status = 200, body = SessionTokens), (status = 401, body = wire::api::Problem), (status = 429, body = wire::api::Problem)))]
pub async fn login(
    State(fleet): State<Fleet>,
    caller: Caller,
    (uri, headers): (Uri, HeaderMap),
    ApiJson(request): ApiJson<LoginRequest>,
) -> Result<(CookieJar, Json<SessionTokens>), ApiError> {
    if is_cross_site(&uri, &headers) {
        return Err(ApiError::of(problems::CROSS_SITE));
    }
    Ok(hand_over(fleet.login(request, caller.as_caller()).await?))
}

/// Replaces a session's tokens. The refresh token is in the body, or in the cookie.
#[utoipa::path(post, path = "/auth/refresh", tag = "sessions", request_body = RefreshRequest,
    responses((status = 200, body = SessionTokens), (status = 401, body = wire::api::Problem), (status = 403, body = wire::api::Problem)))]
pub async fn refresh(
    State(fleet): State<Fleet>,
    caller: Caller,
    (uri, headers): (Uri, HeaderMap),
    cookies: CookieJar,
    ApiJson(request): ApiJson<RefreshRequest>,
) -> Result<(CookieJar, Json<SessionTokens>), ApiError> {
    let token = match (&request.refresh_token, cookies.get(COOKIE)) {
        (Some(token), _) => token.0.as_str(),
        (None, Some(_)) if is_cross_site(&uri, &headers) => {
            return Err(ApiError::of(problems::CROSS_SITE));
        }
        (None, Some(cookie)) => cookie.value(),
        (None, None) => return Err(ApiError::of(problems::WRONG_REFRESH_TOKEN)),
    };
    Ok(hand_over(fleet.refresh(token, caller.as_caller()).await?))
}

/// Ends the session.
#[utoipa::path(post, path = "/auth/logout", tag = "sessions", security(("access_token" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn logout(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<(StatusCode, CookieJar), ApiError> {
    fleet.logout(&actor).await?;
    let ended = cookie("", 0);
    Ok((StatusCode::NO_CONTENT, CookieJar::new().add(ended)))
}

/// Who the request comes from, and what they may do.
#[utoipa::path(get, path = "/auth/user", tag = "sessions", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = CurrentUser)))]
pub async fn user(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<Json<CurrentUser>, ApiError> {
    Ok(Json(fleet.current_user(&actor).await?))
}

/// Whose access token or API key is presented, and what it may do: for proxies and services that ask about
/// each request. What the server was told within the last second counts.
#[utoipa::path(get, path = "/check", tag = "sessions", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Checked)))]
pub async fn check(State(fleet): State<Fleet>, SignedIn(actor): SignedIn) -> Json<Checked> {
    Json(fleet.check(&actor))
}

/// Takes the password once more: what is sensitive is allowed for a while, from here.
#[utoipa::path(post, path = "/auth/step-up", tag = "sessions", request_body = StepUpRequest,
    security(("access_token" = [])),
    responses((status = 200, body = SessionTokens), (status = 401, body = wire::api::Problem), (status = 429, body = wire::api::Problem)))]
pub async fn step_up(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    caller: Caller,
    ApiJson(request): ApiJson<StepUpRequest>,
) -> Result<(CookieJar, Json<SessionTokens>), ApiError> {
    Ok(hand_over(fleet.step_up(&actor, request, caller.as_caller()).await?))
}

/// Lists one's own sessions.
#[utoipa::path(get, path = "/auth/sessions", tag = "sessions", security(("access_token" = [])),
    responses((status = 200, body = ListPage<Session>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<Json<ListPage<Session>>, ApiError> {
    Ok(Json(ListPage { items: fleet.sessions(&actor).await?, next: None }))
}

/// Lists a person's sessions in this organization. There is one page.
#[utoipa::path(get, path = "/users/{id}/sessions", tag = "sessions", params(("id" = UserId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<Session>)))]
pub async fn list_of(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<UserId>,
) -> Result<Json<ListPage<Session>>, ApiError> {
    Ok(Json(ListPage { items: fleet.sessions_of(&actor, id).await?, next: None }))
}

/// Ends one of one's own sessions.
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "sessions", params(("id" = SessionId, Path)),
    security(("access_token" = [])), responses((status = 204, description = "Done.")))]
pub async fn end(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<SessionId>,
) -> Result<StatusCode, ApiError> {
    fleet.end_session(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all of one's own sessions, the one that asks too.
#[utoipa::path(delete, path = "/auth/sessions", tag = "sessions", security(("access_token" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn end_all(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<(StatusCode, CookieJar), ApiError> {
    fleet.end_sessions(&actor).await?;
    Ok((StatusCode::NO_CONTENT, CookieJar::new().add(cookie("", 0))))
}

/// Refuses tokens of others from here on.
#[utoipa::path(post, path = "/auth/revocations", tag = "sessions", request_body = Revocation,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done."), (status = 404, body = wire::api::Problem)))]
pub async fn revoke(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(revocation): ApiJson<Revocation>,
) -> Result<StatusCode, ApiError> {
    fleet.revoke(&actor, revocation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The organizations that one belongs to. There is one page.
#[utoipa::path(get, path = "/auth/orgs", tag = "sessions", security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<Membership>)))]
pub async fn memberships(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<Json<ListPage<Membership>>, ApiError> {
    Ok(Json(ListPage { items: fleet.memberships(&actor).await?, next: None }))
}

/// Ends the session, and begins one in another organization that one belongs to. It lasts as long as
/// the one before would have, and its refresh token goes where that one's went.
#[utoipa::path(post, path = "/auth/org/switch", tag = "sessions", request_body = SwitchOrganization,
    security(("access_token" = [])),
    responses((status = 200, body = SessionTokens), (status = 409, body = wire::api::Problem)))]
pub async fn switch(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    caller: Caller,
    ApiJson(request): ApiJson<SwitchOrganization>,
) -> Result<(CookieJar, Json<SessionTokens>), ApiError> {
    Ok(hand_over(fleet.switch_organization(&actor, request, caller.as_caller()).await?))
}

pub(super) fn hand_over(tokens: Tokens) -> (CookieJar, Json<SessionTokens>) {
    let (cookies, refresh_token) = match (tokens.client, tokens.refresh) {
        (ClientKind::Browser, Some(refresh)) => {
            let cookie = cookie(&refresh.0, tokens.refresh_ttl.as_secs());
            (CookieJar::new().add(cookie), None)
        }
        (ClientKind::Browser, None) => (CookieJar::new(), None),
        (ClientKind::Cli, refresh) => (CookieJar::new(), refresh),
    };
    let body = SessionTokens {
        access_token: tokens.access,
        token_type: "Bearer".to_owned(),
        expires_in: tokens.access_ttl.as_secs().unsigned_abs(),
        refresh_token,
        user: tokens.user,
    };
    (cookies, Json(body))
}

fn cookie(value: &str, seconds: i64) -> Cookie<'static> {
    let text =
        format!("{COOKIE}={value}; Max-Age={seconds}; Path=/; HttpOnly; Secure; SameSite=Strict");
    Cookie::parse(text).expect("a name, a URL-safe value and fixed attributes are a cookie")
}

/// Whether a browser says that another site had it send this. `Sec-Fetch-Site` decides where a
/// browser sends it, because a proxy may have changed the host; older ones send `Origin` alone.
pub(super) fn is_cross_site(uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text("origin") else { return false };
    let origin = origin.parse::<Uri>().ok();
    let origin = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
    // HTTP/2 has the host in the URI.
    let host = uri.authority().map(Authority::as_str).or_else(|| text("host"));
    origin.is_none() || origin != host
}

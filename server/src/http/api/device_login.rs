//! `/auth/device`: signing in where there is no browser (RFC 8628), and the page where a person
//! approves it. The page runs no script and sets no cookie: whoever approves shows their password.

use askama::Template;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
};
use serde::Deserialize;
use wire::api::{
    ClientKind, DeviceApproval, DeviceCode, DeviceCodeRequest, DeviceTokenRequest, LoginRequest,
    PendingDeviceLogin, SessionTokens,
};

use super::sessions::{hand_over, is_cross_site};
use crate::{
    Fleet,
    fleet::device_login::{ApprovalError, INTERVAL, LASTS},
    http::{
        auth::{Caller, SignedIn},
        body::{ApiJson, FormFields},
        error::ApiError,
        page::{self, render},
        pagination::{Id, Parameters},
        problems,
    },
};

/// Where the page is.
const PAGE: &str = "/auth/device";

/// Gives a program a code to show to a person.
#[utoipa::path(post, path = "/auth/device/code", tag = "sessions", request_body = DeviceCodeRequest,
    responses((status = 200, body = DeviceCode), (status = 429, body = wire::api::Problem)))]
pub async fn code(
    State(fleet): State<Fleet>,
    caller: Caller,
    (uri, headers): (Uri, HeaderMap),
    ApiJson(request): ApiJson<DeviceCodeRequest>,
) -> Result<Json<DeviceCode>, ApiError> {
    let codes = fleet.begin_device_login(request, caller.as_caller()).await?;
    let page = format!("{}{PAGE}", base(&fleet, &uri, &headers));
    Ok(Json(DeviceCode {
        device_code: codes.device_code,
        verification_uri_complete: format!("{page}?user_code={}", codes.user_code),
        verification_uri: page,
        user_code: codes.user_code,
        expires_in: LASTS.as_secs().unsigned_abs(),
        interval: INTERVAL.as_secs().unsigned_abs(),
    }))
}

/// Gives a program its tokens, once, when a person has approved.
#[utoipa::path(post, path = "/auth/device/token", tag = "sessions", request_body = DeviceTokenRequest,
    responses((status = 200, body = SessionTokens), (status = 400, body = wire::api::Problem)))]
pub async fn token(
    State(fleet): State<Fleet>,
    caller: Caller,
    ApiJson(request): ApiJson<DeviceTokenRequest>,
) -> Result<Json<SessionTokens>, ApiError> {
    let tokens = fleet.redeem_device_login(request, caller.as_caller()).await?;
    Ok(hand_over(tokens).1)
}

/// Shows what asks to be signed in with a code.
#[utoipa::path(get, path = "/auth/device/{user_code}", tag = "sessions", params(("user_code" = String, Path)),
    security(("access_token" = [])),
    responses((status = 200, body = PendingDeviceLogin), (status = 429, body = wire::api::Problem)))]
pub async fn show(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(user_code): Id<String>,
) -> Result<Json<PendingDeviceLogin>, ApiError> {
    Ok(Json(fleet.pending_device_login(&actor, &user_code).await?))
}

/// Approves or denies a sign-in for the person who asks.
#[utoipa::path(post, path = "/auth/device/approval", tag = "sessions", request_body = DeviceApproval,
    security(("access_token" = [])),
    responses((status = 204, description = "Done."), (status = 404, body = wire::api::Problem), (status = 429, body = wire::api::Problem)))]
pub async fn approve(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(approval): ApiJson<DeviceApproval>,
) -> Result<StatusCode, ApiError> {
    fleet.decide_device_login(&actor, approval).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where the page's address comes from: what the operator says, else where the program asked.
fn base(fleet: &Fleet, uri: &Uri, headers: &HeaderMap) -> String {
    let config = fleet.config();
    if let Some(url) = &config.server.url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or("localhost");
    let plain = config.tls.is_none() && config.server.trusted_proxies.is_empty();
    format!("{}://{host}", if plain { "http" } else { "https" })
}

/// The code, as the address may have it.
#[derive(Debug, Deserialize)]
pub struct PageQuery {
    #[serde(default)]
    user_code: String,
}

/// The page, in one of its states.
#[derive(Template)]
#[template(path = "device_login.html")]
struct Page {
    user_code: String,
    pending: Option<PendingDeviceLogin>,
    message: &'static str,
    done: bool,
}

/// The page where a person approves.
#[utoipa::path(get, path = "/auth/device", tag = "sessions", params(("user_code" = Option<String>, Query)),
    responses((status = 200, body = String, content_type = "text/html", description = "The page."),
        (status = 404, body = String, content_type = "text/html"),
        (status = 429, content((String = "text/html"), (wire::api::Problem = "application/problem+json")))))]
pub async fn page(
    State(fleet): State<Fleet>,
    caller: Caller,
    Parameters(PageQuery { user_code }): Parameters<PageQuery>,
) -> Result<Response, ApiError> {
    if user_code.is_empty() {
        return render(StatusCode::OK, &Page::asking(user_code, ""));
    }
    match fleet.device_login_to_show(&user_code, caller.as_caller()).await {
        Ok(pending) => {
            render(StatusCode::OK, &Page { pending: Some(pending), ..Page::asking(user_code, "") })
        }
        Err(error) => refuse(Page::asking(user_code, ""), error),
    }
}

/// Takes the decision from the page.
#[utoipa::path(post, path = "/auth/device", tag = "sessions",
    request_body(content = Object, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = String, content_type = "text/html", description = "Decided.")))]
pub async fn decide(
    State(fleet): State<Fleet>,
    caller: Caller,
    (uri, headers): (Uri, HeaderMap),
    mut answer: FormFields,
) -> Result<Response, ApiError> {
    if is_cross_site(&uri, &headers) {
        return Err(ApiError::of(problems::CROSS_SITE));
    }
    let user_code = answer.take("user_code")?.0.clone();
    let approve = answer.take("decision")?.0 == "approve";
    let approval = DeviceApproval { user_code: user_code.clone(), approve };
    let (email, password) = (answer.take("email")?.0.clone(), answer.take("password")?);
    let login = LoginRequest { email, password, client: ClientKind::Cli };
    let caller = caller.as_caller();
    match fleet.decide_device_login_with_password(approval, login, caller).await {
        Ok(()) => {
            let message = if approve {
                "Approved. Go on where you came from; this window can be closed."
            } else {
                "Denied. Nobody was signed in."
            };
            render(StatusCode::OK, &Page { done: true, ..Page::asking(String::new(), message) })
        }
        Err(error) => {
            // Whoever mistyped the password is shown what they approve of again.
            let pending = fleet.device_login_to_show(&user_code, caller).await.ok();
            refuse(Page { pending, ..Page::asking(user_code, "") }, error)
        }
    }
}

impl Page {
    fn asking(user_code: String, message: &'static str) -> Self {
        Self { user_code, pending: None, message, done: false }
    }
}

/// What a person can mend is said on the page.
fn refuse(page: Page, error: ApprovalError) -> Result<Response, ApiError> {
    let error = ApiError::from(error);
    let message = match error.status() {
        StatusCode::UNAUTHORIZED => "The e-mail address or the password is wrong.",
        StatusCode::NOT_FOUND => "There is no such code, or it has run out.",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts. Wait some minutes.",
        _ => return Err(error),
    };
    page::refuse(error, &Page { message, ..page })
}

//! `/auth/mailed/…`: the pages that links in mail lead to. They run no script, and opening one uses
//! nothing up, because programs that look into mail open links, too.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use serde::Deserialize;
use wire::api::{AcceptInvitation, FieldError, Hidden, ResetPassword};

use super::sessions::is_cross_site;
use crate::{
    Fleet,
    fleet::errors::AccountError,
    http::{
        auth::Caller,
        body::FormFields,
        error::ApiError,
        page::{self, render},
        pagination::{Id, Parameters},
        problems,
    },
};

/// What a mail asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    ResetPassword,
    VerifyEmail,
    AcceptInvitation,
}

/// The token, as the link has it.
#[derive(Debug, Deserialize)]
pub struct PageQuery {
    token: Option<Hidden>,
}

/// A page, in one of its states.
#[derive(Template)]
#[template(path = "mailed.html")]
struct Page {
    deed: Deed,
    token: String,
    name: String,
    messages: Vec<String>,
    done: bool,
}

/// The page that a link in a mail leads to.
#[utoipa::path(get, path = "/auth/mailed/{deed}", tag = "accounts",
    params(("deed" = String, Path), ("token" = Option<String>, Query)),
    responses((status = 200, body = String, content_type = "text/html", description = "The page.")))]
pub async fn page(
    _caller: Caller,
    Id(deed): Id<Deed>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Response, ApiError> {
    let token = query.token.map(|token| token.0.clone()).unwrap_or_default();
    render(StatusCode::OK, &Page::asking(deed, token))
}

/// Takes what the page asked for.
#[utoipa::path(post, path = "/auth/mailed/{deed}", tag = "accounts", params(("deed" = String, Path)),
    request_body(content = Object, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = String, content_type = "text/html", description = "Done."),
        (status = 400, content((String = "text/html"), (wire::api::Problem = "application/problem+json"))),
        (status = 403, content((String = "text/html"), (wire::api::Problem = "application/problem+json"))),
        (status = 422, content((String = "text/html"), (wire::api::Problem = "application/problem+json"))),
        (status = 429, content((String = "text/html"), (wire::api::Problem = "application/problem+json")))))]
pub async fn act(
    State(fleet): State<Fleet>,
    caller: Caller,
    (deed, uri, headers): (Id<Deed>, Uri, HeaderMap),
    mut form: FormFields,
) -> Result<Response, ApiError> {
    if is_cross_site(&uri, &headers) {
        return Err(ApiError::of(problems::CROSS_SITE));
    }
    let Id(deed) = deed;
    let token = form.take("token")?;
    let name = form.take("name").map(|name| name.0.clone()).unwrap_or_default();
    let address = caller.as_caller().address;
    let done = match deed {
        Deed::ResetPassword => {
            let new_password = form.take("password")?;
            let request = ResetPassword { token: token.clone(), new_password };
            fleet.reset_password(request, address).await
        }
        Deed::VerifyEmail => fleet.verify_email(&token.0, address).await,
        Deed::AcceptInvitation => {
            let told = Some(name.clone()).filter(|name| !name.trim().is_empty());
            let password = Some(form.take("password")?);
            let request = AcceptInvitation { token: token.clone(), name: told, password };
            fleet.accept_invitation(None, request, address).await
        }
    };
    match done {
        Ok(()) => {
            let page = Page { done: true, ..Page::asking(deed, String::new()) };
            render(StatusCode::OK, &page)
        }
        Err(error) => refuse(Page { name, ..Page::asking(deed, token.0.clone()) }, error),
    }
}

impl Page {
    fn asking(deed: Deed, token: String) -> Self {
        Self { deed, token, name: String::new(), messages: Vec::new(), done: false }
    }

    fn title(&self) -> &'static str {
        match self.deed {
            Deed::ResetPassword => "Set another password",
            Deed::VerifyEmail => "Confirm your address",
            Deed::AcceptInvitation => "Join an organization",
        }
    }

    fn outcome(&self) -> &'static str {
        match self.deed {
            Deed::ResetPassword => {
                "The password is set, and every session has ended. Sign in with it."
            }
            Deed::VerifyEmail => "The address is confirmed.",
            Deed::AcceptInvitation => "You have joined. Sign in.",
        }
    }

    /// Relative, since a proxy may serve all of this below a path.
    fn address(&self) -> &'static str {
        match self.deed {
            Deed::ResetPassword => "reset-password",
            Deed::VerifyEmail => "verify-email",
            Deed::AcceptInvitation => "accept-invitation",
        }
    }

    fn asks_for_password(&self) -> bool {
        self.deed == Deed::ResetPassword
    }

    fn asks_who_joins(&self) -> bool {
        self.deed == Deed::AcceptInvitation
    }
}

/// What a person can mend is said on the page.
fn refuse(page: Page, error: AccountError) -> Result<Response, ApiError> {
    let messages = match &error {
        AccountError::WrongToken => {
            vec!["The link was used, has run out, or a newer one was sent.".to_owned()]
        }
        AccountError::WrongPassword => vec!["The password is wrong.".to_owned()],
        AccountError::Unverified => vec![format!("{}.", problems::EMAIL_UNVERIFIED.title)],
        AccountError::Limit(_) => vec!["Too many attempts. Wait some minutes.".to_owned()],
        AccountError::Invalid(errors) => errors.iter().map(told).collect(),
        AccountError::Off
        | AccountError::PasswordExpired(_)
        | AccountError::Forbidden(_)
        | AccountError::Busy(_)
        | AccountError::Store(_) => Vec::new(),
    };
    let error = ApiError::from(error);
    if messages.is_empty() || error.status().is_server_error() {
        return Err(error);
    }
    page::refuse(error, &Page { messages, ..page })
}

/// e.g. `Password must have a digit.`
fn told(error: &FieldError) -> String {
    let field = error.pointer.trim_start_matches('/');
    let field = if field.ends_with("password") { "Password" } else { "Name" };
    format!("{field} {}.", error.detail)
}

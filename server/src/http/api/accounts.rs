//! `/auth/…` about accounts: asking for one, showing that an address is one's own, passwords.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};
use wire::api::{
    AcceptInvitation, ChangeEmail, ChangePassword, EmailRequest, ResetPassword, VerifyEmail,
};

use crate::{
    Fleet,
    http::{
        auth::{Caller, SignedIn},
        body::ApiJson,
        error::ApiError,
    },
};

/// What is said to everybody, whatever happens: mail will tell.
pub(super) fn mail_will_tell() -> (StatusCode, Json<Value>) {
    (StatusCode::ACCEPTED, Json(json!({})))
}

/// Sends a token to set another password, if there is such an account.
#[utoipa::path(post, path = "/auth/forgot-password", tag = "accounts", request_body = EmailRequest,
    responses((status = 202, description = "Mail will tell.", body = Object)))]
pub async fn forgot_password(
    State(fleet): State<Fleet>,
    caller: Caller,
    ApiJson(request): ApiJson<EmailRequest>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    fleet.forgot_password(&request.email, caller.as_caller().address).await?;
    Ok(mail_will_tell())
}

/// Sets another password with a token from a mail or from a refused sign-in; all sessions end.
#[utoipa::path(post, path = "/auth/reset-password", tag = "accounts", request_body = ResetPassword,
    responses((status = 204, description = "Done."), (status = 400, body = wire::api::Problem)))]
pub async fn reset_password(
    State(fleet): State<Fleet>,
    caller: Caller,
    ApiJson(request): ApiJson<ResetPassword>,
) -> Result<StatusCode, ApiError> {
    fleet.reset_password(request, caller.as_caller().address).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows that a mail arrived: makes the account that was asked for, or gives it the address.
#[utoipa::path(post, path = "/auth/verify-email", tag = "accounts", request_body = VerifyEmail,
    responses((status = 204, description = "Done."), (status = 400, body = wire::api::Problem)))]
pub async fn verify_email(
    State(fleet): State<Fleet>,
    caller: Caller,
    ApiJson(request): ApiJson<VerifyEmail>,
) -> Result<StatusCode, ApiError> {
    fleet.verify_email(&request.token.0, caller.as_caller().address).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends the mail for an account that was asked for once more.
#[utoipa::path(post, path = "/auth/verify-email/resend", tag = "accounts", request_body = EmailRequest,
    responses((status = 202, description = "Mail will tell.", body = Object)))]
pub async fn resend_verification(
    State(fleet): State<Fleet>,
    caller: Caller,
    ApiJson(request): ApiJson<EmailRequest>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    fleet.resend_verification(&request.email, caller.as_caller().address).await?;
    Ok(mail_will_tell())
}

/// Joins the organization that an invitation is for. Who has an account joins with it: with its
/// password, or a session of it.
#[utoipa::path(post, path = "/auth/accept-invitation", tag = "accounts", request_body = AcceptInvitation,
    responses((status = 204, description = "Done."), (status = 400, body = wire::api::Problem),
        (status = 401, body = wire::api::Problem)))]
pub async fn accept_invitation(
    State(fleet): State<Fleet>,
    signed_in: Option<SignedIn>,
    caller: Caller,
    ApiJson(request): ApiJson<AcceptInvitation>,
) -> Result<StatusCode, ApiError> {
    let actor = signed_in.map(|SignedIn(actor)| actor);
    fleet.accept_invitation(actor.as_ref(), request, caller.as_caller().address).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets another password for who asks, who gives the present one.
#[utoipa::path(post, path = "/auth/password", tag = "accounts", request_body = ChangePassword,
    security(("access_token" = [])),
    responses((status = 204, description = "Done."), (status = 429, body = wire::api::Problem)))]
pub async fn change_password(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(request): ApiJson<ChangePassword>,
) -> Result<StatusCode, ApiError> {
    fleet.change_password(&actor, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Mails a token to the address that who asks wants to have.
#[utoipa::path(post, path = "/auth/email", tag = "accounts", request_body = ChangeEmail,
    security(("access_token" = [])),
    responses((status = 202, description = "Mail will tell.", body = Object),
        (status = 404, body = wire::api::Problem), (status = 429, body = wire::api::Problem)))]
pub async fn change_email(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(request): ApiJson<ChangeEmail>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    fleet.change_email(&actor, request).await?;
    Ok(mail_will_tell())
}

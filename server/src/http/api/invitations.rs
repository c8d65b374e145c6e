//! `/invitations`: who may join the organization.

use axum::{Json, extract::State, http::StatusCode};
use wire::{
    InvitationId,
    api::{CreatedInvitation, Invitation, NewInvitation, Page as ListPage},
};

use crate::{
    Fleet,
    fleet::page::Page,
    http::{
        auth::SignedIn,
        body::ApiJson,
        error::ApiError,
        pagination::{Id, PageQuery},
    },
};

/// Lists invitations that nobody has accepted.
#[utoipa::path(get, path = "/invitations", tag = "users", params(PageQuery),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<Invitation>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    page: Page,
) -> Result<Json<ListPage<Invitation>>, ApiError> {
    Ok(Json(fleet.invitations(&actor, page).await?))
}

/// Invites the owner of an address, by mail where the server sends mail.
#[utoipa::path(post, path = "/invitations", tag = "users", request_body = NewInvitation,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 201, body = CreatedInvitation), (status = 409, body = wire::api::Problem)))]
pub async fn create(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(new): ApiJson<NewInvitation>,
) -> Result<(StatusCode, Json<CreatedInvitation>), ApiError> {
    Ok((StatusCode::CREATED, Json(fleet.invite(&actor, new).await?)))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/invitations/{id}", tag = "users", params(("id" = InvitationId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn delete(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<InvitationId>,
) -> Result<StatusCode, ApiError> {
    fleet.withdraw_invitation(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

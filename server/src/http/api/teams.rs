//! `/teams`: parts of the organization.

use axum::{Json, extract::State, http::StatusCode};
use wire::{
    TeamId,
    api::{ChangeTeam, NewTeam, Page as ListPage, Team},
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

/// Lists teams.
#[utoipa::path(get, path = "/teams", tag = "teams", params(PageQuery),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<Team>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    page: Page,
) -> Result<Json<ListPage<Team>>, ApiError> {
    Ok(Json(fleet.teams(&actor, page).await?))
}

/// Makes a team.
#[utoipa::path(post, path = "/teams", tag = "teams", request_body = NewTeam,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 201, body = Team), (status = 409, body = wire::api::Problem)))]
pub async fn create(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(new): ApiJson<NewTeam>,
) -> Result<(StatusCode, Json<Team>), ApiError> {
    Ok((StatusCode::CREATED, Json(fleet.add_team(&actor, new).await?)))
}

/// Shows one.
#[utoipa::path(get, path = "/teams/{id}", tag = "teams", params(("id" = TeamId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Team)))]
pub async fn show(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<TeamId>,
) -> Result<Json<Team>, ApiError> {
    Ok(Json(fleet.team(&actor, id).await?))
}

/// Renames a team.
#[utoipa::path(patch, path = "/teams/{id}", tag = "teams", params(("id" = TeamId, Path)),
    request_body = ChangeTeam, security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Team), (status = 409, body = wire::api::Problem)))]
pub async fn change(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<TeamId>,
    ApiJson(change): ApiJson<ChangeTeam>,
) -> Result<Json<Team>, ApiError> {
    Ok(Json(fleet.change_team(&actor, id, change).await?))
}

/// Deletes a team that has no devices; its enroll secrets are revoked.
#[utoipa::path(delete, path = "/teams/{id}", tag = "teams", params(("id" = TeamId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done."), (status = 409, body = wire::api::Problem)))]
pub async fn delete(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<TeamId>,
) -> Result<StatusCode, ApiError> {
    fleet.remove_team(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

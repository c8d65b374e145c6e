//! `/teams/{id}/members`: roles in a team, beside those in the organization.

use axum::{Json, extract::State, http::StatusCode};
use wire::{
    TeamId, UserId,
    api::{Page as ListPage, SetTeamRole, TeamMember},
};

use crate::{
    Fleet,
    http::{auth::SignedIn, body::ApiJson, error::ApiError, pagination::Id},
};

/// Lists who has a role in the team. There is one page.
#[utoipa::path(get, path = "/teams/{id}/members", tag = "teams", params(("id" = TeamId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<TeamMember>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<TeamId>,
) -> Result<Json<ListPage<TeamMember>>, ApiError> {
    Ok(Json(ListPage { items: fleet.team_members(&actor, id).await?, next: None }))
}

/// Gives somebody a role in the team, instead of one that they may have there.
#[utoipa::path(put, path = "/teams/{id}/members/{user_id}", tag = "teams",
    params(("id" = TeamId, Path), ("user_id" = UserId, Path)), request_body = SetTeamRole,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = TeamMember)))]
pub async fn put(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(ids): Id<(TeamId, UserId)>,
    ApiJson(request): ApiJson<SetTeamRole>,
) -> Result<Json<TeamMember>, ApiError> {
    Ok(Json(fleet.set_team_role(&actor, ids, request).await?))
}

/// Takes somebody's role in the team away.
#[utoipa::path(delete, path = "/teams/{id}/members/{user_id}", tag = "teams",
    params(("id" = TeamId, Path), ("user_id" = UserId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn delete(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(ids): Id<(TeamId, UserId)>,
) -> Result<StatusCode, ApiError> {
    fleet.remove_team_role(&actor, ids).await?;
    Ok(StatusCode::NO_CONTENT)
}

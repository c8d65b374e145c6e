//! `/roles`: those of every organization, and those that this one made.

use axum::{Json, extract::State, http::StatusCode};
use wire::{
    RoleName,
    api::{ChangeRole, NewRole, Page as ListPage, RoleInfo},
};

use crate::{
    Fleet,
    http::{auth::SignedIn, body::ApiJson, error::ApiError, pagination::Id},
};

/// Lists roles with their permissions: first the four of every organization. There is one page.
#[utoipa::path(get, path = "/roles", tag = "roles",
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<RoleInfo>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<Json<ListPage<RoleInfo>>, ApiError> {
    Ok(Json(ListPage { items: fleet.roles(&actor).await?, next: None }))
}

/// Makes a role. Nobody puts more into one than they may do themselves.
#[utoipa::path(post, path = "/roles", tag = "roles", request_body = NewRole,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 201, body = RoleInfo), (status = 409, body = wire::api::Problem)))]
pub async fn create(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(new): ApiJson<NewRole>,
) -> Result<(StatusCode, Json<RoleInfo>), ApiError> {
    Ok((StatusCode::CREATED, Json(fleet.add_role(&actor, new).await?)))
}

/// Changes what a role is called, what it is for and what it grants, to everybody who has it from the next request on. Nobody
/// changes a role that grants more than they may do themselves, before or after.
#[utoipa::path(patch, path = "/roles/{name}", tag = "roles", params(("name" = RoleName, Path)),
    request_body = ChangeRole, security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = RoleInfo), (status = 409, body = wire::api::Problem)))]
pub async fn change(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(name): Id<RoleName>,
    ApiJson(change): ApiJson<ChangeRole>,
) -> Result<Json<RoleInfo>, ApiError> {
    Ok(Json(fleet.change_role(&actor, &name, change).await?))
}

/// Deletes a role that nobody has.
#[utoipa::path(delete, path = "/roles/{name}", tag = "roles", params(("name" = RoleName, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done."), (status = 409, body = wire::api::Problem)))]
pub async fn delete(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(name): Id<RoleName>,
) -> Result<StatusCode, ApiError> {
    fleet.remove_role(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

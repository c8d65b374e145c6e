//! `/users`: people of the organization.

use axum::{Json, extract::State, http::StatusCode};
use wire::{
    UserId,
    api::{AddedUser, ChangeUser, CreatedInvitation, NewUser, Page as ListPage, User},
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

/// Lists the organization's people.
#[utoipa::path(get, path = "/users", tag = "users", params(PageQuery),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<User>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    page: Page,
) -> Result<Json<ListPage<User>>, ApiError> {
    Ok(Json(fleet.users(&actor, page).await?))
}

/// Adds a person. Nobody grants a role above their own. On a server with several organizations they
/// are invited.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 201, body = User), (status = 202, body = CreatedInvitation),
        (status = 409, body = wire::api::Problem)))]
pub async fn create(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(new): ApiJson<NewUser>,
) -> Result<(StatusCode, Json<AddedUser>), ApiError> {
    let added = fleet.add_user(&actor, new).await?;
    let status = match added {
        AddedUser::Added(_) => StatusCode::CREATED,
        AddedUser::Invited(_) => StatusCode::ACCEPTED,
    };
    Ok((status, Json(added)))
}

/// Shows one.
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = UserId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = User)))]
pub async fn show(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<UserId>,
) -> Result<Json<User>, ApiError> {
    Ok(Json(fleet.user(&actor, id).await?))
}

/// Gives a person another role, shuts them out, or lets them in again.
#[utoipa::path(patch, path = "/users/{id}", tag = "users", params(("id" = UserId, Path)),
    request_body = ChangeUser, security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = User), (status = 409, body = wire::api::Problem)))]
pub async fn change(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<UserId>,
    ApiJson(change): ApiJson<ChangeUser>,
) -> Result<Json<User>, ApiError> {
    Ok(Json(fleet.change_user(&actor, id, change).await?))
}

/// Takes a person out of the organization.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(("id" = UserId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done."), (status = 409, body = wire::api::Problem)))]
pub async fn delete(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<UserId>,
) -> Result<StatusCode, ApiError> {
    fleet.remove_user(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

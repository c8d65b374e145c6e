//! `?limit=&after=` of lists, and the `{id}` of paths.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;
use uuid::Uuid;
use wire::api::{DEFAULT_PAGE, MAX_PAGE};

use super::{error::ApiError, problems};
use crate::{Fleet, fleet::page::Page};

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<Uuid>,
}

impl PageQuery {
    fn resolve(&self) -> Result<Page, ApiError> {
        Ok(Page { limit: limit_of(self.limit)?, after: self.after })
    }
}

/// How many items a page has for which `asked` are asked.
pub(super) fn limit_of(asked: Option<u32>) -> Result<u32, ApiError> {
    let limit = asked.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("limit: must be between 1 and {MAX_PAGE}");
    Err(ApiError::because(problems::INVALID_PARAMETER, detail))
}

impl FromRequestParts<Fleet> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        let Parameters(query) = Parameters::<PageQuery>::from_request_parts(parts, fleet).await?;
        query.resolve()
    }
}

/// Query parameters of a route.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Fleet> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        Query::from_request_parts(parts, fleet)
            .await
            .map(|Query(query)| Self(query))
            .map_err(|error| ApiError::because(problems::INVALID_PARAMETER, error.body_text()))
    }
}

/// The `{id}` of a path. What cannot be an id names nothing: 404.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Fleet> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        Path::from_request_parts(parts, fleet)
            .await
            .map(|Path(id)| Self(id))
            .map_err(|_| ApiError::of(problems::NOT_FOUND))
    }
}

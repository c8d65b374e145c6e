//! The OpenAPI document, from the code: routes say what they take and give; refusals, which follow
//! from a route's nature, are added here.

use std::collections::BTreeSet;

use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder,
    path::{Operation, PathItem},
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

/// What the document says before any route.
pub(super) fn about() -> OpenApi {
    let access_token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An access token from /auth/login, or an API key."))
        .build();
    let metrics_token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The operator's `metrics.token`, for a monitoring system."))
        .build();
    let api_key = ApiKeyValue::with_description("X-API-Key", "An API key.");
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("fleet-server")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Devices, the secrets that admit them, and the people who look after them.",
                ))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .schema_from::<wire::api::Problem>()
                .schema_from::<wire::api::FieldError>()
                .schema_from::<wire::orbit::AgentError>()
                .security_scheme("access_token", SecurityScheme::Http(access_token))
                .security_scheme("metrics_token", SecurityScheme::Http(metrics_token))
                .security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(api_key)))
                .build(),
        ))
        .build()
}

/// The whole document.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = super::routes().into_openapi();
    // The router's word for a path with slashes in it is none of OpenAPI's.
    let paths = std::mem::take(&mut document.paths.paths).into_iter();
    document.paths.paths = paths.map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for (path, item) in &mut document.paths.paths {
        let agents = path.starts_with("/api/");
        let older = path.starts_with(wire::osquery::PREFIXES[1]);
        for operation in operations(item) {
            name(operation, path, older);
            add_refusals(operation, path, agents);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
        .into_iter()
        .flatten()
}

/// Operation ids are unique: `list` of devices and of teams are two.
fn name(operation: &mut Operation, path: &str, older: bool) {
    let noun: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && !part.starts_with('{')).collect();
    let verb = operation.operation_id.take().unwrap_or_default();
    let suffix = if older { "_v1" } else { "" };
    let noun = noun.join("_").replace(['-', '.'], "_").replace("api_v1_osquery", "api_osquery");
    operation.operation_id = Some(format!("{noun}_{verb}{suffix}"));
}

/// Adds the refusals that follow from what a route takes: any may fail inside, a body may be
/// malformed, a proof missing, an id unknown.
fn add_refusals(operation: &mut Operation, path: &str, agents: bool) {
    let mut statuses = BTreeSet::from([403_u16, 500, 503]);
    if operation.request_body.is_some() {
        statuses.extend([400, 408, 413, 422]);
        statuses.insert(if agents { 401 } else { 415 });
    }
    if operation.security.is_some() {
        statuses.insert(401);
    }
    if operation.security.is_some() || path.starts_with("/auth/") {
        statuses.insert(429);
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        statuses.insert(400);
    }
    if path.contains('{') {
        statuses.insert(404);
    }
    for status in statuses {
        let _ = operation
            .responses
            .responses
            .entry(status.to_string())
            .or_insert_with(|| refusal(agents).into());
    }
    if !agents {
        mark_problems(operation);
    }
}

fn refusal(agents: bool) -> utoipa::openapi::Response {
    let (schema, content_type) = if agents {
        ("AgentError", "application/json")
    } else {
        ("Problem", "application/problem+json")
    };
    ResponseBuilder::new()
        .description("Refused.")
        .content(content_type, Content::new(Some(Ref::from_schema_name(schema))))
        .build()
}

/// Problems that a route names itself have their own content type too.
fn mark_problems(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let utoipa::openapi::RefOr::T(response) = response else { continue };
        if status.starts_with('4') {
            response.description = "Refused.".to_owned();
            if let Some(content) = response.content.shift_remove("application/json") {
                response.content.insert("application/problem+json".to_owned(), content);
            }
        }
    }
}

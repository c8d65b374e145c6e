//! The server over HTTP: routes, extractors, views. Rules live in [`Fleet`].
//!
//! [`routes`] is the whole list, [`access`] says what each asks for. [`error`] alone knows status codes of refusals; [`auth`] finds
//! out who asks; [`agent`] keeps Fleet's names and shapes, [`device`] Fleet's path, [`connect`] connections; [`api`] has a file a noun;
//! [`updates`] hands out files, [`page`] pages.

pub mod access;
pub mod agent;
pub mod api;
pub mod auth;
pub mod body;
pub mod connect;
pub mod device;
pub mod envelope;
pub mod error;
pub mod openapi;
pub mod page;
pub mod pagination;
pub mod problems;
pub mod updates;

use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::envelope::OfConnection;
use self::error::ApiError;
use crate::Fleet;

/// Every route, with what OpenAPI says about it. Methods and paths below a prefix stand at the
/// functions.
fn routes() -> OpenApiRouter<Fleet> {
    OpenApiRouter::with_openapi(openapi::about())
        // People and scripts
        .routes(routes!(api::sessions::register)) //           POST   /auth/register
        .routes(routes!(api::sessions::login)) //              POST   /auth/login
        .routes(routes!(api::sessions::refresh)) //            POST   /auth/refresh
        .routes(routes!(api::sessions::logout)) //             POST   /auth/logout
        .routes(routes!(api::sessions::user)) //               GET    /auth/user
        .routes(routes!(api::sessions::check)) //              GET    /check
        .routes(routes!(api::sessions::step_up)) //            POST   /auth/step-up
        .routes(routes!(api::sessions::list, api::sessions::end_all)) //             /auth/sessions
        .routes(routes!(api::sessions::end)) //                DELETE /auth/sessions/{id}
        .routes(routes!(api::sessions::revoke)) //             POST   /auth/revocations
        .routes(routes!(api::device_login::page, api::device_login::decide)) //      /auth/device
        .routes(routes!(api::device_login::code)) //           POST   /auth/device/code
        .routes(routes!(api::device_login::token)) //          POST   /auth/device/token
        .routes(routes!(api::device_login::approve)) //        POST   /auth/device/approval
        .routes(routes!(api::device_login::show)) //           GET    /auth/device/{user_code}
        .routes(routes!(api::sessions::memberships)) //        GET    /auth/orgs
        .routes(routes!(api::sessions::switch)) //             POST   /auth/org/switch
        .routes(routes!(api::accounts::verify_email)) //       POST   /auth/verify-email
        .routes(routes!(api::accounts::resend_verification)) // POST  /auth/verify-email/resend
        .routes(routes!(api::accounts::forgot_password)) //    POST   /auth/forgot-password
        .routes(routes!(api::accounts::reset_password)) //     POST   /auth/reset-password
        .routes(routes!(api::accounts::accept_invitation)) //  POST   /auth/accept-invitation
        .routes(routes!(api::mailed::page, api::mailed::act)) //                     /auth/mailed/{deed}
        .routes(routes!(api::accounts::change_password)) //    POST   /auth/password
        .routes(routes!(api::accounts::change_email)) //       POST   /auth/email
        .routes(routes!(api::invitations::list, api::invitations::create)) //        /invitations
        .routes(routes!(api::invitations::delete)) //          DELETE /invitations/{id}
        .routes(routes!(api::users::list, api::users::create)) //                    /users
        .routes(routes!(api::users::show, api::users::change, api::users::delete)) // /users/{id}
        .routes(routes!(api::sessions::list_of)) //            GET    /users/{id}/sessions
        .routes(routes!(api::roles::list, api::roles::create)) //                    /roles
        .routes(routes!(api::roles::change, api::roles::delete)) //                  /roles/{name}
        .routes(routes!(api::teams::list, api::teams::create)) //                    /teams
        .routes(routes!(api::teams::show, api::teams::change, api::teams::delete)) // /teams/{id}
        .routes(routes!(api::team_members::list)) //           GET    /teams/{id}/members
        .routes(routes!(api::team_members::put, api::team_members::delete)) //       /teams/{id}/members/{user_id}
        .routes(routes!(api::api_keys::list, api::api_keys::create)) //              /api-keys
        .routes(routes!(api::api_keys::show, api::api_keys::revoke)) //              /api-keys/{id}
        .routes(routes!(api::api_keys::rotate)) //             POST   /api-keys/{id}/rotate
        .routes(routes!(api::enroll_secrets::list, api::enroll_secrets::create)) //  /enroll-secrets
        .routes(routes!(api::enroll_secrets::show, api::enroll_secrets::revoke)) //  /enroll-secrets/{id}
        .routes(routes!(api::devices::list)) //                GET    /devices
        .routes(routes!(api::devices::metrics)) //             GET    /devices/metrics
        .routes(routes!(api::devices::decommission)) //        POST   /devices/decommission
        .routes(routes!(api::devices::deploy)) //              POST   /devices/update-channels
        .routes(routes!(api::devices::refetch)) //             POST   /devices/{id}/refetch
        .routes(routes!(api::devices::show, api::devices::change, api::devices::delete)) // /devices/{id}
        .routes(routes!(
            api::organization::show,
            api::organization::change,
            api::organization::delete
        )) // /organization
        .routes(routes!(api::organization::billing)) //        GET    /billing
        .routes(routes!(api::audit::list)) //                  GET    /audit
        .routes(routes!(api::audit::head)) //                  GET    /audit/head
        .routes(routes!(api::audit::export)) //                GET    /audit/export
        // Anybody
        .routes(routes!(api::server::live)) //                 GET    /health/live
        .routes(routes!(api::server::ready)) //                GET    /health/ready
        .routes(routes!(api::server::metrics)) //              GET    /metrics
        .routes(routes!(api::server::openapi)) //              GET    /openapi.json
        .routes(routes!(api::server::jwks)) //                 GET    /.well-known/jwks.json
        .routes(routes!(api::server::problem)) //              GET    /problems/{name}
        .routes(routes!(updates::file)) //                     GET, HEAD /updates/{*path}
        // Agents
        .routes(routes!(connect::connect)) //                  GET    /api/device/connect
        .nest(wire::orbit::DEVICE_PREFIX, OpenApiRouter::default().routes(routes!(device::summary))) //              GET    {token}/desktop
        .nest(wire::orbit::DEVICE_PAGE, OpenApiRouter::default().routes(routes!(device::page))) //                 GET    {token}
        .nest(wire::orbit::PREFIX, orbit_routes())
        .nest(wire::osquery::PREFIXES[0], osquery_routes())
        .nest(wire::osquery::PREFIXES[1], osquery_routes())
}

fn orbit_routes() -> OpenApiRouter<Fleet> {
    OpenApiRouter::default()
        .routes(routes!(agent::ping)) //                       GET, HEAD ping
        .routes(routes!(agent::orbit_enroll)) //               POST   enroll
        .routes(routes!(agent::orbit_config)) //               POST   config
        .routes(routes!(agent::token)) //                      POST   token
        .routes(routes!(agent::device_token)) //               POST   device_token
        .routes(routes!(agent::orbit_updates)) //              POST   updates
}

fn osquery_routes() -> OpenApiRouter<Fleet> {
    OpenApiRouter::default()
        .routes(routes!(agent::osquery_enroll)) //             POST   enroll
        .routes(routes!(agent::osquery_config)) //             POST   config
        .routes(routes!(agent::distributed_read)) //           POST   distributed/read
        .routes(routes!(agent::distributed_write)) //          POST   distributed/write
        .routes(routes!(agent::log)) //                        POST   log
}

/// The server's HTTP face. Requests must carry `ConnectInfo<SocketAddr>`.
pub fn app(fleet: Fleet) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(|| async { ApiError::of(problems::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { ApiError::of(problems::METHOD_NOT_ALLOWED) })
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(envelope::on_panic))
        .layer(from_fn_with_state(fleet.clone(), envelope::wrap))
        .with_state(fleet)
}

//! What every request passes through: an id, the client's address, a deadline, headers, and the
//! rendering of refusals.

use std::{
    any::Any,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tracing::Instrument as _;
use uuid::Uuid;
use wire::signature::SIGNATURE_INPUT;

use super::{
    access,
    error::{ApiError, tell_quota},
    page::Shown,
    problems,
};
use crate::{
    Fleet,
    config::Proxies,
    fleet::{
        audit,
        limits::Quota,
        metrics::Answered,
        origin::{ClientCertificate, Origin},
    },
};

/// Where a request comes from, behind however many trusted proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The certificate that was shown for the connection, and verified there.
#[derive(Debug, Clone)]
pub(crate) struct OfConnection(pub Option<ClientCertificate>);

/// The path of a signed request, of which routers leave handlers only the end.
#[derive(Debug, Clone)]
pub(super) struct WholePath(pub(super) String);

/// Where a limit that a request counted in is left, to be told with the reply.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<Option<Quota>>>);

impl Told {
    pub(super) fn tell(&self, quota: Quota) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
    }

    fn take(&self) -> Option<Quota> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Whose shape a refusal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    People,
    Orbit,
    Osquery,
}

impl Face {
    fn of(path: &str) -> Self {
        let orbit = [wire::orbit::PREFIX, wire::orbit::DEVICE_PREFIX, wire::orbit::CONNECT];
        if orbit.iter().any(|prefix| path.starts_with(prefix)) {
            Self::Orbit
        } else if wire::osquery::PREFIXES.iter().any(|prefix| path.starts_with(prefix)) {
            Self::Osquery
        } else {
            Self::People
        }
    }
}

/// The middleware around all routes.
pub(super) async fn wrap(
    State(fleet): State<Fleet>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = Uuid::now_v7().to_string();
    let under_way = fleet.begin_request();
    let (method, route) = named(&request);
    let face = Face::of(request.uri().path());
    let span = tracing::debug_span!(
        "request",
        request.id = %request_id,
        method = %request.method(),
        path = %without_token(request.uri().path()),
    );
    let config = fleet.config();
    let address = client_address(&config.server, peer.ip(), request.headers());
    request.extensions_mut().insert(ClientAddress(address));
    let certificate = client_certificate(&config.server, peer.ip(), &request);
    request.extensions_mut().insert(Origin { address, certificate, signature: None });
    if request.headers().contains_key(SIGNATURE_INPUT) {
        let path = WholePath(request.uri().path().to_owned());
        request.extensions_mut().insert(path);
    }
    let told = Told::default();
    request.extensions_mut().insert(told.clone());
    let allowed = config.tls.is_some()
        || peer.ip().to_canonical().is_loopback()
        || config.server.trusts(peer.ip());
    let response = if allowed {
        let deadline = config.limits.request_timeout.as_duration();
        let about = about(&request, &request_id);
        let answered = async {
            let answered = tokio::time::timeout(deadline, next.run(request)).await;
            let response =
                answered.unwrap_or_else(|_| ApiError::of(problems::TIMEOUT).into_response());
            note_refusal(&fleet, response.extensions().get().cloned()).await;
            response
        };
        about.during(answered.instrument(span)).await
    } else {
        ApiError::of(problems::HTTPS_REQUIRED).into_response()
    };
    let shown = response.extensions().get::<Shown>().map(|Shown(error)| error.told());
    let refusal = response.extensions().get::<ApiError>().map(ApiError::told).or(shown);
    let mut response = finish(response, face, &request_id);
    let (problem, limit) = refusal.map_or((None, None), |(problem, limit)| (Some(problem), limit));
    let status = response.status().as_u16();
    fleet.count_answer(&under_way, Answered { method, route, status, problem, limit });
    if let Some(quota) = told.take() {
        tell_quota(response.headers_mut(), &quota);
    }
    response
}

/// What a request asks for, in words of this program: the method, and the route as the table has it.
fn named(request: &Request) -> (&'static str, &'static str) {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let method = known.into_iter().find(|known| request.method() == known);
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    (method.unwrap_or("other"), matched.and_then(access::route_of).unwrap_or("none"))
}

/// What the audit trail says of a request.
fn about(request: &Request, request_id: &str) -> audit::Request {
    let user_agent = request.headers().get(header::USER_AGENT);
    let user_agent = user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let route = format!("{} {}", request.method(), without_token(request.uri().path()));
    audit::Request::new(request_id.to_owned(), user_agent.unwrap_or_default(), route)
}

/// Writes down that somebody may not do what they asked. It was refused whether that works or not.
async fn note_refusal(fleet: &Fleet, refusal: Option<ApiError>) {
    let Some(why) = refusal.as_ref().and_then(ApiError::forbidden) else { return };
    if let Err(error) = fleet.record_refusal(&why).await {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "could not record that a request was refused");
    }
}

/// The path for the log: a desktop token, which Fleet has in paths, is left out.
fn without_token(path: &str) -> String {
    let prefixes = [wire::orbit::DEVICE_PREFIX, wire::orbit::DEVICE_PAGE];
    let below = prefixes
        .iter()
        .find_map(|prefix| Some((prefix, path.strip_prefix(prefix)?.strip_prefix('/')?)));
    let Some((prefix, rest)) = below else { return path.to_owned() };
    let rest = rest.split_once('/').map(|(_, rest)| format!("/{rest}")).unwrap_or_default();
    format!("{prefix}/[token]{rest}")
}

/// Renders a refusal, and adds what every reply has.
fn finish(mut response: Response, face: Face, request_id: &str) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        error.log(request_id);
        let allow = response.headers_mut().remove(header::ALLOW);
        response = match face {
            Face::People => error.as_problem(request_id),
            Face::Orbit => error.as_agent_error(false),
            Face::Osquery => error.as_agent_error(true),
        };
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A panic is a broken invariant: logged with its message, answered like any inner failure.
pub(super) fn on_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic.message = message, "a request panicked: {message}");
    ApiError::of(problems::INTERNAL).into_response()
}

/// The peer; or, when it is a trusted proxy, the last address in `X-Forwarded-For` that is not one.
/// Walked from the right, because the left is whatever the client wrote.
fn client_address(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut address = peer.to_canonical();
    // Lossy, because a proxy appends to whatever bytes the client sent.
    let forwarded: Vec<_> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let forwarded: Vec<&str> = forwarded.iter().flat_map(|value| value.split(',')).collect();
    for hop in forwarded.iter().rev() {
        if !proxies.trusts(address) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(hop) => address = hop.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

/// The certificate of whoever asks. Of what comes through a trusted proxy that is told to say so, the
/// proxy's header alone counts: the connection is the proxy's own. From anybody else the header means nothing.
fn client_certificate(
    proxies: &Proxies,
    peer: IpAddr,
    request: &Request,
) -> Option<ClientCertificate> {
    match &proxies.client_certificate_header {
        Some(name) if proxies.trusts(peer) => {
            let mut values = request.headers().get_all(name).iter();
            // Of two, one may be the client's own.
            let (Some(value), None) = (values.next(), values.next()) else { return None };
            ClientCertificate::from_der(&decoded(value.to_str().ok()?)?)
        }
        Some(_) | None => request.extensions().get::<OfConnection>()?.0.clone(),
    }
}

/// A certificate as proxies write it: base64 between colons (RFC 9440), or PEM with percent signs.
fn decoded(text: &str) -> Option<Vec<u8>> {
    if let Some(text) = text.trim().strip_prefix(':').and_then(|text| text.strip_suffix(':')) {
        return STANDARD.decode(text).ok();
    }
    let pem = percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    CertificateDer::from_pem_slice(&pem).ok().map(|der| der.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_logged() {
        for (path, logged) in [
            ("/api/latest/fleet/device/secret/desktop", "/api/latest/fleet/device/[token]/desktop"),
            ("/device/secret", "/device/[token]"),
            ("/devices/1", "/devices/1"),
            ("/device", "/device"),
        ] {
            assert_eq!(without_token(path), logged);
        }
    }

    fn resolve(peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            ..Proxies::default()
        };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append("x-forwarded-for", value);
        }
        client_address(&proxies, peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_the_header_is_read_from_the_right() {
        assert_eq!(resolve("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(resolve("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(resolve("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(resolve("10.0.0.1", &["6.6.6.6, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(resolve("10.0.0.1", &["6.6.6.6", "198.51.100.1, 10.2.3.4"]), "198.51.100.1");
        assert_eq!(resolve("10.0.0.1", &["ünknown, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(resolve("10.0.0.1", &["198.51.100.1, nonsense"]), "10.0.0.1");
        assert_eq!(resolve("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(resolve("fd00::1", &["2001:db8::7"]), "2001:db8::7");
    }
}

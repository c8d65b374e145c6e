//! The way from here to a server that agents can enroll with, one step after the other.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{CertificateError, Error as TlsError};
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde_json::json;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Url;
use wire::{orbit::AgentError, osquery::PREFIXES, settings::endpoint};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{
    client::{causes, http},
    output::clean,
    trust::Trust,
};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A secret that no server has made: those are 24 random bytes in base64.
const BOGUS_SECRET: &str = "fleetctl debug connection";

/// One step and how it went.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub step: &'static str,
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Step {
    fn passed(step: &'static str, detail: impl Into<String>) -> Self {
        Self { step, ok: true, detail: detail.into(), help: None }
    }

    fn failed(step: &'static str, detail: impl Into<String>, help: impl Into<String>) -> Self {
        Self { step, ok: false, detail: detail.into(), help: Some(help.into()) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.ok { "ok" } else { "FAILED" };
        write!(f, "{mark:<7} {:<7} {}", self.step, clean(&self.detail))?;
        match &self.help {
            Some(help) => write!(f, "\n        help:   {help}"),
            None => Ok(()),
        }
    }
}

/// Goes as far as it can. The last step is the one that failed, if one did.
pub(crate) async fn check(server: &Url, trust: &Trust) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let (step, addresses) = look_up(server).await;
    steps.push(step);
    let Some(addresses) = addresses else { return Ok(steps) };
    let (step, connection) = connect(&addresses).await;
    steps.push(step);
    let Some(connection) = connection else { return Ok(steps) };
    steps.push(if server.scheme() == "https" {
        shake_hands(server, trust, connection).await?
    } else {
        Step::passed("tls", "not used: passwords and secrets travel in the clear")
    });
    if steps.iter().all(|step| step.ok) {
        steps.push(enroll(server, trust).await?);
    }
    Ok(steps)
}

async fn look_up(server: &Url) -> (Step, Option<Vec<SocketAddr>>) {
    let host = bare_host(server);
    let port = server.port_or_known_default().unwrap_or(443);
    let help = "check the name, and the DNS servers that this computer uses";
    let found = timeout(PATIENCE, lookup_host((host, port))).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            return (Step::failed("dns", format!("`{host}` is not known: {error}"), help), None);
        }
        Err(_) => return (Step::failed("dns", "no answer in time", help), None),
    };
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let detail = format!("{host} is {}", shown.join(", "));
    (Step::passed("dns", detail), Some(addresses))
}

async fn connect(addresses: &[SocketAddr]) -> (Step, Option<TcpStream>) {
    let mut tried = Vec::new();
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(connection)) => {
                return (Step::passed("tcp", format!("connected to {address}")), Some(connection));
            }
            Ok(Err(error)) => tried.push(format!("{address}: {error}")),
            Err(_) => tried.push(format!("{address}: no answer in time")),
        }
    }
    let help =
        "check that the server runs, the port, and firewalls in between; this check uses no proxy";
    (Step::failed("tcp", tried.join("; "), help), None)
}

async fn shake_hands(server: &Url, trust: &Trust, connection: TcpStream) -> anyhow::Result<Step> {
    let peer = connection.peer_addr()?;
    match handshake(server, trust, connection).await? {
        Ok(stream) => Ok(Step::passed("tls", protocol(&stream, trust))),
        Err(error) => {
            let mut detail = error.to_string();
            if let Some(shown) = shown_certificate(server, peer).await {
                detail = format!("{detail}; the server shows {shown}");
            }
            Ok(Step::failed("tls", detail, advice(&error)))
        }
    }
}

type Handshake = Result<TlsStream<TcpStream>, std::io::Error>;

async fn handshake(
    server: &Url,
    trust: &Trust,
    connection: TcpStream,
) -> anyhow::Result<Handshake> {
    let connector = TlsConnector::from(Arc::new(trust.client_config()?));
    let name = ServerName::try_from(bare_host(server).to_owned())?;
    let stream = timeout(PATIENCE, connector.connect(name, connection)).await;
    Ok(stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())))
}

/// What the server shows to somebody who believes everything.
async fn shown_certificate(server: &Url, peer: SocketAddr) -> Option<String> {
    let connection = timeout(PATIENCE, TcpStream::connect(peer)).await.ok()?.ok()?;
    let stream = handshake(server, &Trust::Insecure, connection).await.ok()?.ok()?;
    certificate(&stream)
}

fn protocol(stream: &TlsStream<TcpStream>, trust: &Trust) -> String {
    let (_, tls) = stream.get_ref();
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let believed = match trust {
        Trust::System => "trusted by this system",
        Trust::Pinned(_) => "trusted by the given certificate",
        Trust::Insecure => "NOT checked",
    };
    let certificate = certificate(stream).unwrap_or_else(|| "no certificate".to_owned());
    format!("{version}, {believed}: {certificate}")
}

/// Whom the server's certificate is for, who says so, and until when.
fn certificate(stream: &TlsStream<TcpStream>) -> Option<String> {
    let (_, tls) = stream.get_ref();
    let der = tls.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<_> =
        names.iter().flat_map(|names| &names.value.general_names).filter_map(name).collect();
    Some(format!(
        "a certificate for {} by `{}`, good from {} to {}",
        if names.is_empty() { certificate.subject().to_string() } else { names.join(", ") },
        certificate.issuer(),
        day(certificate.validity().not_before.timestamp()),
        day(certificate.validity().not_after.timestamp()),
    ))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only these name a server")]
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|it| std::net::Ipv4Addr::from(it).to_string()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|it| std::net::Ipv6Addr::from(it).to_string()),
        _ => None,
    }
}

fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn advice(error: &std::io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::InvalidCertificate(reason)) => certificate_advice(reason),
        Some(TlsError::InvalidMessage(_)) => {
            "the port speaks no TLS: check the port, or use http://"
        }
        Some(TlsError::AlertReceived(_) | TlsError::PeerIncompatible(_)) => {
            "the server must speak TLS 1.2 or 1.3; it may ask for a client certificate"
        }
        Some(_) | None => {
            "something closed the connection: a proxy or firewall may stand in between"
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the list of errors is open")]
fn certificate_advice(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the server's certificate, or set this computer's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "set this computer's clock, or the server's"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use a name that the certificate is for, or get one for this name"
        }
        _ => {
            "give the CA that signed it with --fleet-certificate PEM; a server must also send the certificates in between"
        }
    }
}

async fn enroll(server: &Url, trust: &Trust) -> anyhow::Result<Step> {
    let url = endpoint(server, &format!("{}/enroll", PREFIXES[0]));
    let body = json!({ "enroll_secret": BOGUS_SECRET, "host_identifier": "fleetctl" });
    let sent = http(trust)?
        .no_proxy()
        .timeout(PATIENCE)
        .build()?
        .post(url.clone())
        .json(&body)
        .send()
        .await;
    let help = if server.scheme() == "http" {
        "the port may speak TLS alone: try https://"
    } else {
        "something between here and the server ends the exchange: a proxy or firewall may stand there"
    };
    let reply = match sent {
        Ok(reply) => reply,
        Err(error) => {
            return Ok(Step::failed("enroll", format!("no answer: {}", causes(&error)), help));
        }
    };
    let status = reply.status().as_u16();
    let body = reply.bytes().await.unwrap_or_default();
    Ok(judge(&url, status, &body))
}

/// A server that agents can enroll with refuses a secret it has not made with 401 and
/// `{"error": "…", "node_invalid": true}`, and nothing else.
fn judge(url: &Url, status: u16, body: &[u8]) -> Step {
    let told = serde_json::from_slice::<AgentError>(body);
    match (status, told) {
        (401, Ok(AgentError { node_invalid: Some(true), .. })) => {
            Step::passed("enroll", format!("`{}` refuses a wrong secret as it must", url.path()))
        }
        (200..300, _) => Step::failed(
            "enroll",
            format!("status {status}: it accepts a secret that nobody made"),
            "this is no fleet-server; agents must not be given this URL",
        ),
        (300..=399, _) => Step::failed(
            "enroll",
            format!("status {status}: it leads elsewhere"),
            "give the server's own address: agents do not follow",
        ),
        (401, _) => Step::failed(
            "enroll",
            "status 401, but not in the form that osqueryd understands",
            "a proxy in front of the server asks for credentials; let /api/osquery and /api/fleet/orbit through",
        ),
        (404, _) => Step::failed(
            "enroll",
            format!("status 404: nothing at `{}`", url.path()),
            "check the URL's path; a proxy in front must pass /api/osquery and /api/fleet/orbit on",
        ),
        (429, _) => Step::failed("enroll", "status 429: too many tries", "wait a minute"),
        (status, _) => Step::failed(
            "enroll",
            format!("status {status}, where 401 is expected"),
            "look into the server's log",
        ),
    }
}

/// The host without the brackets of an IPv6 address.
fn bare_host(server: &Url) -> &str {
    server.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_refusal_passes() {
        let url = Url::parse("https://fleet/api/osquery/enroll").unwrap();
        let passes = |status, body: &str| judge(&url, status, body.as_bytes()).ok;
        assert!(passes(401, r#"{"error":"x","node_invalid":true}"#));
        for (status, body) in [
            (401, r#"{"error":"x","node_invalid":false}"#),
            (401, r#"{"error":"x"}"#),
            (401, r#"{"node_invalid":true}"#),
            (401, "no"),
            (403, r#"{"error":"x","node_invalid":true}"#),
            (200, r#"{"node_key":"k"}"#),
            (404, ""),
            (500, "{}"),
        ] {
            assert!(!passes(status, body), "{status} {body}");
        }
    }
}

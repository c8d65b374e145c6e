//! Where the server listens, with which certificate, and behind which proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use camino::Utf8PathBuf;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `listen:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Address and port; port 0 takes any free one.
    pub address: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)) }
    }
}

/// `tls:`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the server's certificate, then the chain up to, not including, the root.
    pub certificate: Utf8PathBuf,
    /// PEM: its private key.
    pub key: Utf8PathBuf,
    /// PEM: the authorities that clients' certificates come from. Without it none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<Utf8PathBuf>,
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// PEM: which of those certificates are revoked; one list for every authority in a chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<Utf8PathBuf>,
}

/// Whether whoever connects must show a certificate of [`Tls::client_ca`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// Everybody: agents, people, scripts.
    #[default]
    Required,
    /// Nobody; one that is shown is verified.
    Optional,
}

/// What a device's certificate has to do with its node keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceCertificates {
    /// The first that a key comes with is the one that it has to come with.
    #[default]
    FirstUse,
    /// Every key, and every enrollment, has to come with one made out for the device.
    Subject,
}

/// `server:`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxies {
    /// Networks whose `X-Forwarded-For` is believed, e.g. `10.0.0.0/8`. Naming one also allows
    /// plain HTTP from it.
    pub trusted_proxies: Vec<IpNet>,
    /// How people and agents reach the server, e.g. `https://fleet.example.com`, when that is not
    /// the address that it listens on.
    pub url: Option<url::Url>,
    /// The header in which trusted proxies tell the certificate that a client showed them, e.g.
    /// `Client-Cert` (RFC 9440). From anybody else it means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_header: Option<String>,
    pub device_certificates: DeviceCertificates,
}

impl Proxies {
    /// Whether `address` is one of the trusted proxies.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// Notes what contradicts itself about clients' certificates.
pub(super) fn check_certificates(tls: Option<&Tls>, proxies: &Proxies, problems: &mut Vec<String>) {
    let has_authority = tls.is_some_and(|tls| tls.client_ca.is_some());
    let header = proxies.client_certificate_header.as_deref();
    let is_name = |name: &str| name.parse::<axum::http::HeaderName>().is_ok();
    for (wrong, problem) in [
        (
            tls.is_some_and(|tls| tls.client_crl.is_some()) && !has_authority,
            "tls.client_crl: needs tls.client_ca with it",
        ),
        (
            header.is_some_and(|name| !is_name(name)),
            "server.client_certificate_header: must be the name of a header",
        ),
        (
            header.is_some() && proxies.trusted_proxies.is_empty(),
            "server.client_certificate_header: needs server.trusted_proxies, which alone are believed",
        ),
        (
            proxies.device_certificates == DeviceCertificates::Subject
                && !has_authority
                && header.is_none(),
            "server.device_certificates: `subject` needs tls.client_ca or server.client_certificate_header",
        ),
    ] {
        if wrong {
            problems.push(problem.to_owned());
        }
    }
}

/// Puts flags over the file. Either both halves are given or none.
pub(super) fn resolve_tls(
    file: Option<Tls>,
    certificate: Option<Utf8PathBuf>,
    key: Option<Utf8PathBuf>,
    problems: &mut Vec<String>,
) -> Option<Tls> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(Tls { certificate, key, ..file.unwrap_or_default() })
        }
        (None, None) => file,
        (Some(_), None) => {
            problems.push("--tls-certificate: needs --tls-key with it".to_owned());
            file
        }
        (None, Some(_)) => {
            problems.push("--tls-key: needs --tls-certificate with it".to_owned());
            file
        }
    }
}

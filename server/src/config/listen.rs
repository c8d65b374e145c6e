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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the server's certificate, then the chain up to, not including, the root.
    pub certificate: Utf8PathBuf,
    /// PEM: its private key.
    pub key: Utf8PathBuf,
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
}

impl Proxies {
    /// Whether `address` is one of the trusted proxies.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()))
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
        (Some(certificate), Some(key)) => Some(Tls { certificate, key }),
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

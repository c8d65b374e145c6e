//! What the user wants: a [`Draft`] as flags give it, and the [`PackageSpec`] that it becomes when
//! nothing in it contradicts itself.

mod check;
mod field;

use std::{fmt, num::NonZeroU16, time::Duration};

use bytes::Bytes;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use url::Url;
use wire::{
    AgentSettings, EnrollSecret, HostIdentifier,
    settings::{Channels, DEFAULT_UPDATE_INTERVAL},
};

pub use self::field::Field;

/// A package as asked for and not yet checked: a field a flag, contents of files instead of their
/// names. Turn it into a [`PackageSpec`] with `try_from`.
#[derive(Clone)]
pub struct Draft {
    /// URL or `host[:port]`. Goes together with `enroll_secret`.
    pub fleet_url: Option<String>,
    pub enroll_secret: Option<String>,
    /// Certificates to check the server's against, PEM.
    pub fleet_certificate: Option<Bytes>,
    /// Client certificate chain for the server, PEM. Goes together with `client_key`.
    pub client_certificate: Option<Bytes>,
    pub client_key: Option<Bytes>,
    /// Do not check the server's certificate.
    pub insecure: bool,
    pub update_url: Option<String>,
    /// TUF root metadata to trust, JSON.
    pub update_root: Option<Bytes>,
    /// The same three as above, for the update server.
    pub update_certificate: Option<Bytes>,
    pub update_client_certificate: Option<Bytes>,
    pub update_client_key: Option<Bytes>,
    pub update_interval: Duration,
    pub disable_updates: bool,
    pub channels: Channels,
    /// URL of a proxy for the agent and osqueryd.
    pub proxy: Option<String>,
    pub no_proxy: Option<String>,
    /// osqueryd's flagfile, as it is.
    pub osquery_flags: Option<Bytes>,
    /// Where osqueryd keeps its database on the device, an absolute path.
    pub osquery_db: Option<String>,
    pub host_identifier: HostIdentifier,
    pub end_user_email: Option<String>,
    pub enable_scripts: bool,
    pub disable_setup_experience: bool,
    pub disable_keystore: bool,
    pub device_key: bool,
    pub bypass_end_user_auth: bool,
    /// On a Mac, let a configuration profile tell server and enroll secret.
    pub use_system_configuration: bool,
    pub fleet_desktop: bool,
    pub browser_host: Option<String>,
    pub debug: bool,
    /// Enable and start the service.
    pub service: bool,
    /// Percent of one core that the agent and osqueryd may use together.
    pub cpu_quota: Option<u32>,
    /// Whose package it is: name and address, `Name <user@example.com>`.
    pub maintainer: String,
    /// Where to read about it, a URL.
    pub homepage: Option<String>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            fleet_url: None,
            enroll_secret: None,
            fleet_certificate: None,
            client_certificate: None,
            client_key: None,
            insecure: false,
            update_url: None,
            update_root: None,
            update_certificate: None,
            update_client_certificate: None,
            update_client_key: None,
            update_interval: DEFAULT_UPDATE_INTERVAL,
            disable_updates: false,
            channels: Channels::default(),
            proxy: None,
            no_proxy: None,
            osquery_flags: None,
            osquery_db: None,
            host_identifier: HostIdentifier::default(),
            end_user_email: None,
            enable_scripts: false,
            disable_setup_experience: false,
            disable_keystore: false,
            device_key: false,
            bypass_end_user_auth: false,
            use_system_configuration: false,
            fleet_desktop: false,
            browser_host: None,
            debug: false,
            service: true,
            cpu_quota: None,
            maintainer: DEFAULT_MAINTAINER.to_owned(),
            homepage: None,
        }
    }
}

/// Shows nothing but the server: secret and keys are in here as plain text.
impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("fleet_url", &self.fleet_url).finish_non_exhaustive()
    }
}

/// What to build, free of contradictions. There is no way to one but through a [`Draft`].
#[derive(Debug, Clone)]
pub struct PackageSpec {
    settings: AgentSettings,
    enroll_secret: Option<EnrollSecret>,
    trust: Trust,
    client_identity: Option<ClientIdentity>,
    updates: UpdateTrust,
    osquery_flags: Bytes,
    service: ServicePolicy,
    publisher: Publisher,
}

impl PackageSpec {
    /// What the agent is told. Has the server's URL exactly if there is an enroll secret, and is
    /// insecure exactly if the trust is.
    #[must_use]
    pub fn settings(&self) -> &AgentSettings {
        &self.settings
    }

    #[must_use]
    pub fn enroll_secret(&self) -> Option<&EnrollSecret> {
        self.enroll_secret.as_ref()
    }

    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What the agent shows to the server.
    #[must_use]
    pub fn client_identity(&self) -> Option<&ClientIdentity> {
        self.client_identity.as_ref()
    }

    #[must_use]
    pub fn updates(&self) -> &UpdateTrust {
        &self.updates
    }

    /// osqueryd's flagfile; empty when none was given.
    #[must_use]
    pub fn osquery_flags(&self) -> &Bytes {
        &self.osquery_flags
    }

    #[must_use]
    pub fn service(&self) -> &ServicePolicy {
        &self.service
    }

    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}

/// How the agent decides whether a server is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// By the system's certificate authorities.
    System,
    /// By these certificates alone.
    Pinned(CertificateChain),
    /// Not at all.
    Insecure,
}

/// Certificates in PEM; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateChain(Bytes);

impl CertificateChain {
    /// Takes `pem` if it holds certificates, every one of which can be decoded.
    pub fn from_pem(pem: Bytes) -> Result<Self, String> {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            certificate.map_err(|error| error.to_string())?;
            count += 1;
        }
        if count == 0 { Err("no certificate in it".into()) } else { Ok(Self(pem)) }
    }

    #[must_use]
    pub fn pem(&self) -> &Bytes {
        &self.0
    }
}

/// A private key in PEM. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Bytes);

impl PrivateKey {
    /// Takes `pem` if it holds an unencrypted PKCS#1, PKCS#8 or SEC1 key.
    pub fn from_pem(pem: Bytes) -> Result<Self, String> {
        let read = PrivateKeyDer::from_pem_slice(&pem);
        read.map_err(|error| {
            if matches!(error, rustls_pki_types::pem::Error::NoItemsFound) {
                "no unencrypted private key in it".to_owned()
            } else {
                error.to_string()
            }
        })?;
        Ok(Self(pem))
    }

    #[must_use]
    pub fn pem(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

/// What a client shows to a server that asks for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    pub certificate: CertificateChain,
    pub key: PrivateKey,
}

/// How the agent knows its updates and talks to the server that has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateTrust {
    /// TUF root metadata, JSON. None: what the agent has built in.
    pub root: Option<Bytes>,
    /// Certificates that the update server's is checked against. None: as for the server.
    pub certificate: Option<CertificateChain>,
    pub client_identity: Option<ClientIdentity>,
}

/// What becomes of the service when a package is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePolicy {
    /// Enable and start it; otherwise its unit is laid down and left to the administrator.
    pub start: bool,
    pub cpu_quota: Option<CpuQuota>,
}

/// Percent of one core, 1 to [`CpuQuota::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuQuota(NonZeroU16);

impl CpuQuota {
    /// A hundred cores.
    pub const MAX: u16 = 10_000;

    #[must_use]
    pub fn from_percent(percent: u32) -> Option<Self> {
        NonZeroU16::new(percent.try_into().ok()?)
            .filter(|percent| percent.get() <= Self::MAX)
            .map(Self)
    }

    #[must_use]
    pub fn percent(self) -> u16 {
        self.0.get()
    }
}

/// Whose packages these are unless a draft says so.
pub const DEFAULT_MAINTAINER: &str = "The fleetd authors <maintainers@fleetd.example>";

/// Whose package it is: the organization that built it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    maintainer: String,
    homepage: Option<Url>,
}

impl Publisher {
    /// Takes a maintainer as Debian Policy 5.6.2 has it, `Name <user@example.com>`, on one line.
    pub fn new(maintainer: String, homepage: Option<Url>) -> Result<Self, &'static str> {
        let form = "it is not of the form `Name <user@example.com>`";
        let (name, rest) = maintainer.split_once(" <").ok_or(form)?;
        let (user, host) = rest.strip_suffix('>').and_then(|it| it.split_once('@')).ok_or(form)?;
        let plain = |part: &str| {
            !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "<>,@".contains(c))
        };
        if name.trim() != name || name.is_empty() || name.contains(['<', '>', ',', '@']) {
            return Err("its name is empty or has one of < > , @ in it");
        }
        if maintainer.chars().any(char::is_control) || !plain(user) || !plain(host) {
            return Err(form);
        }
        Ok(Self { maintainer, homepage })
    }

    /// Name and address.
    #[must_use]
    pub fn maintainer(&self) -> &str {
        &self.maintainer
    }

    /// The name alone.
    #[must_use]
    pub fn vendor(&self) -> &str {
        self.maintainer.split_once(" <").map_or(&self.maintainer, |(name, _)| name)
    }

    #[must_use]
    pub fn homepage(&self) -> Option<&Url> {
        self.homepage.as_ref()
    }
}

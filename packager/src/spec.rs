//! What the user wants: a [`Draft`] as flags give it, and the [`PackageSpec`] that it becomes when
//! nothing in it contradicts itself.

use std::{fmt, num::NonZeroU16, time::Duration};

use bytes::Bytes;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use url::Url;
use wire::{
    AgentSettings, EnrollSecret, HostIdentifier,
    settings::{Channels, DEFAULT_UPDATE_INTERVAL, server_url},
};

use crate::error::{SpecError, SpecErrors};

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
    pub bypass_end_user_auth: bool,
    pub fleet_desktop: bool,
    pub browser_host: Option<String>,
    pub debug: bool,
    /// Enable and start the service.
    pub service: bool,
    /// Percent of one core that the agent and osqueryd may use together.
    pub cpu_quota: Option<u16>,
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
            bypass_end_user_auth: false,
            fleet_desktop: false,
            browser_host: None,
            debug: false,
            service: true,
            cpu_quota: None,
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
    pub fn from_percent(percent: u16) -> Option<Self> {
        NonZeroU16::new(percent).filter(|percent| percent.get() <= Self::MAX).map(Self)
    }

    #[must_use]
    pub fn percent(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<Draft> for PackageSpec {
    type Error = SpecErrors;

    /// Checks everything, so that one run shows all that is wrong.
    fn try_from(draft: Draft) -> Result<Self, SpecErrors> {
        let mut check = Check::default();
        let fleet_url = check.url("Fleet URL", draft.fleet_url.as_deref(), server_url);
        let update_url = check.url("update URL", draft.update_url.as_deref(), web_url);
        let proxy = check.url("proxy URL", draft.proxy.as_deref(), proxy_url);
        check.enrollment(draft.fleet_url.is_some(), draft.enroll_secret.is_some());
        check.insecurity(&draft);
        check.texts(&draft);
        let spec = Self {
            enroll_secret: check.secret(draft.enroll_secret),
            trust: check.trust(draft.fleet_certificate, draft.insecure),
            client_identity: check.identity("client", draft.client_certificate, draft.client_key),
            updates: UpdateTrust {
                root: check.json("update root", draft.update_root),
                certificate: check.certificates("update server", draft.update_certificate),
                client_identity: check.identity(
                    "update client",
                    draft.update_client_certificate,
                    draft.update_client_key,
                ),
            },
            osquery_flags: draft.osquery_flags.unwrap_or_default(),
            service: ServicePolicy {
                start: draft.service,
                cpu_quota: check.cpu_quota(draft.cpu_quota),
            },
            settings: AgentSettings {
                fleet_url,
                insecure: draft.insecure,
                debug: draft.debug,
                host_identifier: draft.host_identifier,
                osquery_db: draft.osquery_db,
                end_user_email: draft.end_user_email,
                enable_scripts: draft.enable_scripts,
                disable_setup_experience: draft.disable_setup_experience,
                bypass_end_user_auth: draft.bypass_end_user_auth,
                fleet_desktop: draft.fleet_desktop,
                browser_host: draft.browser_host,
                update_url,
                update_interval: draft.update_interval,
                disable_updates: draft.disable_updates,
                channels: draft.channels,
                proxy,
                no_proxy: draft.no_proxy,
            },
        };
        if check.errors.is_empty() { Ok(spec) } else { Err(SpecErrors(check.errors)) }
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Check {
    errors: Vec<SpecError>,
}

impl Check {
    fn ok<T>(&mut self, result: Result<T, SpecError>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    fn url(
        &mut self,
        what: &'static str,
        text: Option<&str>,
        parse: fn(&str) -> Result<Url, String>,
    ) -> Option<Url> {
        self.ok(parse(text?).map_err(|reason| SpecError::Url { what, reason }))
    }

    fn enrollment(&mut self, has_url: bool, has_secret: bool) {
        match (has_url, has_secret) {
            (true, false) => self.errors.push(SpecError::UrlWithoutSecret),
            (false, true) => self.errors.push(SpecError::SecretWithoutUrl),
            (true, true) | (false, false) => {}
        }
    }

    fn insecurity(&mut self, draft: &Draft) {
        let certificates = [
            ("server certificate", &draft.fleet_certificate),
            ("update server certificate", &draft.update_certificate),
        ];
        if draft.insecure {
            let given = certificates.into_iter().filter(|(_, pem)| pem.is_some());
            self.errors.extend(given.map(|(what, _)| SpecError::InsecureWith { what }));
        }
    }

    /// Values that end up as lines of the environment file or of a flagfile.
    fn texts(&mut self, draft: &Draft) {
        let texts = [
            ("no-proxy list", draft.no_proxy.as_deref()),
            ("end user email", draft.end_user_email.as_deref()),
            ("browser host", draft.browser_host.as_deref()),
            ("osquery database", draft.osquery_db.as_deref()),
            ("orbit channel", Some(&draft.channels.orbit)),
            ("osqueryd channel", Some(&draft.channels.osqueryd)),
            ("desktop channel", Some(&draft.channels.desktop)),
        ];
        for (what, text) in texts.into_iter().filter_map(|(what, text)| Some((what, text?))) {
            let reason = if text.is_empty() {
                "it is empty"
            } else if text.chars().any(char::is_control) {
                "it contains a control character"
            } else {
                continue;
            };
            self.errors.push(SpecError::Text { what, reason });
        }
        if draft.osquery_db.as_deref().is_some_and(|path| !path.starts_with('/')) {
            let reason = "it is not an absolute path";
            self.errors.push(SpecError::Text { what: "osquery database", reason });
        }
        if draft.update_interval.is_zero() || draft.update_interval.subsec_nanos() != 0 {
            let reason = "it is not a number of seconds above zero";
            self.errors.push(SpecError::Text { what: "update interval", reason });
        }
    }

    fn secret(&mut self, text: Option<String>) -> Option<EnrollSecret> {
        self.ok(EnrollSecret::new(text?).map_err(SpecError::Secret))
    }

    fn trust(&mut self, pem: Option<Bytes>, insecure: bool) -> Trust {
        if insecure {
            return Trust::Insecure;
        }
        self.certificates("server", pem).map_or(Trust::System, Trust::Pinned)
    }

    fn certificates(&mut self, of: &'static str, pem: Option<Bytes>) -> Option<CertificateChain> {
        let read = CertificateChain::from_pem(pem?);
        self.ok(read.map_err(|reason| SpecError::Certificate { of, reason }))
    }

    fn identity(
        &mut self,
        of: &'static str,
        certificate: Option<Bytes>,
        key: Option<Bytes>,
    ) -> Option<ClientIdentity> {
        match (certificate.is_some(), key.is_some()) {
            (true, false) => self.errors.push(SpecError::CertificateWithoutKey { of }),
            (false, true) => self.errors.push(SpecError::KeyWithoutCertificate { of }),
            (true, true) | (false, false) => {}
        }
        let certificate = self.certificates(of, certificate);
        let key = key.and_then(|pem| {
            let read = PrivateKey::from_pem(pem);
            self.ok(read.map_err(|reason| SpecError::Key { of, reason }))
        });
        Some(ClientIdentity { certificate: certificate?, key: key? })
    }

    fn json(&mut self, what: &'static str, bytes: Option<Bytes>) -> Option<Bytes> {
        let bytes = bytes?;
        let read = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes);
        self.ok(read.map_err(|error| SpecError::Json { what, reason: error.to_string() }))?;
        Some(bytes)
    }

    fn cpu_quota(&mut self, percent: Option<u16>) -> Option<CpuQuota> {
        let percent = percent?;
        self.ok(CpuQuota::from_percent(percent).ok_or(SpecError::CpuQuota { percent }))
    }
}

fn web_url(text: &str) -> Result<Url, String> {
    url_with_scheme(text, &["https", "http"])
}

/// The proxies that both the agent and osqueryd can use.
fn proxy_url(text: &str) -> Result<Url, String> {
    url_with_scheme(text, &["http"])
}

fn url_with_scheme(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("its scheme is `{}`, not {}", url.scheme(), schemes.join(" or ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it names no host".into());
    }
    Ok(url)
}

//! From draft to spec: everything is checked, so that one run shows all that is wrong.

use bytes::Bytes;
use url::Url;
use wire::{AgentSettings, EnrollSecret, settings::server_url};

use super::{
    CertificateChain, ClientIdentity, CpuQuota, Draft, PackageSpec, PrivateKey, ServicePolicy,
    Trust, UpdateTrust,
};
use crate::error::{SpecError, SpecErrors};

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

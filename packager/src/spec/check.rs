//! From draft to spec: everything is checked, so that one run shows all that is wrong.

use bytes::Bytes;
use url::Url;
use wire::{AgentSettings, EnrollSecret, settings::server_url};

use super::{
    CertificateChain, ClientIdentity, CpuQuota, DEFAULT_MAINTAINER, Draft, Field, PackageSpec,
    PrivateKey, Publisher, ServicePolicy, Trust, UpdateTrust,
};
use crate::{
    error::{SpecError, SpecErrors},
    payload::Os,
};

impl TryFrom<Draft> for PackageSpec {
    type Error = SpecErrors;

    /// Checks everything, so that one run shows all that is wrong.
    fn try_from(draft: Draft) -> Result<Self, SpecErrors> {
        let mut check = Check::default();
        let fleet_url = check.url(Field::FleetUrl, draft.fleet_url.as_deref(), server_url);
        let update_url = check.url(Field::UpdateUrl, draft.update_url.as_deref(), web_url);
        let proxy = check.url(Field::Proxy, draft.proxy.as_deref(), proxy_url);
        let homepage = check.url(Field::Homepage, draft.homepage.as_deref(), web_url);
        let pair = [draft.fleet_url.is_some(), draft.enroll_secret.is_some()];
        check.together([Field::FleetUrl, Field::EnrollSecret], pair);
        check.insecurity(&draft);
        check.texts(&draft);
        let spec = Self {
            enroll_secret: check.secret(draft.enroll_secret),
            trust: check.trust(draft.fleet_certificate, draft.insecure),
            client_identity: check.identity(
                [Field::ClientCertificate, Field::ClientKey],
                draft.client_certificate,
                draft.client_key,
            ),
            updates: UpdateTrust {
                root: check.json(Field::UpdateRoot, draft.update_root),
                certificate: check.certificates(Field::UpdateCertificate, draft.update_certificate),
                client_identity: check.identity(
                    [Field::UpdateClientCertificate, Field::UpdateClientKey],
                    draft.update_client_certificate,
                    draft.update_client_key,
                ),
            },
            publisher: check.publisher(draft.maintainer, homepage),
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
                disable_keystore: draft.disable_keystore,
                device_key: draft.device_key,
                bypass_end_user_auth: draft.bypass_end_user_auth,
                use_system_configuration: draft.use_system_configuration,
                fleet_desktop: draft.fleet_desktop,
                browser_host: draft.browser_host,
                update_url,
                update_interval: draft.update_interval,
                update_rate: None,
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

    /// Notes what a field cannot be used for.
    fn usable<T>(&mut self, field: Field, result: Result<T, impl ToString>) -> Option<T> {
        self.ok(result.map_err(|reason| SpecError::Unusable { field, reason: reason.to_string() }))
    }

    fn url(
        &mut self,
        field: Field,
        text: Option<&str>,
        parse: fn(&str) -> Result<Url, String>,
    ) -> Option<Url> {
        self.usable(field, parse(text?))
    }

    /// Two fields, of which neither is any good without the other.
    fn together(&mut self, [one, other]: [Field; 2], given: [bool; 2]) {
        match given {
            [true, false] => self.errors.push(SpecError::Alone { field: one, with: other }),
            [false, true] => self.errors.push(SpecError::Alone { field: other, with: one }),
            [true, true] | [false, false] => {}
        }
    }

    fn insecurity(&mut self, draft: &Draft) {
        let certificates = [
            (Field::FleetCertificate, &draft.fleet_certificate),
            (Field::UpdateCertificate, &draft.update_certificate),
        ];
        if draft.insecure {
            let given = certificates.into_iter().filter(|(_, pem)| pem.is_some());
            self.errors.extend(given.map(|(field, _)| SpecError::Insecure { field }));
        }
    }

    /// Values that end up as lines of the environment file or of a flagfile.
    fn texts(&mut self, draft: &Draft) {
        let texts = [
            (Field::NoProxy, draft.no_proxy.as_deref()),
            (Field::EndUserEmail, draft.end_user_email.as_deref()),
            (Field::BrowserHost, draft.browser_host.as_deref()),
            (Field::OsqueryDb, draft.osquery_db.as_deref()),
            (Field::OrbitChannel, Some(&draft.channels.orbit)),
            (Field::OsquerydChannel, Some(&draft.channels.osqueryd)),
            (Field::DesktopChannel, Some(&draft.channels.desktop)),
        ];
        for (field, text) in texts.into_iter().filter_map(|(field, text)| Some((field, text?))) {
            self.usable(field, line(text));
        }
        if draft.osquery_db.as_deref().is_some_and(|path| !is_absolute(path)) {
            self.usable::<()>(Field::OsqueryDb, Err("it is not an absolute path"));
        }
        if draft.update_interval.is_zero() || draft.update_interval.subsec_nanos() != 0 {
            let reason = "it is not a number of seconds above zero";
            self.usable::<()>(Field::UpdateInterval, Err(reason));
        }
    }

    fn secret(&mut self, text: Option<String>) -> Option<EnrollSecret> {
        self.usable(Field::EnrollSecret, EnrollSecret::new(text?))
    }

    fn trust(&mut self, pem: Option<Bytes>, insecure: bool) -> Trust {
        if insecure {
            return Trust::Insecure;
        }
        self.certificates(Field::FleetCertificate, pem).map_or(Trust::System, Trust::Pinned)
    }

    fn certificates(&mut self, field: Field, pem: Option<Bytes>) -> Option<CertificateChain> {
        self.usable(field, CertificateChain::from_pem(pem?))
    }

    fn identity(
        &mut self,
        [certificate_field, key_field]: [Field; 2],
        certificate: Option<Bytes>,
        key: Option<Bytes>,
    ) -> Option<ClientIdentity> {
        self.together([certificate_field, key_field], [certificate.is_some(), key.is_some()]);
        let certificate = self.certificates(certificate_field, certificate);
        let key = key.and_then(|pem| self.usable(key_field, PrivateKey::from_pem(pem)));
        Some(ClientIdentity { certificate: certificate?, key: key? })
    }

    fn json(&mut self, field: Field, bytes: Option<Bytes>) -> Option<Bytes> {
        let bytes = bytes?;
        let read = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes);
        self.usable(field, read.map_err(|error| format!("it is not JSON: {error}")))?;
        Some(bytes)
    }

    fn cpu_quota(&mut self, percent: Option<u32>) -> Option<CpuQuota> {
        let percent = percent?;
        let quota = CpuQuota::from_percent(percent);
        let reason = || format!("{percent} % is not within 1 % and {} %", CpuQuota::MAX);
        self.usable(Field::CpuQuota, quota.ok_or_else(reason))
    }

    /// One that stands in if there is none: then there are errors, and no spec.
    fn publisher(&mut self, maintainer: String, homepage: Option<Url>) -> Publisher {
        let fallback = || Publisher::new(DEFAULT_MAINTAINER.to_owned(), None);
        self.usable(Field::Maintainer, Publisher::new(maintainer, homepage))
            .unwrap_or_else(|| fallback().expect("the default is a good one"))
    }
}

/// Whether `text` can be a value on one line.
fn line(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("it is empty")
    } else if text.chars().any(char::is_control) {
        Err("it contains a control character")
    } else {
        Ok(())
    }
}

/// Whether `path` is absolute on some system; a layout knows on which it must be.
fn is_absolute(path: &str) -> bool {
    [Os::Linux, Os::Macos, Os::Windows].into_iter().any(|os| os.is_absolute(path))
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

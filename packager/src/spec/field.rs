//! What a draft is made of, for errors: who took it from flags can name the flag.

use std::fmt;

/// A field of a [`Draft`](crate::Draft).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    FleetUrl,
    EnrollSecret,
    FleetCertificate,
    ClientCertificate,
    ClientKey,
    Insecure,
    UpdateUrl,
    UpdateRoot,
    UpdateCertificate,
    UpdateClientCertificate,
    UpdateClientKey,
    UpdateInterval,
    OrbitChannel,
    OsquerydChannel,
    DesktopChannel,
    Proxy,
    NoProxy,
    OsqueryDb,
    EndUserEmail,
    BrowserHost,
    CpuQuota,
    Maintainer,
    Homepage,
}

/// In words, without article.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FleetUrl => "Fleet URL",
            Self::EnrollSecret => "enroll secret",
            Self::FleetCertificate => "server certificate",
            Self::ClientCertificate => "client certificate",
            Self::ClientKey => "client key",
            Self::Insecure => "insecure",
            Self::UpdateUrl => "update URL",
            Self::UpdateRoot => "update root",
            Self::UpdateCertificate => "update server certificate",
            Self::UpdateClientCertificate => "update client certificate",
            Self::UpdateClientKey => "update client key",
            Self::UpdateInterval => "update interval",
            Self::OrbitChannel => "orbit channel",
            Self::OsquerydChannel => "osqueryd channel",
            Self::DesktopChannel => "desktop channel",
            Self::Proxy => "proxy URL",
            Self::NoProxy => "no-proxy list",
            Self::OsqueryDb => "osquery database",
            Self::EndUserEmail => "end user email",
            Self::BrowserHost => "browser host",
            Self::CpuQuota => "CPU quota",
            Self::Maintainer => "maintainer",
            Self::Homepage => "homepage",
        })
    }
}

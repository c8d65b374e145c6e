//! What is wrong with a draft, in the words of the command line: the flag, and the file it names.

use std::path::Path;

use packager::{SpecError, spec::Field};

use super::args::PackageArgs;

/// `error` as who typed `args` understands it. Values are not repeated: they may be secret.
pub(super) fn told(error: &SpecError, args: &PackageArgs) -> String {
    match error {
        SpecError::Unusable { field, reason } => match file(*field, args) {
            Some(path) => format!("{} `{}` cannot be used: {reason}", flag(*field), path.display()),
            None => format!("{} cannot be used: {reason}", flag(*field)),
        },
        SpecError::Alone { field, with } => {
            format!("{} goes together with {}, which is missing", flag(*field), flag(*with))
        }
        SpecError::Insecure { field } => {
            format!("{} and --insecure contradict each other", flag(*field))
        }
        SpecError::UnknownArch { .. } | SpecError::Compression { .. } | _ => error.to_string(),
    }
}

fn flag(field: Field) -> &'static str {
    match field {
        Field::FleetUrl => "--fleet-url",
        Field::EnrollSecret => "the enroll secret",
        Field::FleetCertificate => "--fleet-certificate",
        Field::ClientCertificate => "--fleet-tls-client-certificate",
        Field::ClientKey => "--fleet-tls-client-key",
        Field::Insecure => "--insecure",
        Field::UpdateUrl => "--update-url",
        Field::UpdateRoot => "--update-roots",
        Field::UpdateCertificate => "--update-tls-certificate",
        Field::UpdateClientCertificate => "--update-tls-client-certificate",
        Field::UpdateClientKey => "--update-tls-client-key",
        Field::UpdateInterval => "--update-interval",
        Field::OrbitChannel => "--orbit-channel",
        Field::OsquerydChannel => "--osqueryd-channel",
        Field::DesktopChannel => "--desktop-channel",
        Field::Proxy => "--proxy",
        Field::NoProxy => "--no-proxy",
        Field::OsqueryDb => "--osquery-db",
        Field::EndUserEmail => "--end-user-email",
        Field::BrowserHost => "--fleet-desktop-alternative-browser-host",
        Field::CpuQuota => "--cpu-quota",
        Field::Maintainer => "--maintainer",
        Field::Homepage => "--homepage",
    }
}

/// The file that a field's contents came from.
fn file(field: Field, args: &PackageArgs) -> Option<&Path> {
    let (server, update) = (&args.server, &args.update);
    let path = match field {
        Field::FleetCertificate => &server.fleet_certificate,
        Field::ClientCertificate => &server.fleet_tls_client_certificate,
        Field::ClientKey => &server.fleet_tls_client_key,
        Field::UpdateCertificate => &update.update_tls_certificate,
        Field::UpdateClientCertificate => &update.update_tls_client_certificate,
        Field::UpdateClientKey => &update.update_tls_client_key,
        Field::FleetUrl
        | Field::EnrollSecret
        | Field::Insecure
        | Field::UpdateUrl
        | Field::UpdateRoot
        | Field::UpdateInterval
        | Field::OrbitChannel
        | Field::OsquerydChannel
        | Field::DesktopChannel
        | Field::Proxy
        | Field::NoProxy
        | Field::OsqueryDb
        | Field::EndUserEmail
        | Field::BrowserHost
        | Field::CpuQuota
        | Field::Maintainer
        | Field::Homepage => return None,
    };
    path.as_deref()
}

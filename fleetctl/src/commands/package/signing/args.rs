//! The flags of `fleetctl package` about certificates.

use std::path::{Path, PathBuf};

use clap::Args;
use packager::ComponentKind;
use wire::api::Hidden;

use crate::prompt::hidden;

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Code signing")]
pub(crate) struct CodeArgs {
    /// Certificate to sign packages of type msi and their programs with, and its chain: PEM, or
    /// PKCS #12 with the key
    #[arg(long, value_name = "FILE")]
    pub windows_certificate: Option<PathBuf>,
    /// Its private key in PEM, if that is not in the same file; or exec:PROGRAM, or pkcs11:KEY
    #[arg(long, value_name = "KEY")]
    pub windows_key: Option<PathBuf>,
    /// File with the key's passphrase on its first line, /dev/fd/3 for example
    #[arg(long, value_name = "FILE")]
    pub windows_passphrase_file: Option<PathBuf>,
    /// Certificate "Developer ID Application" to sign programs and bundles in packages of type pkg with, and
    /// its chain: PEM, or PKCS #12 with the key
    #[arg(long, value_name = "FILE")]
    pub macos_certificate: Option<PathBuf>,
    /// Its private key in PEM, if that is not in the same file; or exec:PROGRAM, or pkcs11:KEY
    #[arg(long, value_name = "KEY")]
    pub macos_key: Option<PathBuf>,
    /// File with the key's passphrase on its first line
    #[arg(long, value_name = "FILE")]
    pub macos_passphrase_file: Option<PathBuf>,
    /// Property list of what orbit may do on macOS (entitlements), in place of those that it carries
    #[arg(long, value_name = "FILE")]
    pub macos_orbit_entitlements: Option<PathBuf>,
    /// The same for osqueryd
    #[arg(long, value_name = "FILE")]
    pub macos_osqueryd_entitlements: Option<PathBuf>,
    /// The same for Fleet Desktop
    #[arg(long, value_name = "FILE")]
    pub macos_desktop_entitlements: Option<PathBuf>,
    /// Certificate "Developer ID Installer" to sign packages of type pkg with, and its chain: PEM, or
    /// PKCS #12 with the key
    #[arg(long, value_name = "FILE")]
    pub macos_installer_certificate: Option<PathBuf>,
    /// Its private key in PEM, if that is not in the same file; or exec:PROGRAM, or pkcs11:KEY
    #[arg(long, value_name = "KEY")]
    pub macos_installer_key: Option<PathBuf>,
    /// File with the key's passphrase on its first line
    #[arg(long, value_name = "FILE")]
    pub macos_installer_passphrase_file: Option<PathBuf>,
    /// The same certificate and key as PEM text, as Fleet has it; better given by the variable
    #[arg(long, value_name = "PEM", env = "FLEETCTL_MACOS_DEVID_PEM_CONTENT", hide_env_values = true, value_parser = hidden)]
    pub macos_devid_pem_content: Option<Hidden>,
    /// Program that signs with a key of its own, in a cloud for example; or pkcs11:KEY
    #[arg(long, value_name = "PROGRAM")]
    pub sign_command: Option<PathBuf>,
    /// Authority that says when something was signed (RFC 3161), so that it stays valid
    #[arg(long, value_name = "URL")]
    pub timestamp_url: Option<String>,
}

impl CodeArgs {
    /// The flag for entitlements of a component, and its value.
    pub(super) fn entitlements(&self, kind: ComponentKind) -> (&'static str, Option<&Path>) {
        let (flag, value) = match kind {
            ComponentKind::Orbit => ("--macos-orbit-entitlements", &self.macos_orbit_entitlements),
            ComponentKind::Osqueryd => {
                ("--macos-osqueryd-entitlements", &self.macos_osqueryd_entitlements)
            }
            ComponentKind::Desktop => {
                ("--macos-desktop-entitlements", &self.macos_desktop_entitlements)
            }
        };
        (flag, value.as_deref())
    }

    /// Whether there is a certificate to sign with.
    pub(super) fn signs(&self) -> bool {
        self.windows_certificate.is_some()
            || self.macos_certificate.is_some()
            || self.macos_installer_certificate.is_some()
            || self.macos_devid_pem_content.is_some()
    }
}

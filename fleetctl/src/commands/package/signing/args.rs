//! The flags of `fleetctl package` about certificates.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Code signing")]
pub(crate) struct CodeArgs {
    /// Certificate to sign packages of type msi and their programs with, and its chain: PEM, or
    /// PKCS #12 with the key
    #[arg(long, value_name = "FILE")]
    pub windows_certificate: Option<PathBuf>,
    /// Its private key in PEM, if that is not in the same file
    #[arg(long, value_name = "FILE")]
    pub windows_key: Option<PathBuf>,
    /// File with the key's passphrase on its first line, /dev/fd/3 for example
    #[arg(long, value_name = "FILE")]
    pub windows_passphrase_file: Option<PathBuf>,
    /// Program that signs with a key of its own, in a cloud for example
    #[arg(long, value_name = "PROGRAM")]
    pub sign_command: Option<PathBuf>,
    /// Authority that says when something was signed (RFC 3161), so that it stays valid
    #[arg(long, value_name = "URL")]
    pub timestamp_url: Option<String>,
}

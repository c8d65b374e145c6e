//! The flags of `fleetctl package`, as they come: nothing here is checked against anything else.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, builder::BoolishValueParser};

use packager::spec::DEFAULT_MAINTAINER;
use wire::api::Hidden;

use super::{
    diff::DiffArgs,
    inspect::InspectArgs,
    notarize::{NotarizeArgs, NotaryArgs},
    signing::CodeArgs,
    verify::VerifyArgs,
};
use crate::{flags::Output, openpgp::OpenPgpArgs, prompt::hidden};

const AFTER_HELP: &str = "\
An enroll secret on the command line can be seen by others on this computer while the command runs,
and stays in the shell's history: prefer --enroll-secret-file or FLEET_ENROLL_SECRET.

Every switch takes a value as well, as in Fleet: --debug=true, --service=false.

Environment:
  FLEET_ENROLL_SECRET  Enroll secret, unless a flag gives one
  SOURCE_DATE_EPOCH    Date of everything in the package, in seconds since 1970;
                       the date of the newest component unless set
  FLEETCTL_OPENPGP_KEY         Secret key to sign deb and rpm with, armored,
                               unless --openpgp-key names a file
  FLEETCTL_OPENPGP_PASSPHRASE  Passphrase of the key; asked for unless given
  FLEETCTL_APP_STORE_CONNECT_API_KEY_ID, _ISSUER, _CONTENT
                               Key for --notarize, unless flags name it
  FLEETCTL_WINDOWS_PASSPHRASE, FLEETCTL_MACOS_PASSPHRASE,
  FLEETCTL_MACOS_INSTALLER_PASSPHRASE
                               Passphrases of the keys that sign msi and pkg, if no
                               file has them; else they are asked for

Examples:
  fleetctl package --type deb,rpm --components ./bin \\
      --fleet-url https://fleet.example.com --enroll-secret-file secret.txt
  fleetctl package --type deb --arch amd64,arm64 --out-dir dist \\
      --update-url https://updates.example.com --update-roots root.json \\
      --fleet-url https://fleet.example.com --enroll-secret-file - < secret.txt
  fleetctl package --type msi,pkg --components ./bin --out-dir dist \\
      --fleet-url https://fleet.example.com --enroll-secret-file secret.txt
  fleetctl package --type deb,rpm --components ./bin --openpgp-key key.asc \\
      --fleet-url https://fleet.example.com --enroll-secret-file secret.txt
  fleetctl package --type msi --components ./bin --windows-certificate code.pfx \\
      --timestamp-url http://timestamp.example.com \\
      --fleet-url https://fleet.example.com --enroll-secret-file secret.txt
  fleetctl package --type rpm --components ./bin --dry-run
  fleetctl package --spec fleet-package.toml --out-dir dist";

/// Builds installers of the agent
///
/// Each file made carries the server's URL and the enroll secret, and is readable by its owner
/// alone. The same inputs give the same bytes.
#[derive(Debug, Args)]
#[command(
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct PackageArgs {
    #[command(subcommand)]
    pub command: Option<PackageCommand>,
    /// Kind of installer: deb, rpm, msi, pkg; several are separated by commas or given one by one
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_delimiter = ',',
        required_unless_present = "spec"
    )]
    pub types: Vec<String>,
    /// Architecture: amd64, arm64; several as with --type. A pkg is always for both
    #[arg(long = "arch", value_name = "ARCH", value_delimiter = ',', default_value = "amd64")]
    pub archs: Vec<String>,
    /// File with flags, or with several sets of them, in TOML; a flag given here wins over it
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub agent: AgentArgs,
    #[command(flatten)]
    pub update: UpdateArgs,
    #[command(flatten)]
    pub macos: MacosArgs,
    #[command(flatten, next_help_heading = "Signing (deb, rpm)")]
    pub openpgp: OpenPgpArgs,
    #[command(flatten)]
    pub code: CodeArgs,
    /// Have packages of type pkg notarized by Apple
    #[arg(long, help_heading = "Notarization (pkg)", value_parser = BoolishValueParser::new())]
    pub notarize: bool,
    #[command(flatten)]
    pub notary: NotaryArgs,
    #[command(flatten)]
    pub artifact: ArtifactArgs,
    #[command(flatten)]
    pub refused: RefusedArgs,
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with packages that are there.
#[derive(Debug, Subcommand)]
pub(crate) enum PackageCommand {
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Diff(DiffArgs),
    Notarize(Box<NotarizeArgs>),
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Server's address, a URL or host:port; goes together with an enroll secret
    #[arg(long, value_name = "URL")]
    pub fleet_url: Option<String>,
    /// Enroll secret; see the warning below
    #[arg(long, value_name = "SECRET", value_parser = hidden)]
    pub enroll_secret: Option<Hidden>,
    /// File with the enroll secret on its only line; - for standard input
    #[arg(long, value_name = "FILE")]
    pub enroll_secret_file: Option<PathBuf>,
    /// PEM file of the CA (or certificate) of the server, instead of the device's own
    #[arg(long, value_name = "PEM")]
    pub fleet_certificate: Option<PathBuf>,
    /// Certificate that the agent shows to the server
    #[arg(long, value_name = "PEM")]
    pub fleet_tls_client_certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "PEM")]
    pub fleet_tls_client_key: Option<PathBuf>,
    /// Accept any certificate, of the server and of the update server
    #[arg(long)]
    pub insecure: bool,
    /// Proxy for the agent and osqueryd
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// What is reached without the proxy, e.g. localhost,.example.com
    #[arg(long, value_name = "LIST")]
    pub no_proxy: Option<String>,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Agent")]
pub(crate) struct AgentArgs {
    /// Enable and start the service when the package is installed
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub service: bool,
    /// How a device is named: uuid or instance
    #[arg(
        long,
        value_name = "KIND",
        default_value = "uuid",
        env = "FLEETCTL_HOST_IDENTIFIER",
        hide_env_values = true
    )]
    pub host_identifier: String,
    /// Allow scripts to be run
    #[arg(long, env = "FLEETCTL_ENABLE_SCRIPTS", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub enable_scripts: bool,
    /// Include the tray application
    #[arg(long)]
    pub fleet_desktop: bool,
    /// Host, with or without port, for links that the tray application opens
    #[arg(long, value_name = "HOST")]
    pub fleet_desktop_alternative_browser_host: Option<String>,
    /// Who uses the device
    #[arg(long, value_name = "EMAIL", env = "FLEETCTL_END_USER_EMAIL", hide_env_values = true)]
    pub end_user_email: Option<String>,
    /// Skip the setup experience
    #[arg(long)]
    pub disable_setup_experience: bool,
    /// Keep the agent's secrets in files for the system alone, not in its keystore
    #[arg(long, env = "FLEETCTL_DISABLE_KEYSTORE", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub disable_keystore: bool,
    /// Have devices enroll with a key pair of their own, and sign every request with it
    #[arg(long, env = "FLEETCTL_DEVICE_KEY", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub device_key: bool,
    /// Skip the end user's sign-in at enrollment
    #[arg(long)]
    pub bypass_end_user_auth: bool,
    /// Flagfile for osqueryd
    #[arg(long, value_name = "FILE")]
    pub osquery_flagfile: Option<PathBuf>,
    /// Where osqueryd keeps its database, an absolute path
    #[arg(long, value_name = "PATH", env = "FLEETCTL_OSQUERY_DB", hide_env_values = true)]
    pub osquery_db: Option<String>,
    /// Leave osqueryd out
    #[arg(long)]
    pub without_osqueryd: bool,
    /// Percent of one core that the agent and osqueryd may use together; any unless given
    #[arg(long, value_name = "PERCENT")]
    pub cpu_quota: Option<String>,
    /// Log more on the device
    #[arg(long)]
    pub debug: bool,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Components and updates")]
pub(crate) struct UpdateArgs {
    /// Folder with the programs to package, instead of a repository
    #[arg(long, value_name = "DIR")]
    pub components: Option<PathBuf>,
    /// Repository of updates, for this build and for the agent; a folder serves this build alone
    /// [default: that of the server]
    #[arg(long, value_name = "URL")]
    pub update_url: Option<String>,
    /// Root metadata to trust, as `fleetctl updates roots` prints it; JSON, or a file with it
    /// [default: what the server has that you are signed in to]
    #[arg(long, value_name = "JSON|FILE")]
    pub update_roots: Option<String>,
    /// Whether the repository is that of the server, and reached like it.
    #[arg(skip)]
    pub of_the_server: bool,
    /// PEM file of the CA (or certificate) of the update server
    #[arg(long, value_name = "PEM")]
    pub update_tls_certificate: Option<PathBuf>,
    /// Certificate to show to the update server
    #[arg(long, value_name = "PEM")]
    pub update_tls_client_certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "PEM")]
    pub update_tls_client_key: Option<PathBuf>,
    /// Channel of orbit: stable, edge or a version
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    pub orbit_channel: String,
    /// Channel of osqueryd
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    pub osqueryd_channel: String,
    /// Channel of the tray application
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    pub desktop_channel: String,
    /// How often the agent looks for updates
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    pub update_interval: String,
    /// The agent never updates itself
    #[arg(long)]
    pub disable_updates: bool,
    /// Use what the cache holds and nothing else
    #[arg(long)]
    pub offline: bool,
    /// Where downloads are kept [default: fleetctl in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "macOS (pkg)")]
pub(crate) struct MacosArgs {
    /// What macOS knows the package by [default: com.fleetdm.orbit]
    #[arg(long, value_name = "ID")]
    pub identifier: Option<String>,
    /// Let a configuration profile tell the agent its server and enroll secret
    #[arg(long, env = "FLEETCTL_USE_SYSTEM_CONFIGURATION", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub use_system_configuration: bool,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Files made")]
pub(crate) struct ArtifactArgs {
    /// Folder for the files, made when missing [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
    /// Name of the file, if there is but one; ends like its type
    #[arg(long, value_name = "FILE")]
    pub outfile: Option<PathBuf>,
    /// Print what would be on the device's disk, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write a bill of materials beside each package, named like it with .cdx.json at the end
    #[arg(long)]
    pub sbom: bool,
    /// How to compress: zstd, xz, gzip or none, with or without level (zstd:19); a pkg: gzip
    #[arg(long, value_name = "SPEC")]
    pub compression: Option<String>,
    /// Version of the package [default: orbit's; with --components, fleetctl's]
    #[arg(long, value_name = "VERSION")]
    pub package_version: Option<String>,
    /// Whose package it is, as in `Example Inc. <it@example.com>`
    #[arg(long, value_name = "MAINTAINER", default_value = DEFAULT_MAINTAINER, hide_default_value = true)]
    pub maintainer: String,
    /// Where to read about it
    #[arg(long, value_name = "URL")]
    pub homepage: Option<String>,
    /// Write to build/ unless told otherwise, as Fleet does; no tools are needed either way
    #[arg(long, env = "FLEETCTL_NATIVE_TOOLING", hide_env_values = true, value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub native_tooling: bool,
    /// Accepted for Fleet's sake: the folder is never opened
    #[arg(long, hide_short_help = true)]
    pub disable_open_folder: bool,
}

/// Flags that Fleet has for other kinds of installers or for hardware-held keys. They are known,
/// so that a script which gives them is told why it stops.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RefusedArgs {
    #[arg(long, hide = true)]
    pub sign_identity: Option<String>,
    #[arg(long, hide = true)]
    pub local_wix_dir: Option<PathBuf>,
    #[arg(long, hide = true, env = "FLEETCTL_FLEET_MANAGED_HOST_IDENTITY_CERTIFICATE", value_parser = BoolishValueParser::new())]
    pub fleet_managed_host_identity_certificate: bool,
}

impl RefusedArgs {
    /// Each flag given, with the reason why it cannot be used.
    pub(crate) fn reasons(&self) -> Vec<String> {
        const IDENTITY: &str = "is refused: fleetctl reads no keychain; export the certificate and \
            give --macos-certificate and --macos-installer-certificate";
        const MSI: &str = "is not needed: fleetctl makes packages of type msi by itself";
        const TPM: &str = "is refused: fleetctl builds no packages whose keys a TPM holds";
        [
            (self.sign_identity.is_some(), "--sign-identity", IDENTITY),
            (self.local_wix_dir.is_some(), "--local-wix-dir", MSI),
            (
                self.fleet_managed_host_identity_certificate,
                "--fleet-managed-host-identity-certificate",
                TPM,
            ),
        ]
        .into_iter()
        .filter(|(given, ..)| *given)
        .map(|(_, flag, reason)| format!("{flag} {reason}"))
        .collect()
    }
}

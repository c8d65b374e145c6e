//! The command line. A flag stands for a variable and wins over it.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};
use wire::settings::vars;

use crate::output::Output;

/// The fleetd agent: enrolls this device with its server and keeps osqueryd running.
///
/// Settings come from ORBIT_* variables, on an installed device from what its service manager
/// starts the agent with (/etc/default/orbit, launchd's property list, the service's Environment
/// in the registry); the flags here win over them.
#[derive(Debug, Parser)]
#[command(name = "orbit", version = agent::VERSION, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Also read settings from this environment file, below the environment itself.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) env_file: Option<Utf8PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Settings {
    /// Where the agent keeps its state and finds its programs [ORBIT_ROOT_DIR].
    #[arg(long, global = true, value_name = "DIR")]
    root_dir: Option<String>,
    /// The server's address [ORBIT_FLEET_URL].
    #[arg(long, global = true, value_name = "URL")]
    fleet_url: Option<String>,
    /// File with the enroll secret [ORBIT_ENROLL_SECRET_PATH].
    #[arg(long, global = true, value_name = "FILE")]
    enroll_secret_path: Option<String>,
    /// Certificates to check the server's against, instead of the system's [ORBIT_FLEET_CERTIFICATE].
    #[arg(long, global = true, value_name = "PEM")]
    fleet_certificate: Option<String>,
    /// Do not check the server's certificate [ORBIT_INSECURE].
    #[arg(long, global = true)]
    insecure: bool,
    /// What to name this device by: `uuid` or `instance` [ORBIT_HOST_IDENTIFIER].
    #[arg(long, global = true, value_name = "NAME")]
    host_identifier: Option<String>,
    /// Where osqueryd keeps its database [ORBIT_OSQUERY_DB].
    #[arg(long, global = true, value_name = "DIR")]
    osquery_db: Option<String>,
    /// Who uses this device [ORBIT_END_USER_EMAIL].
    #[arg(long, global = true, value_name = "EMAIL")]
    end_user_email: Option<String>,
    /// Enroll with a key pair of this device's own, and sign every request with it [ORBIT_DEVICE_KEY].
    #[arg(long, global = true)]
    device_key: bool,
    /// Log more [ORBIT_DEBUG].
    #[arg(long, global = true)]
    debug: bool,
    /// Log to this file, which is rotated, instead of standard error [ORBIT_LOG_FILE].
    #[arg(long, global = true, value_name = "FILE")]
    log_file: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent, which is what happens without a command.
    Run,
    /// Run as the service that the service manager starts.
    #[cfg(windows)]
    #[command(hide = true)]
    Service,
    /// Run for a service of another version, until standard input ends.
    #[cfg(windows)]
    #[command(hide = true)]
    Hosted,
    /// Tell whether the agent could run with its settings; the version before this one asks.
    #[command(hide = true)]
    Check,
    /// What an installer has the agent do.
    #[cfg(any(windows, target_os = "macos"))]
    #[command(subcommand, hide = true)]
    Installer(InstallerStep),
    /// Tell whether this device is enrolled and in contact with its server.
    ///
    /// Exit code 0: yes. 1: no. 2: wrong usage. 78: settings that cannot be read.
    Status {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Tell an installed device its server and enroll secret, and start its service.
    ///
    /// For packages without configuration, as in images and cloud-init. Writes the flags given to
    /// `/etc/orbit/conf.d/50-enroll.conf` and the secret to where the agent finds it. A device that is
    /// enrolled with another server leaves it.
    #[cfg(target_os = "linux")]
    #[command(after_help = "\
Examples:
  orbit enroll --fleet-url https://fleet.example.com --enroll-secret-file /run/secret
  printf '%s\\n' \"$SECRET\" | orbit enroll --fleet-url https://fleet.example.com --enroll-secret-file -")]
    Enroll {
        /// File with the enroll secret, one line; `-` for standard input
        #[arg(long, value_name = "FILE")]
        enroll_secret_file: Utf8PathBuf,
        /// Only write the settings
        #[arg(long)]
        no_start: bool,
    },
    /// Look at everything between this device and its server, and tell what to do.
    ///
    /// Settings, permissions, disk, secret, DNS, TLS, proxy, clock, updates and service. Nothing is
    /// changed. Exit code 0: nothing failed. 1: something did.
    #[command(after_help = "Examples:\n  sudo orbit doctor\n  sudo orbit doctor --output json")]
    Doctor {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Ask this device's osquery by hand, in a database of its own.
    ///
    /// Starts the osqueryd that the agent runs as an interactive shell, with the same extensions and
    /// flags as far as they are for this user to read. What follows `--` is for osquery, and wins. The
    /// agent and its osqueryd go on undisturbed.
    #[command(after_help = "\
Examples:
  sudo orbit shell
  orbit shell -- --json 'SELECT version FROM osquery_info'")]
    #[command(visible_alias = "osqueryi")]
    Shell {
        #[arg(last = true, value_name = "ARGUMENT")]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Forget who this device is, so that copies of its disk enroll as devices of their own.
    ///
    /// Deletes the identity, the node key, what the server last told, and osqueryd's database. Keeps
    /// the enroll secret, the settings and the programs. The service must be stopped.
    #[command(after_help = "\
Examples, before an image is made:
  systemctl stop orbit && orbit reset-identity")]
    ResetIdentity,
    /// Print the version.
    Version {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// See the library's `installer`.
#[cfg(any(windows, target_os = "macos"))]
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum InstallerStep {
    /// Complete an installation, an upgrade or a repair.
    Configure,
    /// Stop the service, and put its settings aside in case it is deleted.
    #[cfg(windows)]
    Stop,
    /// Delete what the agent has made: its identity, its secrets, its logs.
    Purge,
}

impl Cli {
    /// The variables that the given flags stand for.
    pub(crate) fn variables(&self) -> BTreeMap<&'static str, String> {
        let Settings { root_dir, fleet_url, enroll_secret_path, fleet_certificate, .. } =
            &self.settings;
        let Settings {
            insecure,
            host_identifier,
            osquery_db,
            end_user_email,
            device_key,
            debug,
            log_file,
            ..
        } = &self.settings;
        let flag = |on: &bool| on.then(|| String::from("true"));
        [
            (vars::ROOT_DIR, root_dir.clone()),
            (vars::FLEET_URL, fleet_url.clone()),
            (vars::ENROLL_SECRET_PATH, enroll_secret_path.clone()),
            (vars::FLEET_CERTIFICATE, fleet_certificate.clone()),
            (vars::INSECURE, flag(insecure)),
            (vars::HOST_IDENTIFIER, host_identifier.clone()),
            (vars::OSQUERY_DB, osquery_db.clone()),
            (vars::END_USER_EMAIL, end_user_email.clone()),
            (vars::DEVICE_KEY, flag(device_key)),
            (vars::DEBUG, flag(debug)),
            (vars::LOG_FILE, log_file.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

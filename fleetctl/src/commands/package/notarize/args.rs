//! The flags about Apple's notary, and what they come to.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use url::Url;
use wire::api::Hidden;

use super::{
    key::ApiKey,
    service::{Places, Service},
};
use crate::{
    commands::package::files::unreadable, config::variable, flags::Output, prompt::hidden,
};

/// Flags, and the variables that count where they are not given.
const KEY_ID: (&str, &str) =
    ("--app-store-connect-api-key-id", "FLEETCTL_APP_STORE_CONNECT_API_KEY_ID");
const KEY_ISSUER: (&str, &str) =
    ("--app-store-connect-api-key-issuer", "FLEETCTL_APP_STORE_CONNECT_API_KEY_ISSUER");
const KEY_CONTENT: (&str, &str) =
    ("--app-store-connect-api-key-content", "FLEETCTL_APP_STORE_CONNECT_API_KEY_CONTENT");

const AFTER_HELP: &str = "\
Sends a signed package to Apple's notary, waits for its verdict, and appends the ticket that it
gives. Whoever is interrupted runs the same command again: what was sent is remembered in
FILE.notarization.

Environment:
  FLEETCTL_APP_STORE_CONNECT_API_KEY_ID, FLEETCTL_APP_STORE_CONNECT_API_KEY_ISSUER
                               The key's number, and that of who made it
  FLEETCTL_APP_STORE_CONNECT_API_KEY_CONTENT
                               The key itself, unless a flag names its file

Examples:
  fleetctl package notarize --app-store-connect-api-key-file AuthKey_2X9R4HXF34.p8 \\
      --app-store-connect-api-key-id 2X9R4HXF34 \\
      --app-store-connect-api-key-issuer \"$ISSUER\" fleetd-1.2.3.pkg
  fleetctl package notarize --no-wait fleetd-1.2.3.pkg";

/// Has a signed pkg notarized by Apple, and appends the ticket
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct NotarizeArgs {
    /// The package
    pub file: PathBuf,
    /// Apple's number of a submission of this package, which is not sent again
    #[arg(long, value_name = "ID", conflicts_with = "no_wait")]
    pub submission: Option<String>,
    #[command(flatten)]
    pub notary: NotaryArgs,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Notarization (pkg)")]
pub(crate) struct NotaryArgs {
    /// Number of a key of App Store Connect, else `FLEETCTL_APP_STORE_CONNECT_API_KEY_ID`
    #[arg(long, value_name = "ID")]
    pub app_store_connect_api_key_id: Option<String>,
    /// Number of who made the key, else `FLEETCTL_APP_STORE_CONNECT_API_KEY_ISSUER`
    #[arg(long, value_name = "ID")]
    pub app_store_connect_api_key_issuer: Option<String>,
    /// File with the key, `AuthKey_<ID>.p8`
    #[arg(long, value_name = "FILE")]
    pub app_store_connect_api_key_file: Option<PathBuf>,
    /// The key itself, as Fleet has it; safer in `FLEETCTL_APP_STORE_CONNECT_API_KEY_CONTENT`
    #[arg(long, value_name = "PEM", value_parser = hidden)]
    pub app_store_connect_api_key_content: Option<Hidden>,
    /// Do not wait for Apple's notary
    #[arg(long)]
    pub no_wait: bool,
    /// How many minutes to wait
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub notary_timeout: u32,
    /// Seconds between questions to the notary
    #[arg(long, value_name = "SECONDS", default_value_t = 5, hide_short_help = true)]
    pub notary_interval: u32,
    /// Address of a notary other than Apple's
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub notary_url: Option<Url>,
    /// Address of a bucket other than its
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub notary_bucket_url: Option<Url>,
    /// Address of a desk for tickets other than Apple's
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub notary_ticket_url: Option<Url>,
}

/// How packages are notarized.
#[derive(Debug)]
pub(crate) struct Notary {
    id: String,
    issuer: String,
    pem: Hidden,
    places: Places,
    pub(super) wait: bool,
    pub(super) patience: Duration,
    pub(super) interval: Duration,
}

impl NotaryArgs {
    /// A flag that says how to notarize, if one is given.
    pub(crate) fn stray(&self) -> Option<&'static str> {
        let flags = [
            (self.app_store_connect_api_key_id.is_some(), KEY_ID.0),
            (self.app_store_connect_api_key_issuer.is_some(), KEY_ISSUER.0),
            (self.app_store_connect_api_key_file.is_some(), "--app-store-connect-api-key-file"),
            (self.app_store_connect_api_key_content.is_some(), KEY_CONTENT.0),
            (self.no_wait, "--no-wait"),
            (self.notary_url.is_some(), "--notary-url"),
            (self.notary_bucket_url.is_some(), "--notary-bucket-url"),
            (self.notary_ticket_url.is_some(), "--notary-ticket-url"),
        ];
        flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }

    /// Tells everything that is wrong at once.
    pub(crate) fn checked(&self) -> Result<Notary, Vec<String>> {
        let mut problems = Vec::new();
        let mut need = |value: &Option<String>, (flag, name): (&str, &str)| {
            let value = value.clone().or_else(|| Some(variable(name)?.0.clone()));
            value.filter(|value| !value.is_empty()).unwrap_or_else(|| {
                problems.push(format!("{flag} must say with which key Apple is asked"));
                String::new()
            })
        };
        let id = need(&self.app_store_connect_api_key_id, KEY_ID);
        let issuer = need(&self.app_store_connect_api_key_issuer, KEY_ISSUER);
        let pem = self.pem(&id, &issuer).map_err(|problem| problems.push(problem)).ok();
        match pem {
            Some(pem) if problems.is_empty() => Ok(Notary {
                id,
                issuer,
                pem,
                places: Places {
                    notary: self.notary_url.clone(),
                    bucket: self.notary_bucket_url.clone(),
                    tickets: self.notary_ticket_url.clone(),
                },
                wait: !self.no_wait,
                patience: Duration::from_secs(60 * u64::from(self.notary_timeout)),
                interval: Duration::from_secs(self.notary_interval.into()),
            }),
            _ => Err(problems),
        }
    }

    /// The text of the key, which has been tried out.
    fn pem(&self, id: &str, issuer: &str) -> Result<Hidden, String> {
        let flag = "--app-store-connect-api-key-file";
        let content = || {
            let given = self.app_store_connect_api_key_content.clone();
            let given = given.map(|content| (content, KEY_CONTENT.0));
            given.or_else(|| Some((variable(KEY_CONTENT.1)?, KEY_CONTENT.1)))
        };
        let (pem, whence) = match &self.app_store_connect_api_key_file {
            Some(path) => {
                let text = fs::read_to_string(path);
                let text = text.map_err(|error| unreadable(flag, path, &error))?;
                (Hidden(text), format!("{flag} `{}`", path.display()))
            }
            None => {
                let (content, whence) =
                    content().ok_or_else(|| format!("{flag} must name the file with the key"))?;
                (content, whence.to_owned())
            }
        };
        ApiKey::new(id, issuer, &pem.0)
            .map(|_| pem)
            .map_err(|reason| format!("{whence} cannot be used: {reason}"))
    }
}

impl Notary {
    pub(super) fn service(&self) -> anyhow::Result<Service> {
        let key = ApiKey::new(&self.id, &self.issuer, &self.pem.0).map_err(anyhow::Error::msg)?;
        Service::new(key, &self.places)
    }
}

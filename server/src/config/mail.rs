//! Where mail goes.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::Secret;

/// `mail:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Who it is from: an address, or a name and an address, `Fleet <fleet@example.com>`.
    pub from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
    /// Instead of sending it: a directory to write it to, for trial use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Utf8PathBuf>,
}

/// `mail.smtp:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    /// 587, 465 with `tls: implicit`, and 25 with `tls: none` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: SmtpTls,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// PEM file of the authority that the server's certificate is from, where the system does not
    /// know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Utf8PathBuf>,
}

/// How a connection to the mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// STARTTLS, and nothing is sent without.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all: for a relay on the same machine.
    None,
}

impl Smtp {
    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Implicit => 465,
            SmtpTls::None => 25,
        })
    }

    /// Whether it is this machine that is spoken to.
    fn is_local(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl Mail {
    pub(super) fn check(&mut self, problems: &mut Vec<String>) {
        if self.from.parse::<lettre::message::Mailbox>().is_err() {
            problems.push("mail.from: must be an address, or a name and an address".to_owned());
        }
        if self.smtp.is_some() == self.directory.is_some() {
            problems.push("mail: needs either mail.smtp or mail.directory".to_owned());
        }
        let Some(smtp) = &mut self.smtp else { return };
        if let Some(password) = &mut smtp.password {
            password.resolve("mail.smtp.password", problems);
        }
        if smtp.host.is_empty() {
            problems.push("mail.smtp.host: must not be empty".to_owned());
        }
        if smtp.tls == SmtpTls::None && !smtp.is_local() {
            problems.push(
                "mail.smtp.tls: `none` would carry one-time tokens in the open; only a relay on \
                 this machine may be spoken to so"
                    .to_owned(),
            );
        }
        if smtp.username.is_some() != smtp.password.is_some() {
            problems.push("mail.smtp: username and password go together".to_owned());
        }
    }
}

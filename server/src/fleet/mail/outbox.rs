//! Where written mail goes: an SMTP server, or files.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, time::Duration};

use camino::Utf8PathBuf;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use uuid::Uuid;

use crate::config::{Mail, Smtp, SmtpTls};

/// How long a mail server may take for one command.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where mail goes.
pub(in crate::fleet) enum Outbox {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Directory(Utf8PathBuf),
    /// Nowhere: mail is not configured.
    None,
}

/// Why mail cannot be sent with this configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    #[error("could not read the certificate `{path}` of mail.smtp.ca")]
    Authority { path: Utf8PathBuf, source: io::Error },
    #[error("could not prepare TLS for the mail server")]
    Tls(#[source] lettre::transport::smtp::Error),
    #[error("could not make the directory `{path}` of mail.directory")]
    Directory { path: Utf8PathBuf, source: io::Error },
}

/// Why one mail was not sent.
#[derive(Debug, thiserror::Error)]
pub(in crate::fleet) enum SendError {
    #[error("the mail server: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    #[error("the mail's file: {0}")]
    File(#[from] io::Error),
    #[error("mail is not configured")]
    Nowhere,
}

impl Outbox {
    /// Prepares what `mail` says; nothing is connected yet.
    pub(in crate::fleet) fn open(mail: Option<&Mail>) -> Result<Self, OutboxError> {
        let Some(mail) = mail else { return Ok(Self::None) };
        if let Some(smtp) = &mail.smtp {
            return Ok(Self::Smtp(Box::new(transport(smtp)?)));
        }
        let Some(path) = mail.directory.clone() else { return Ok(Self::None) };
        fs::create_dir_all(&path)
            .map_err(|source| OutboxError::Directory { path: path.clone(), source })?;
        Ok(Self::Directory(path))
    }

    pub(in crate::fleet) async fn send(&self, message: Message) -> Result<(), SendError> {
        match self {
            Self::Smtp(transport) => {
                transport.send(message).await?;
                Ok(())
            }
            Self::Directory(path) => {
                let name = path.join(format!("{}.eml", Uuid::now_v7()));
                let mut file =
                    fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(name)?;
                Ok(file.write_all(&message.formatted())?)
            }
            Self::None => Err(SendError::Nowhere),
        }
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Smtp(_) => "Smtp",
            Self::Directory(_) => "Directory",
            Self::None => "None",
        })
    }
}

fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, OutboxError> {
    let mut parameters = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = &smtp.ca {
        let read = |source| OutboxError::Authority { path: path.clone(), source };
        let pem = fs::read(path).map_err(read)?;
        let certificate = Certificate::from_pem(&pem).map_err(OutboxError::Tls)?;
        parameters = parameters.add_root_certificate(certificate);
    }
    let parameters = parameters.build_rustls().map_err(OutboxError::Tls)?;
    let tls = match smtp.tls {
        SmtpTls::Starttls => Tls::Required(parameters),
        SmtpTls::Implicit => Tls::Wrapper(parameters),
        SmtpTls::None => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port())
        .tls(tls)
        .timeout(Some(TIMEOUT));
    if let (Some(username), Some(password)) = (&smtp.username, &smtp.password) {
        builder =
            builder.credentials(Credentials::new(username.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

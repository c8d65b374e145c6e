//! What `fleet-desktop` does for whoever sits at the device: it shows how the device stands, and
//! opens its page. It has no rights of its own but the desktop token, which the agent lets that
//! user read.

pub mod redirect;
pub mod tray;

use std::{fs::File, io};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use url::Url;
use wire::{
    DesktopToken,
    orbit::{DEVICE_PAGE, DeviceSummary},
    settings::{self, files},
};

use self::redirect::Redirect;
use crate::{
    config::Config,
    durable,
    identity::FileError,
    platform::Readers,
    server::{Connection, RequestError, Server, Timeouts},
    trust::{ClientCertificate, Trust},
};

/// Where to ask about the device; the agent writes it down, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub server_url: Url,
    /// `host[:port]` that browsers reach the server by, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser_host: Option<String>,
    /// Certificates to check the server's against, instead of the system's (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Utf8PathBuf>,
    #[serde(default)]
    pub insecure: bool,
    /// The client certificate and its key, which only administrators can read unless somebody else
    /// was allowed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientCertificate>,
    /// The proxy that the server is reached through, without name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Url>,
}

/// Why nothing can be told about the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DesktopError {
    #[error("could not read `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error(
        "there is no `{path}`: the agent has not run yet, or its package is without fleet-desktop"
    )]
    Missing { path: Utf8PathBuf },
    #[error("`{path}` is not for this user to read; it is for whoever sits at the device")]
    Private { path: Utf8PathBuf },
    #[error("`{path}` makes no sense")]
    Senseless { path: Utf8PathBuf },
    #[error("could not ask the server about this device")]
    Request(#[from] RequestError),
    #[error("`{host}`, which browsers are to reach the server by, is no host")]
    BrowserHost { host: String },
}

/// Why the device's page is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("could not tell where this device's page is")]
    Page(#[from] DesktopError),
    #[error("could not listen for the browser on this machine")]
    Listen(#[from] io::Error),
    #[error("could not open a browser")]
    Browser(#[from] opener::OpenError),
    #[error("could not open the page: no browser has come for it")]
    NoBrowser,
}

impl Link {
    pub(crate) fn of(config: &Config) -> Self {
        let connection = &config.connection;
        let (certificate, insecure) = match &connection.trust {
            Trust::System => (None, false),
            Trust::Pinned(path) => (Some(path.clone()), false),
            Trust::Insecure => (None, true),
        };
        let browser_host = config.settings.browser_host.clone();
        Self {
            server_url: connection.url.clone(),
            browser_host,
            certificate,
            insecure,
            client: connection.client.clone(),
            proxy: connection.proxy.clone().map(without_credentials),
        }
    }

    pub(crate) fn save(&self, root: &Utf8Path) -> Result<(), FileError> {
        let path = root.join(files::DESKTOP_LINK);
        let json = serde_json::to_vec_pretty(self).expect("plain values serialise");
        durable::replace(&path, &json, Readers::Everyone)
            .map_err(|source| FileError::Write { path, source })
    }

    /// Reads what the agent below `root` has written down.
    pub fn load(root: &Utf8Path) -> Result<Self, DesktopError> {
        let path = root.join(files::DESKTOP_LINK);
        serde_json::from_str(&read(&path)?).map_err(|_| DesktopError::Senseless { path })
    }

    /// The address of the device's page, which `token` opens.
    pub fn page(&self, token: &DesktopToken) -> Result<Url, DesktopError> {
        let mut server = self.server_url.clone();
        if let Some(host) = &self.browser_host {
            let wrong = || DesktopError::BrowserHost { host: host.clone() };
            let named = settings::server_url(host).map_err(|_| wrong())?;
            server.set_host(named.host_str()).map_err(|_| wrong())?;
            server.set_port(named.port()).map_err(|()| wrong())?;
        }
        Ok(settings::endpoint(&server, &format!("{DEVICE_PAGE}/{}", token.expose())))
    }

    /// Asks the server.
    pub async fn summary(&self, token: &DesktopToken) -> Result<DeviceSummary, DesktopError> {
        let trust = match &self.certificate {
            _ if self.insecure => Trust::Insecure,
            Some(path) => Trust::Pinned(path.clone()),
            None => Trust::System,
        };
        let connection = Connection {
            url: self.server_url.clone(),
            trust,
            // Who may not read the key goes without: the server decides whether that will do.
            client: self.client.clone().filter(|pair| File::open(&pair.key).is_ok()),
            proxy: self.proxy.clone(),
            timeouts: Timeouts::default(),
        };
        Ok(Server::new(connection).get_of_device(token, "desktop").await?)
    }
}

/// Opens the page of the device whose agent is below `root`, and waits until a browser has come for
/// it. Needs a tokio runtime.
pub async fn open(root: &Utf8Path) -> Result<(), OpenError> {
    let page = Link::load(root)?.page(&token(root)?)?;
    let redirect = Redirect::to(page).await?;
    let url = redirect.url()?;
    opener::open(url.as_str())?;
    if redirect.serve().await { Ok(()) } else { Err(OpenError::NoBrowser) }
}

/// Everybody can read where the proxy is, and nobody but administrators how to use it.
fn without_credentials(mut proxy: Url) -> Url {
    // An address that has a host can do without a name.
    let _ = proxy.set_username("");
    let _ = proxy.set_password(None);
    proxy
}

/// The token that the agent below `root` has set last.
pub fn token(root: &Utf8Path) -> Result<DesktopToken, DesktopError> {
    let path = root.join(files::DESKTOP_TOKEN);
    DesktopToken::new(read(&path)?.trim_end()).map_err(|_| DesktopError::Senseless { path })
}

fn read(path: &Utf8Path) -> Result<String, DesktopError> {
    let path = path.to_owned();
    match durable::read(&path) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(DesktopError::Missing { path }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(DesktopError::Private { path })
        }
        Err(source) => Err(DesktopError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_where_browsers_reach_the_server() {
        let token = DesktopToken::new("t").unwrap();
        let page = |url: &str, host: Option<&str>| {
            let link = Link {
                server_url: settings::server_url(url).unwrap(),
                browser_host: host.map(str::to_owned),
                certificate: None,
                insecure: false,
                client: None,
                proxy: None,
            };
            link.page(&token).map(String::from).ok()
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(page("https://a:8080/base", None), is("https://a:8080/base/device/t"));
        assert_eq!(page("https://a:8080", Some("b")), is("https://b/device/t"));
        assert_eq!(page("https://a", Some("b:1")), is("https://b:1/device/t"));
        assert_eq!(page("https://a", Some("b c")), None);
    }
}

//! What the commands share: the terminal, the contexts, the way to the server.

use std::{cell::Cell, fs, future::Future, path::Path};

use anyhow::Context as _;
use url::Url;
use wire::{api::Hidden, settings::server_url};

use crate::{
    client::{Access, Client, ContextSession},
    config::{Context, ContextFile, Contexts, Environment},
    exit::Stop,
    flags::Global,
    output::Shell,
    trust::{Trust, certificates},
};

/// One run of `fleetctl`.
#[derive(Debug)]
pub(crate) struct Session {
    pub shell: Shell,
    global: Global,
    /// Whether the user has heard that others can read the file of contexts.
    warned: Cell<bool>,
}

impl Session {
    pub(crate) fn new(global: Global, shell: Shell) -> anyhow::Result<Self> {
        Ok(Self { shell, global, warned: Cell::new(false) })
    }

    /// Runs `work` on this thread until it is done. Only commands that talk to somebody pay for it.
    pub(crate) fn wait<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        // Installed at most once; a second call finds the same provider there.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the runtime")?
            .block_on(work)
    }

    /// Where contexts are kept. Warns, once, when others can read it.
    pub(crate) fn context_file(&self) -> anyhow::Result<ContextFile> {
        let file = ContextFile::locate(self.global.config.clone())?;
        if file.is_exposed() && !self.warned.replace(true) {
            let path = file.path().display();
            self.shell.warn(format!("others can read `{path}`; run `chmod 600 {path}`"));
        }
        Ok(file)
    }

    /// The context that was asked for by name, if one was.
    pub(crate) fn asked_context(&self) -> Option<&str> {
        self.global.context.as_deref()
    }

    /// A client for the server that the environment or the context names, with its credentials.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let way = self.way()?;
        self.shell.verbose(format!("talking to {}", way.server));
        Client::new(way.server, &way.trust, way.access)
    }

    /// A client for `server`, if we are signed in there and its certificate is checked.
    pub(crate) fn client_of(&self, server: &Url) -> anyhow::Result<Option<Client>> {
        let way = match self.way() {
            Err(error) if self.asked_context().is_some() => return Err(error),
            Err(_) => return Ok(None),
            Ok(way) => way,
        };
        let is_believed = way.trust != Trust::Insecure && !matches!(way.access, Access::Nobody);
        if way.server != *server || !is_believed {
            return Ok(None);
        }
        Client::new(way.server, &way.trust, way.access).map(Some)
    }

    /// The server that the environment or the context names, and how it is believed.
    pub(crate) fn server(&self) -> anyhow::Result<(Url, Trust)> {
        let way = self.way()?;
        Ok((way.server, way.trust))
    }

    fn way(&self) -> anyhow::Result<Way> {
        let environment = Environment::read()?;
        let environment = Environment { api_key: api_key(environment.api_key)?, ..environment };
        let file = self.context_file()?;
        let contexts = file.read()?;
        let name = contexts.name(self.asked_context()).to_owned();
        let context = contexts.contexts.get(&name);
        if context.is_none() && self.asked_context().is_some() {
            return Err(contexts.unknown(&name).into());
        }
        let Some(url) = environment.url.as_deref() else {
            let context = context.ok_or_else(|| no_server(&contexts, &name))?;
            return Ok(Way::of_context(context, file, name, environment));
        };
        let server = server_url(url)
            .map_err(|reason| Stop::usage(format!("FLEET_URL cannot be used: {reason}")))?;
        match context {
            // The context's credentials and trust are for its own server, never for another.
            Some(context) if context.url == server => {
                let trust = match &environment.certificate {
                    Some(path) => Trust::Pinned(read_certificate(path)?),
                    None => context.trust(),
                };
                Ok(Way { trust, ..Way::of_context(context, file, name, environment) })
            }
            _ => Way::of_environment(server, environment),
        }
    }
}

/// A server and how to be believed there.
struct Way {
    server: Url,
    trust: Trust,
    access: Access,
}

impl Way {
    fn of_context(
        context: &Context,
        file: ContextFile,
        name: String,
        environment: Environment,
    ) -> Self {
        let access = match (environment.api_key, &context.session) {
            (Some(key), _) => Access::ApiKey(key),
            (None, Some(session)) => {
                Access::Session(ContextSession { file, context: name, session: session.clone() })
            }
            (None, None) => Access::Nobody,
        };
        Self { server: context.url.clone(), trust: context.trust(), access }
    }

    fn of_environment(server: Url, environment: Environment) -> anyhow::Result<Self> {
        let trust = match &environment.certificate {
            Some(path) => Trust::Pinned(read_certificate(path)?),
            None => Trust::System,
        };
        let access = environment.api_key.map_or(Access::Nobody, Access::ApiKey);
        Ok(Self { server, trust, access })
    }
}

/// The key without the line end that one read from a file has.
fn api_key(given: Option<Hidden>) -> Result<Option<Hidden>, Stop> {
    let Some(key) = given else { return Ok(None) };
    let key = key.0.trim();
    if key.contains(char::is_control) {
        return Err(Stop::usage("FLEET_API_KEY is no API key: it contains a control character"));
    }
    Ok(Some(Hidden(key.to_owned())))
}

fn no_server(contexts: &Contexts, name: &str) -> Stop {
    if contexts.contexts.is_empty() {
        Stop::unauthenticated(
            "no server is known",
            "sign in with `fleetctl login --url URL`, or set FLEET_URL and FLEET_API_KEY",
        )
    } else {
        contexts.unknown(name)
    }
}

/// How a command's flags say whom to trust.
pub(crate) fn trust_of(certificate: Option<&Path>, insecure: bool) -> anyhow::Result<Trust> {
    match certificate {
        _ if insecure => Ok(Trust::Insecure),
        Some(path) => read_certificate(path).map(Trust::Pinned),
        None => Ok(Trust::System),
    }
}

/// Reads `--url`.
pub(crate) fn url_of(text: &str) -> Result<Url, Stop> {
    server_url(text)
        .map_err(|reason| Stop::usage(format!("`{text}` is no server's address: {reason}")))
}

/// The text of a PEM file that holds at least one certificate.
fn read_certificate(path: &Path) -> anyhow::Result<String> {
    let refused =
        |reason: String| Stop::usage(format!("could not use `{}`: {reason}", path.display()));
    let pem = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    certificates(&pem).map_err(|error| refused(format!("{error:#}")))?;
    Ok(pem)
}

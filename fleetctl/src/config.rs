//! Contexts: which server to talk to and how, kept in one file; and what the environment says.
//!
//! | variable | meaning |
//! |---|---|
//! | `FLEET_URL` | the server, instead of the context's |
//! | `FLEET_API_KEY` | the API key to present, instead of the context's session |
//! | `FLEET_CERTIFICATE` | PEM file of the CA of the server that `FLEET_URL` names |
//! | `FLEET_ENROLL_SECRET` | the enroll secret that `fleetctl package` packs, unless a flag gives one |
//! | `SOURCE_DATE_EPOCH` | the date of everything that `fleetctl package` packs |
//! | `FLEETCTL_OPENPGP_KEY` | the secret key that packages and repositories are signed with, unless a flag names a file |
//! | `FLEETCTL_OPENPGP_PASSPHRASE` | its passphrase, or that of the flag's file |
//! | `FLEETCTL_WINDOWS_PASSPHRASE` | the passphrase of the key of `--windows-certificate` |
//! | `FLEETCTL_MACOS_INSTALLER_PASSPHRASE` | that of `--macos-installer-certificate` |
//! | `FLEETCTL_PKCS11_TOOL` | the program that loads libraries of tokens, in place of this one |
//! | `FLEET_CONTEXT` | the context to use, as `--context` |
//! | `FLEET_CONFIG` | the file of contexts, as `--config` |
//!
//! The last two belong to flags, so clap reads them, as it does the `FLEETCTL_*` variables that Fleet has
//! for some flags of `fleetctl package`; all others are read here.

use std::{
    collections::BTreeMap,
    env::{self, VarError},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use etcetera::BaseStrategy as _;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use url::Url;
use wire::{api::Hidden, settings::server_url};

use crate::{exit::Stop, trust::Trust};

/// The context that is used when none is named.
pub(crate) const DEFAULT_CONTEXT: &str = "default";

/// Everything in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The context to use unless a flag or variable names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// A server, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    #[serde(deserialize_with = "server")]
    pub url: Url,
    /// PEM text of the certificates that the server's must lead to, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Accept any certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Absent after `fleetctl logout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

impl Context {
    /// A context without a session.
    pub(crate) fn new(url: Url, trust: &Trust) -> Self {
        let ca = match trust {
            Trust::Pinned(pem) => Some(pem.clone()),
            Trust::System | Trust::Insecure => None,
        };
        Self { url, ca, insecure: *trust == Trust::Insecure, email: None, session: None }
    }

    /// Which certificates this context's server may show.
    pub(crate) fn trust(&self) -> Trust {
        match (&self.ca, self.insecure) {
            (_, true) => Trust::Insecure,
            (Some(pem), false) => Trust::Pinned(pem.clone()),
            (None, false) => Trust::System,
        }
    }
}

/// What signing in gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    pub access_token: Hidden,
    /// When the access token ends.
    pub expires_at: Timestamp,
    /// Good for one more access token; the server gives another with it.
    pub refresh_token: Hidden,
}

impl Contexts {
    /// The name of the context to use: the one asked for, else the current one.
    pub(crate) fn name<'a>(&'a self, asked: Option<&'a str>) -> &'a str {
        asked.or(self.current.as_deref()).unwrap_or(DEFAULT_CONTEXT)
    }

    /// The context called `name`.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Stop> {
        self.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    /// The error for a context that is not there.
    pub(crate) fn unknown(&self, name: &str) -> Stop {
        let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
        let help = if known.is_empty() {
            "make one with `fleetctl login --url URL`".to_owned()
        } else {
            format!("known contexts: {}", known.join(", "))
        };
        Stop::Usage { problems: vec![format!("there is no context `{name}`")], help: Some(help) }
    }
}

/// The address that a context has: what a flag could not say is refused here too.
fn server<'de, D: Deserializer<'de>>(source: D) -> Result<Url, D::Error> {
    server_url(&String::deserialize(source)?).map_err(D::Error::custom)
}

/// What is wrong with the file, without what is quoted from it: that may be a token in the wrong
/// place.
fn without_values(reason: &str) -> String {
    match (reason.find('"'), reason.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &reason[..=first], &reason[last..])
        }
        _ => reason.to_owned(),
    }
}

/// The file that contexts are kept in. Only its owner can read it; it is replaced, never changed.
#[derive(Debug, Clone)]
pub(crate) struct ContextFile {
    path: PathBuf,
}

impl ContextFile {
    /// The file that was asked for, else the user's own.
    pub(crate) fn locate(asked: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(path) = asked {
            return Ok(Self { path });
        }
        let folders = etcetera::choose_base_strategy()
            .context("could not find the home directory; give --config FILE")?;
        Ok(Self { path: folders.config_dir().join("fleetctl").join("config.yaml") })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; one that is not there yet holds nothing.
    pub(crate) fn read(&self) -> anyhow::Result<Contexts> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            result => {
                result.with_context(|| format!("could not read `{}`", self.path.display()))?
            }
        };
        if text.trim().is_empty() {
            return Ok(Contexts::default());
        }
        serde_norway::from_str(&text).map_err(|error| {
            let (path, reason) = (self.path.display(), without_values(&error.to_string()));
            Stop::usage(format!("could not understand `{path}`: {reason}")).into()
        })
    }

    /// Changes the file while nobody else does.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Contexts) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.lock()?.change(change)
    }

    /// Waits until nobody else changes the file, and keeps others waiting.
    pub(crate) fn lock(&self) -> anyhow::Result<Locked<'_>> {
        let folder = self.folder();
        make_folder(folder).with_context(|| format!("could not create `{}`", folder.display()))?;
        let path = self.path.with_added_extension("lock");
        let lock = private_file(&path).and_then(|file| file.lock().map(|()| file));
        let lock = lock.with_context(|| format!("could not lock `{}`", path.display()))?;
        Ok(Locked { file: self, _lock: lock })
    }

    /// Whether others than the owner can read the file, which holds tokens.
    #[cfg(unix)]
    pub(crate) fn is_exposed(&self) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(&self.path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
    }

    /// Elsewhere its access list is set whenever it is written.
    #[cfg(not(unix))]
    pub(crate) fn is_exposed(&self) -> bool {
        false
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn write(&self, contexts: &Contexts) -> anyhow::Result<()> {
        let text = serde_norway::to_string(contexts).context("could not write YAML")?;
        self.replace(text.as_bytes())
            .with_context(|| format!("could not write `{}`", self.path.display()))
    }

    /// A temporary file is made with mode 0600, in the same folder so that it can be renamed.
    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder())?;
        #[cfg(windows)]
        restrict(file.path())?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

/// The right to change the file. Ends with the value, or with the process.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    file: &'a ContextFile,
    _lock: File,
}

impl Locked<'_> {
    pub(crate) fn read(&self) -> anyhow::Result<Contexts> {
        self.file.read()
    }

    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Contexts) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut contexts = self.file.read()?;
        let result = change(&mut contexts)?;
        self.file.write(&contexts)?;
        Ok(result)
    }
}

#[cfg(unix)]
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Lets SYSTEM, administrators and the owner alone use the file, also outside of the profile, whose
/// access list does as much. `icacls` is part of every Windows.
#[cfg(windows)]
fn restrict(path: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "only a tool of the system sets access lists")]
    let mut command = std::process::Command::new("icacls.exe");
    command.arg(path).args(["/inheritance:r", "/q", "/grant:r"]);
    command.args(["*S-1-5-18:F", "*S-1-5-32-544:F", "*S-1-3-4:F"]);
    let output = command.stdin(std::process::Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("icacls could not restrict it: {}", said.trim())))
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub url: Option<String>,
    pub api_key: Option<Hidden>,
    pub certificate: Option<PathBuf>,
    pub enroll_secret: Option<Hidden>,
    pub source_date: Option<String>,
    pub openpgp: OpenPgpVariables,
}

pub(crate) const OPENPGP_KEY: &str = "FLEETCTL_OPENPGP_KEY";
pub(crate) const OPENPGP_PASSPHRASE: &str = "FLEETCTL_OPENPGP_PASSPHRASE";

/// What the environment says of the key that packages and repositories are signed with.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenPgpVariables {
    /// The key itself, armored.
    pub key: Option<Hidden>,
    pub passphrase: Option<Hidden>,
}

impl Environment {
    /// Reads the variables; an empty one counts as none, and one that is not text is refused.
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    pub(crate) fn read() -> Result<Self, Stop> {
        let var = |name| match env::var(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(Stop::usage(format!("{name} is not UTF-8"))),
        };
        Ok(Self {
            url: var("FLEET_URL")?,
            api_key: var("FLEET_API_KEY")?.map(Hidden),
            certificate: var("FLEET_CERTIFICATE")?.map(PathBuf::from),
            enroll_secret: var("FLEET_ENROLL_SECRET")?.map(Hidden),
            source_date: var("SOURCE_DATE_EPOCH")?,
            openpgp: OpenPgpVariables {
                key: var(OPENPGP_KEY)?.map(Hidden),
                passphrase: var(OPENPGP_PASSPHRASE)?.map(Hidden),
            },
        })
    }
}

/// The value of the variable `name`, for files that name variables; one that is set to nothing counts
/// as none.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn variable(name: &str) -> Option<Hidden> {
    // A name with one of these is refused by some systems with a panic.
    if name.is_empty() || name.contains(['=', '\0']) {
        return None;
    }
    env::var(name).ok().filter(|value| !value.is_empty()).map(Hidden)
}

/// Whether the variable `name` is set to nothing.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn is_empty_variable(name: &OsStr) -> bool {
    env::var_os(name).is_some_and(|value| value.is_empty())
}

/// The variable with the passphrase of a key that signs code, `FLEETCTL_<NAME>_PASSPHRASE`, and its
/// value.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn code_passphrase(name: &str) -> (String, Option<Hidden>) {
    let variable = format!("FLEETCTL_{}_PASSPHRASE", name.replace('-', "_").to_uppercase());
    let value = env::var(&variable).ok().filter(|value| !value.is_empty()).map(Hidden);
    (variable, value)
}

pub(crate) const PKCS11_TOOL: &str = "FLEETCTL_PKCS11_TOOL";

/// The program that loads libraries of tokens in place of this one, if one is named.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn pkcs11_tool() -> Option<PathBuf> {
    env::var_os(PKCS11_TOOL).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The names of all variables that are for this program and are set: secrets are among them, which no program
/// that it starts has to know.
pub(crate) fn own_variables() -> impl Iterator<Item = OsString> {
    let is_own = |name: &OsStr| {
        let name = name.to_string_lossy();
        ["FLEET_", "FLEETCTL_"].iter().any(|prefix| name.starts_with(prefix))
    };
    env::vars_os().map(|(name, _)| name).filter(move |name| is_own(name))
}

/// Whether a browser would have somewhere to show itself.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn has_display() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Who runs this, as the system calls them.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn user_name() -> Option<String> {
    let named = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| env::var(name).ok());
    named.filter(|name| !name.is_empty())
}

/// The variable with the passphrase of a signing key, `FLEET_<NAME>_PASSPHRASE`, and its value. An
/// empty value is one: whoever set it is to hear that it cannot be used.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn passphrase_variable(key: &str) -> (String, Option<Hidden>) {
    let name = format!("FLEET_{}_PASSPHRASE", key.to_uppercase().replace('-', "_"));
    let value = env::var(&name).ok().map(Hidden);
    (name, value)
}

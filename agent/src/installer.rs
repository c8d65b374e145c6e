//! What the packages of Windows and macOS have the agent do while they are installed and removed,
//! where the package manager itself is too weak and a script would be the alternative.
//!
//! A package owns `packaged.env`, `packaged.secret` and `bin/<component>/packaged/`, and never what
//! the agent makes of them: so a repair or an upgrade brings back neither a secret that was
//! replaced nor a setting that an administrator has changed. Everything can be done any number of
//! times.

mod pointers;
#[cfg(windows)]
mod windows;

use std::{collections::BTreeMap, fs, io};

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::{EnrollSecret, settings, settings::files};

#[cfg(windows)]
pub use self::windows::{configure, stop};
#[cfg(windows)]
pub(crate) use self::windows::{point_service, service_program};
use crate::{
    durable,
    identity::FileError,
    platform::Readers,
    updater::folder::FolderError,
    vault::{Slot, Vault},
};

/// What the last package brought ([`Record`]).
const RECORD: &str = "installed.json";

/// What the agent makes below its root directory, beside the folders of components.
const OWN_FILES: [&str; 15] = [
    files::ENROLL_SECRET,
    files::KEPT_SECRET,
    files::NODE_KEY,
    files::DEVICE_KEY,
    files::IDENTITY,
    files::SERVER_FLAGS,
    files::DEBUG_UNTIL,
    files::STATUS,
    files::DESKTOP_LINK,
    files::DESKTOP_TOKEN,
    RECORD,
    files::LOCK,
    files::OSQUERY_PID,
    files::EXTENSIONS_LOAD,
    files::OSQUERY_AUTHORITIES,
];
const OWN_FOLDERS: [&str; 5] =
    [files::OSQUERY_DB, files::OSQUERY_LOGS, files::LOGS, files::UPDATES, files::RELAY];

/// Settings by the variable that says them.
pub type Variables = BTreeMap<String, String>;

/// What is remembered from one installation to the next.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The settings that the last package brought.
    #[serde(default)]
    settings: Variables,
    /// SHA-256 of the enroll secret that the last package brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The settings as they were when the service was stopped: an upgrade may delete the service
    /// and with it the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aside: Option<Variables>,
}

/// Why the agent cannot be configured or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallerError {
    #[error("the settings cannot be used: {}", .problems.join("; "))]
    Settings { problems: Vec<String> },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("could not have the programs start that are to run")]
    Pointer(#[from] FolderError),
    #[cfg(windows)]
    #[error("could not {what} in the registry")]
    Registry { what: &'static str, source: io::Error },
    #[cfg(windows)]
    #[error("could not {what} the service")]
    Service { what: &'static str, source: windows_service::Error },
}

/// Settings after an installation: what is `given` now wins; then what somebody has changed since
/// the package `before` was installed, removals included; then what the package brings.
#[must_use]
pub fn merge(
    before: &Variables,
    current: &Variables,
    packaged: &Variables,
    given: &Variables,
) -> Variables {
    let mut names: Vec<_> = current.keys().chain(packaged.keys()).chain(given.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let choose = |name: &String| {
        let changed = current.get(name) != before.get(name);
        let kept = if changed { current.get(name) } else { packaged.get(name) };
        given.get(name).or(kept).map(|value| (name.clone(), value.clone()))
    };
    names.into_iter().filter_map(choose).collect()
}

/// Makes the enroll secret of what is given or packaged. A packaged one counts once: when it is
/// another than the last package's, or there is none on the device at all.
fn place_secret(
    root: &Utf8Path,
    given: Option<&EnrollSecret>,
    record: &mut Record,
) -> Result<(), InstallerError> {
    let packaged = packaged_secret(root)?;
    let digest = packaged.as_ref().map(hex_digest);
    let path = root.join(files::ENROLL_SECRET);
    let missing = !path.try_exists().unwrap_or(true);
    let news = digest != record.secret || missing;
    if let Some(secret) = given.or(packaged.as_ref().filter(|_| news)) {
        let line = format!("{}\n", secret.expose());
        durable::replace(&path, line.as_bytes(), Readers::Root)
            .map_err(|source| FileError::Write { path, source })?;
    }
    record.secret = digest.or_else(|| record.secret.take());
    Ok(())
}

fn packaged_secret(root: &Utf8Path) -> Result<Option<EnrollSecret>, InstallerError> {
    let path = root.join(files::PACKAGED_SECRET);
    let Some(text) = read(&path)? else { return Ok(None) };
    settings::secret_from_file_text(&text).map(Some).map_err(|error| InstallerError::Settings {
        problems: vec![format!("the enroll secret in `{path}` cannot be used: {error}")],
    })
}

/// The settings of the package. One without brings none.
#[cfg(any(windows, test))]
fn packaged_settings(root: &Utf8Path) -> Result<Variables, InstallerError> {
    let text = read(&root.join(files::PACKAGED_SETTINGS))?.unwrap_or_default();
    Ok(wire::envfile::parse(&text).into_iter().collect())
}

/// Checks all settings together, before anything is touched. Every user can read them in the
/// registry, so what is `brought`, by a package or a property, has no password in it.
#[cfg(any(windows, test))]
fn check(settings: &Variables, brought: [&Variables; 2]) -> Result<(), InstallerError> {
    let read = wire::AgentSettings::from_vars(|name| settings.get(name).cloned());
    let unusable = read.err().unwrap_or_default();
    let mut problems: Vec<_> = unusable.iter().map(ToString::to_string).collect();
    let exposing = brought.into_iter().flatten().filter(|(_, value)| has_credentials(value));
    problems.extend(exposing.map(|(name, _)| exposed(name)));
    if problems.is_empty() { Ok(()) } else { Err(InstallerError::Settings { problems }) }
}

#[cfg(any(windows, test))]
fn has_credentials(value: &str) -> bool {
    url::Url::parse(value).is_ok_and(|url| url.password().is_some() || !url.username().is_empty())
}

#[cfg(any(windows, test))]
fn exposed(name: &str) -> String {
    format!("`{name}` has a name or a password in it, which every user of the device could read")
}

fn hex_digest(secret: &EnrollSecret) -> String {
    hex::encode(Sha256::digest(secret.expose()))
}

/// Completes an installation below `root` on a system whose package manager keeps the settings
/// itself: places the enroll secret, and has pointers lead to the newest programs.
#[cfg(not(windows))]
pub fn configure(root: &Utf8Path) -> Result<(), InstallerError> {
    let mut record = Record::load(root)?;
    place_secret(root, None, &mut record)?;
    pointers::move_all(root)?;
    record.save(root)
}

/// Deletes what the agent has made below `root`; what the package owns is left to the package.
pub fn purge(root: &Utf8Path) -> Result<(), InstallerError> {
    let vault = Vault::new(root, "/".into(), false);
    vault.forget(Slot::NodeKey)?;
    vault.forget(Slot::DeviceKey)?;
    vault.forget(Slot::EnrollSecret)?;
    for name in OWN_FILES {
        let path = root.join(name);
        durable::delete(&path).map_err(|source| delete_error(&path, source))?;
    }
    for name in OWN_FOLDERS {
        remove_tree(&root.join(name))?;
    }
    remove_tree(&root.join("bin").join(files::EXTENSIONS))?;
    pointers::remove_updates(root)
}

fn remove_tree(path: &Utf8Path) -> Result<(), InstallerError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(delete_error(path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn delete_error(path: &Utf8Path, source: io::Error) -> InstallerError {
    FileError::Delete { path: path.to_owned(), source }.into()
}

fn read(path: &Utf8Path) -> Result<Option<String>, InstallerError> {
    durable::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source }.into())
}

impl Record {
    /// One that makes no sense counts as none: nothing is lost that was changed by hand.
    fn load(root: &Utf8Path) -> Result<Self, InstallerError> {
        let text = read(&root.join(RECORD))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// For administrators alone: settings may hold a secret that somebody put there.
    fn save(&self, root: &Utf8Path) -> Result<(), InstallerError> {
        let path = root.join(RECORD);
        let json = serde_json::to_vec_pretty(self).expect("plain values serialise");
        durable::replace(&path, &json, Readers::Root)
            .map_err(|source| FileError::Write { path, source }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<const N: usize>(pairs: [(&str, &str); N]) -> Variables {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn an_upgrade_brings_its_settings_and_keeps_what_was_changed_by_hand() {
        let before = variables([("URL", "old"), ("A", "1"), ("GONE", "x"), ("DROPPED", "x")]);
        let current = variables([("URL", "old"), ("A", "edited"), ("MINE", "1"), ("DROPPED", "x")]);
        let packaged = variables([("URL", "new"), ("A", "2"), ("GONE", "y"), ("NEW", "1")]);
        let merged = merge(&before, &current, &packaged, &variables([]));
        let expected = [("A", "edited"), ("MINE", "1"), ("NEW", "1"), ("URL", "new")];
        assert_eq!(merged, variables(expected));
        let given = variables([("A", "given"), ("GONE", "given")]);
        let merged = merge(&before, &current, &packaged, &given);
        assert_eq!((merged["A"].as_str(), merged["GONE"].as_str()), ("given", "given"));
    }

    #[test]
    fn what_was_given_once_survives_upgrade_and_repair() {
        let packaged = variables([("URL", "packaged")]);
        let first =
            merge(&variables([]), &variables([]), &packaged, &variables([("URL", "given")]));
        let repaired = merge(&packaged, &first, &packaged, &variables([]));
        assert_eq!(repaired, variables([("URL", "given")]));
        let upgraded = merge(&packaged, &first, &variables([("URL", "next")]), &variables([]));
        assert_eq!(upgraded, variables([("URL", "given")]));
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn root(&self) -> &Utf8Path {
            Utf8Path::from_path(self.0.path()).unwrap()
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.root().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// What every installation does about the secret.
        fn place_secret(&self) -> Result<(), InstallerError> {
            let mut record = Record::load(self.root())?;
            place_secret(self.root(), None, &mut record)?;
            record.save(self.root())
        }

        fn secret(&self) -> Option<String> {
            fs::read_to_string(self.root().join(files::ENROLL_SECRET)).ok()
        }
    }

    #[test]
    fn a_repair_never_restores_an_old_secret() {
        let place = Place::new();
        place.write(files::PACKAGED_SECRET, "first\n");
        place.place_secret().unwrap();
        assert_eq!(place.secret().as_deref(), Some("first\n"));
        place.write(files::ENROLL_SECRET, "rotated\n");
        place.place_secret().unwrap();
        assert_eq!(place.secret().as_deref(), Some("rotated\n"));
        place.write(files::PACKAGED_SECRET, "second\n");
        place.place_secret().unwrap();
        assert_eq!(place.secret().as_deref(), Some("second\n"), "a new package's counts");
        fs::remove_file(place.root().join(files::ENROLL_SECRET)).unwrap();
        place.place_secret().unwrap();
        assert_eq!(place.secret().as_deref(), Some("second\n"), "better than none");
        fs::remove_file(place.root().join(files::PACKAGED_SECRET)).unwrap();
        place.place_secret().unwrap();
        assert_eq!(place.secret().as_deref(), Some("second\n"), "a package without takes none");
    }

    #[test]
    fn a_secret_that_cannot_be_one_stops_the_installation() {
        let place = Place::new();
        place.write(files::PACKAGED_SECRET, "\n");
        assert!(matches!(place.place_secret(), Err(InstallerError::Settings { .. })));
        assert_eq!(place.secret(), None);
    }

    #[test]
    fn settings_that_every_user_can_read_have_no_password_in_them() {
        let place = Place::new();
        assert_eq!(packaged_settings(place.root()).unwrap(), variables([]));
        place.write(files::PACKAGED_SETTINGS, "HTTPS_PROXY=http://proxy:3128\n");
        let mut settings = packaged_settings(place.root()).unwrap();
        let none = variables([]);
        check(&settings, [&settings, &none]).unwrap();
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ORBIT_UPDATE_URL"] {
            settings.insert(name.into(), "http://ann:s3cret@proxy:3128".into());
            let error = check(&settings, [&none, &settings]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
        }
        check(&settings, [&none, &none]).unwrap();
        settings.insert("ORBIT_DEBUG".into(), "perhaps".into());
        let Err(InstallerError::Settings { problems }) = check(&settings, [&none, &settings])
        else {
            panic!("a switch that is neither on nor off was taken");
        };
        assert_eq!(problems.len(), 5, "all at once: {problems:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_configured_installation_has_its_secret_and_its_pointers() {
        let place = Place::new();
        place.write(files::PACKAGED_SECRET, "packaged\n");
        place.write("bin/orbit/packaged/orbit", "");
        configure(place.root()).unwrap();
        assert_eq!(place.secret().as_deref(), Some("packaged\n"));
        let pointer = place.root().join("bin/orbit/orbit").read_link_utf8().unwrap();
        assert_eq!(pointer, "packaged/orbit");
        assert!(place.root().join(RECORD).exists());
    }

    #[test]
    fn a_purge_leaves_what_the_package_owns() {
        let place = Place::new();
        let owned = ["packaged.env", "bin/orbit/packaged/orbit", "osquery.flags", "fleet.pem"];
        let made = [
            files::NODE_KEY,
            files::ENROLL_SECRET,
            "osquery.db/CURRENT",
            "logs/orbit.log.1",
            "bin/orbit/1.2.3/orbit",
            "bin/osqueryd/current",
        ];
        for name in owned.iter().chain(&made) {
            place.write(name, "x");
        }
        purge(place.root()).unwrap();
        purge(place.root()).unwrap();
        let is_there = |name: &&&str| place.root().join(name).exists();
        assert_eq!(owned.iter().filter(is_there).count(), owned.len());
        assert_eq!(made.iter().filter(is_there).collect::<Vec<_>>(), Vec::<&&str>::new());
    }
}

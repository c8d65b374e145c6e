//! Which version of a component runs: the packaged one, unless an update has put a newer one beside
//! it. The packages of Linux say the same in their scripts.

use std::fs;

use camino::Utf8Path;
#[cfg(unix)]
use camino::Utf8PathBuf;
use semver::Version;
use wire::settings::files;

use super::{InstallerError, delete_error, read, remove_tree};
use crate::identity::FileError;

/// Components by the folder that they are in, and their programs.
const COMPONENTS: [(&str, &str); 3] =
    [("orbit", "orbit"), ("osqueryd", "osqueryd"), ("desktop", "fleet-desktop")];

/// The folder of the newest version that an update has brought, if it is newer than the packaged.
pub(super) fn newest_update(folder: &Utf8Path, program: &str, packaged: &str) -> Option<String> {
    let packaged = Version::parse(packaged).ok();
    let versions = folder.read_dir_utf8().ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let version = Version::parse(entry.file_name()).ok()?;
        entry.path().join(program).is_file().then_some(version)
    });
    let newest = versions.max()?;
    (Some(&newest) > packaged.as_ref()).then(|| newest.to_string())
}

/// The version of the packaged program in the component's `folder`: the package says it beside.
fn packaged_version(folder: &Utf8Path) -> Result<String, InstallerError> {
    let text = read(&folder.join(files::PACKAGED).join(files::PACKAGED_VERSION))?;
    Ok(text.unwrap_or_default().trim().to_owned())
}

/// Has every component's pointer lead to the version that is to run.
pub(super) fn move_all(root: &Utf8Path) -> Result<(), InstallerError> {
    for (component, name) in COMPONENTS {
        let folder = root.join("bin").join(component);
        let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        if folder.join(files::PACKAGED).exists() {
            let packaged = packaged_version(&folder)?;
            system::point(&folder, name, newest_update(&folder, &program, &packaged))?;
        }
    }
    Ok(())
}

/// Deletes the versions that updates have brought, and the pointers to them.
pub(super) fn remove_updates(root: &Utf8Path) -> Result<(), InstallerError> {
    for (component, _) in COMPONENTS {
        let folder = root.join("bin").join(component);
        let Ok(entries) = folder.read_dir_utf8() else { continue };
        let entries = entries.filter_map(Result::ok);
        let brought = entries.filter(|entry| entry.file_name() != files::PACKAGED);
        for entry in brought {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(entry.path())?;
            } else {
                fs::remove_file(entry.path())
                    .map_err(|source| delete_error(entry.path(), source))?;
            }
        }
    }
    Ok(())
}

/// A symlink beside the versions.
#[cfg(unix)]
mod system {
    use super::{FileError, InstallerError, Utf8Path, Utf8PathBuf, files, fs, leads};

    pub(super) fn point(
        folder: &Utf8Path,
        name: &str,
        update: Option<String>,
    ) -> Result<(), InstallerError> {
        let target = match update {
            Some(version) => Utf8PathBuf::from(version).join(name),
            None => Utf8Path::new(files::PACKAGED).join(leads(folder, name)),
        };
        let pointer = folder.join(name);
        let beside = folder.join(format!(".{name}.new"));
        let _ = fs::remove_file(&beside);
        std::os::unix::fs::symlink(&target, &beside)
            .and_then(|()| fs::rename(&beside, &pointer))
            .map_err(|source| FileError::Write { path: pointer, source }.into())
    }
}

/// Where the program is below the packaged folder: on macOS it may be inside of a bundle.
#[cfg(unix)]
fn leads(folder: &Utf8Path, name: &str) -> Utf8PathBuf {
    let bundles = folder.join(files::PACKAGED).read_dir_utf8().into_iter().flatten();
    let bundle = bundles.filter_map(Result::ok).find_map(|entry| {
        let inside = Utf8Path::new(entry.file_name()).join("Contents/MacOS").join(name);
        folder.join(files::PACKAGED).join(&inside).is_file().then_some(inside)
    });
    bundle.unwrap_or_else(|| name.into())
}

/// A file that names the folder; the service itself is orbit's.
#[cfg(windows)]
mod system {
    use super::{FileError, InstallerError, Utf8Path, delete_error, files};
    use crate::{durable, platform::Readers};

    pub(super) fn point(
        folder: &Utf8Path,
        name: &str,
        update: Option<String>,
    ) -> Result<(), InstallerError> {
        if name == "orbit" {
            return super::super::windows::point_service(folder, update.as_deref());
        }
        let path = folder.join(files::CURRENT);
        match update {
            Some(version) => durable::replace(&path, version.as_bytes(), Readers::Everyone)
                .map_err(|source| FileError::Write { path, source }.into()),
            None => durable::delete(&path).map_err(|source| delete_error(&path, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_counts_while_it_is_newer_than_the_package() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(directory.path()).unwrap();
        for version in ["1.9.0", "1.10.0", "1.11.0-rc.1", "packaged", "2.0.0"] {
            fs::create_dir_all(folder.join(version)).unwrap();
            if version != "2.0.0" {
                fs::write(folder.join(version).join("orbit"), "").unwrap();
            }
        }
        let newest = |packaged| newest_update(folder, "orbit", packaged);
        assert_eq!(newest("1.10.0").as_deref(), Some("1.11.0-rc.1"));
        assert_eq!(newest("1.11.0"), None);
        assert_eq!(newest("unknown").as_deref(), Some("1.11.0-rc.1"));
    }

    #[cfg(unix)]
    #[test]
    fn pointers_lead_into_bundles_and_to_updates() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let folder = root.join("bin/osqueryd");
        let bundled = "packaged/osquery.app/Contents/MacOS/osqueryd";
        for name in [bundled, "packaged/VERSION", "5.10.0/osqueryd"] {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), "5.9.1\n").unwrap();
        }
        move_all(root).unwrap();
        let leads = || folder.join("osqueryd").read_link_utf8().unwrap();
        assert_eq!(leads(), "5.10.0/osqueryd");
        fs::write(folder.join("packaged/VERSION"), "5.10.0\n").unwrap();
        move_all(root).unwrap();
        assert_eq!(leads(), bundled);
    }
}

//! Which version of a component runs: the packaged one, unless an update has put a newer one beside
//! it. The packages of Linux say the same in their scripts.

use std::fs;

use camino::Utf8Path;
use update::Component;
use wire::settings::files;

use super::{InstallerError, delete_error};
use crate::updater::{self, disk::RealDisk, folder::Folder, ledger::Installed, version};

/// What an update has brought, if it has proven itself and is newer than what the package brings.
fn newer_update<'a>(current: Option<&'a Installed>, packaged: &str) -> Option<&'a Installed> {
    let packaged = version::parse(packaged);
    current.filter(|it| version::parse(&it.version) > packaged)
}

/// Has every component's pointer lead to the version that is to run.
pub(super) fn move_all(root: &Utf8Path) -> Result<(), InstallerError> {
    let ledger = updater::read_ledger(root);
    for component in Component::ALL {
        let folder = Folder::new(&RealDisk, root, component);
        if let Some(packaged) = folder.packaged_version() {
            let current = ledger.of(component).current.as_ref();
            let current = current.filter(|version| folder.is_whole(version));
            folder.point(newer_update(current, &packaged))?;
        }
    }
    Ok(())
}

/// Deletes the versions that updates have brought, and the pointers to them.
pub(super) fn remove_updates(root: &Utf8Path) -> Result<(), InstallerError> {
    for component in Component::ALL {
        let folder = root.join("bin").join(component.as_str());
        let Ok(entries) = folder.read_dir_utf8() else { continue };
        let entries = entries.filter_map(Result::ok);
        let brought = entries.filter(|entry| entry.file_name() != files::PACKAGED);
        for entry in brought {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                super::remove_tree(entry.path())?;
            } else {
                fs::remove_file(entry.path())
                    .map_err(|source| delete_error(entry.path(), source))?;
            }
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::updater::Updater;

    fn installed(version: &str) -> Installed {
        Installed {
            version: version.to_owned(),
            target: String::new(),
            program: "orbit".to_owned(),
            program_sha256: String::new(),
        }
    }

    #[test]
    fn an_update_counts_while_it_is_newer_than_the_package() {
        let update = installed("1.11.0-rc.1");
        let newer = |packaged| newer_update(Some(&update), packaged).is_some();
        assert!(newer("1.10.0"));
        assert!(!newer("1.11.0"));
        assert!(!newer("1.11.0-rc.1"));
        assert!(newer("unknown"));
    }

    #[test]
    fn pointers_lead_into_bundles_and_to_updates_that_have_proven_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let folder = root.join("bin/osqueryd");
        let bundled = "packaged/osquery.app/Contents/MacOS/osqueryd";
        for name in [bundled, "packaged/VERSION", "5.10.0/osqueryd", "5.11.0/osqueryd"] {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), "5.9.1\n").unwrap();
        }
        let leads = || folder.join("osqueryd").read_link_utf8().unwrap();
        move_all(root).unwrap();
        assert_eq!(leads(), bundled, "nothing tells that an update has proven itself");
        let mut updater = Updater::open(root, None, RealDisk);
        let proven = Installed {
            version: "5.10.0".to_owned(),
            target: "target".to_owned(),
            program: "osqueryd".to_owned(),
            program_sha256: hex::encode(<sha2::Sha256 as sha2::Digest>::digest("5.9.1\n")),
        };
        let staged = [(Component::Osqueryd, crate::updater::Finding::Staged(proven))];
        updater.take_in(&staged, jiff::Timestamp::UNIX_EPOCH).unwrap();
        move_all(root).unwrap();
        assert_eq!(leads(), bundled, "it is on trial");
        updater.prove(Component::Osqueryd).unwrap();
        move_all(root).unwrap();
        assert_eq!(leads(), "5.10.0/osqueryd");
        fs::write(folder.join("packaged/VERSION"), "5.10.0\n").unwrap();
        move_all(root).unwrap();
        assert_eq!(leads(), bundled);
    }
}

//! What an agent makes of archives whose entries lead out of them.

use std::{fs, io::Write as _};

use agent::updater::{
    disk::RealDisk,
    folder::{Brought, Folder, FolderError, Packing},
    ledger::Installed,
};
use camino::Utf8PathBuf;
use tar::{EntryType, Header};
use tempfile::TempDir;
use update::Component;

/// An entry of an archive, under a name that no honest program writes.
struct Entry {
    name: &'static str,
    kind: EntryType,
    link: &'static str,
}

fn file(name: &'static str) -> Entry {
    Entry { name, kind: EntryType::Regular, link: "" }
}

fn link(kind: EntryType, link: &'static str) -> Entry {
    Entry { name: "osqueryd.app/Contents/link", kind, link }
}

fn packed(entries: &[Entry]) -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(packed);
    for entry in entries {
        let content: &[u8] = if entry.kind.is_file() { b"content" } else { b"" };
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_link_name_literal(entry.link).unwrap();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }
    let mut packed = archive.into_inner().unwrap();
    packed.flush().unwrap();
    packed.finish().unwrap()
}

/// A device, and what comes of unpacking there.
fn staged(
    component: Component,
    packing: Packing,
    entries: &[Entry],
) -> (TempDir, Result<Installed, FolderError>) {
    let device = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(device.path().join("orbit")).unwrap();
    fs::create_dir_all(root.join("bin").join(component.as_str())).unwrap();
    let path = root.join("download");
    fs::write(&path, packed(entries)).unwrap();
    let (version, target) = ("1.2.3".to_owned(), "signed".to_owned());
    let brought = Brought { path, version, target, packing, modified: None };
    let staged = Folder::new(&RealDisk, &root, component).stage(&brought, &[]);
    (device, staged)
}

#[test]
fn what_leads_out_of_a_bundle_is_refused() {
    let escapes = [
        file("osqueryd.app/../../x"),
        file("../osqueryd.app/x"),
        file("/tmp/osqueryd.app/x"),
        link(EntryType::Symlink, "../../../x"),
        link(EntryType::Symlink, "MacOS/../../../x"),
        link(EntryType::Symlink, "/etc/passwd"),
        link(EntryType::Link, "/etc/passwd"),
        link(EntryType::Fifo, ""),
    ];
    for escape in escapes {
        let name = escape.name;
        let entries = [file("osqueryd.app/Contents/MacOS/osqueryd"), escape];
        let (device, staged) = staged(Component::Osqueryd, Packing::Bundle, &entries);
        let error = staged.unwrap_err();
        assert!(matches!(error, FolderError::Escape(_)), "{name}: {error:?}");
        let folder = device.path().join("orbit/bin/osqueryd");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "{name}: nothing of it is left");
        assert_eq!(fs::read_dir(device.path()).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn links_within_a_bundle_are_made() {
    let within = link(EntryType::Symlink, "../Contents/MacOS");
    let entries = [file("osqueryd.app/Contents/MacOS/osqueryd"), within];
    let (device, staged) = staged(Component::Osqueryd, Packing::Bundle, &entries);
    assert_eq!(staged.unwrap().program, "osqueryd.app/Contents/MacOS/osqueryd");
    let link = device.path().join("orbit/bin/osqueryd/1.2.3/osqueryd.app/Contents/link");
    assert_eq!(fs::read(link.join("osqueryd")).unwrap(), b"content");
}

/// Of an archive nothing is taken but a program, to a place that is not the archive's to say.
#[test]
fn a_program_in_an_archive_is_put_in_its_own_place() {
    let linked = Entry { name: "fleet-desktop", kind: EntryType::Symlink, link: "/etc/passwd" };
    let entries = [linked, file("../../fleet-desktop")];
    let (device, staged) = staged(Component::Desktop, Packing::Archive, &entries);
    assert_eq!(staged.unwrap().program, "fleet-desktop");
    let folder = device.path().join("orbit/bin/desktop/1.2.3");
    assert_eq!(fs::read(folder.join("fleet-desktop")).unwrap(), b"content");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}

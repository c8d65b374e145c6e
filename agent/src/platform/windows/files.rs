//! Files: who may read them, where programs lie, and what survives a power cut.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::windows::fs::OpenOptionsExt as _,
    process::{Command, Stdio},
};

use camino::{Utf8Path, Utf8PathBuf};
use uuid::Uuid;
use wire::settings::files;

use super::machine;
use crate::platform::{Access, Readers, sddl};

/// Where the package installs unless told otherwise.
const INSTALLED: &str = r"C:\Program Files\Orbit";

/// Lets a directory be opened like a file (`FILE_FLAG_BACKUP_SEMANTICS`).
const OPEN_DIRECTORY: u32 = 0x0200_0000;

/// Whoever is signed in at the device, in person or over Remote Desktop.
const USER: &str = "*S-1-5-4:R";

/// SYSTEM, Administrators, and the owner, who is one of them unless a person tries the agent out.
const OWNERS: [&str; 3] = ["*S-1-5-18:F", "*S-1-5-32-544:F", "*S-1-3-4:F"];

/// Where the agent lives unless told otherwise: above `bin\orbit\<version>\orbit.exe`, when that
/// is where this program is.
#[must_use]
pub fn default_root() -> Utf8PathBuf {
    let own = env::current_exe().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    own.as_deref().and_then(root_above).map_or_else(|| INSTALLED.into(), Utf8Path::to_owned)
}

fn root_above(program: &Utf8Path) -> Option<&Utf8Path> {
    let component = program.parent()?.parent()?;
    let bin = component.parent()?;
    let fits = |path: &Utf8Path, name: &str| {
        path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    let is_ours = ["orbit", "desktop"].iter().any(|name| fits(component, name));
    (is_ours && fits(bin, "bin")).then(|| bin.parent()).flatten()
}

/// The program of a component below `root`: in the folder that the pointer names, else the packaged
/// one. A running program cannot be replaced here, so each version has a folder of its own.
#[must_use]
pub fn program(root: &Utf8Path, component: &str, name: &str) -> Utf8PathBuf {
    let folder = root.join("bin").join(component);
    let name = format!("{name}.exe");
    let named = fs::read_to_string(folder.join(files::CURRENT)).ok();
    let named = named.as_deref().map(str::trim).filter(|version| is_plain(version));
    let updated = named.map(|version| folder.join(version).join(&name));
    updated.filter(|path| path.is_file()).unwrap_or_else(|| folder.join(files::PACKAGED).join(name))
}

/// Whether `name` leads nowhere but to an entry of the folder that it is looked up in.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
}

/// Programs are told by their names.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub fn set_program(_file: &File, _is_program: bool) -> io::Result<()> {
    Ok(())
}

/// Refused: only bundles for macOS have symbolic links.
pub fn link(_target: &Utf8Path, _path: &Utf8Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many bytes may still be written below `directory`; none: nobody knows.
#[must_use]
pub fn free_space(directory: &Utf8Path) -> Option<u64> {
    let mut free = 0;
    winsafe::GetDiskFreeSpaceEx(Some(directory.as_str()), Some(&mut free), None, None).ok()?;
    Some(free)
}

/// Who alone may read secrets and write programs.
pub const ADMINISTRATOR: &str = "administrators";

/// What a person does to keep others from reading the file.
#[must_use]
pub fn close_to_readers(path: &Utf8Path) -> String {
    format!("icacls \"{path}\" /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F")
}

/// What a person does to keep others from writing to the folder.
#[must_use]
pub fn close_to_writers(path: &Utf8Path) -> String {
    format!(
        "icacls \"{path}\" /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F \
         *S-1-5-32-545:(OI)(CI)RX"
    )
}

/// What others than administrators and `readers` may do with the file or directory. None where there is
/// no such file, or not for this user to look at.
#[must_use]
pub fn access_of_others(path: &Utf8Path, readers: Readers) -> Option<Access> {
    let list = access_list(path).ok()??;
    Some(sddl::access_of_others(&list, readers))
}

/// The file's access control list. What icacls shows is in the language of the system, what it saves is
/// not.
fn access_list(path: &Utf8Path) -> io::Result<Option<String>> {
    if !path.try_exists()? {
        return Ok(None);
    }
    let saved = env::temp_dir().join(format!("orbit-{}.acl", Uuid::new_v4()));
    let text = run_icacls(path, |command| command.arg("/save").arg(&saved).arg("/q"))
        .and_then(|()| fs::read(&saved));
    let _ = fs::remove_file(&saved);
    let text = text_of_utf16(&text?);
    Ok(text.lines().rfind(|line| line.starts_with("D:")).map(str::to_owned))
}

fn text_of_utf16(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let units: Vec<_> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16_lossy(&units)
}

/// Writes `bytes` to a file that is new or emptied, readable by `readers`, and syncs it.
///
/// A secret goes into a file that is made for it, closed to all others while it has no access
/// control list of its own yet.
pub fn write_synced(path: &Utf8Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).share_mode(0);
    match readers {
        Readers::Everyone => options.create(true).truncate(true),
        Readers::Root | Readers::User(_) => {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            options.create_new(true)
        }
    };
    let mut file = options.open(path)?;
    match readers {
        Readers::Everyone => {}
        Readers::Root => restrict(path, &OWNERS)?,
        Readers::User(_) => restrict(path, &[&OWNERS[..], &[USER]].concat())?,
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Lets `readers` alone use the file, whatever the folder's list says. `icacls` is part of every
/// Windows and takes identifiers that mean the same in every language; the crates that set lists
/// without unsafe code of ours have not been kept for years.
fn restrict(path: &Utf8Path, readers: &[&str]) -> io::Result<()> {
    run_icacls(path, |command| command.args(["/inheritance:r", "/q", "/grant:r"]).args(readers))
}

/// Runs `icacls` on the file, with the `arguments` that follow its path.
fn run_icacls(
    path: &Utf8Path,
    arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the platform starts what the system offers")]
    let mut command = Command::new(machine::tool("icacls.exe"));
    command.arg(path);
    let output = arguments(&mut command).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("icacls: {}", said.trim())))
}

/// Whether a file for [`Readers::User`] should be written again; never, as it is for a group.
#[must_use]
pub fn is_anothers(_path: &Utf8Path, _user: Option<u32>) -> bool {
    false
}

/// Makes renames and deletions in `directory` survive a power cut. NTFS keeps them in order by
/// itself; file systems that know no such request are taken as they are.
pub fn sync_directory(directory: &Utf8Path) -> io::Result<()> {
    let opened = OpenOptions::new().write(true).custom_flags(OPEN_DIRECTORY).open(directory);
    if let Err(error) = opened.and_then(|directory| directory.sync_all()) {
        tracing::debug!("`{directory}` cannot be synced: {error}");
    }
    Ok(())
}

/// Opens a log for appending. Who may read it, the folder says.
pub fn open_log(path: &Utf8Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_above_the_installed_program() {
        let root = |path: &str| root_above(Utf8Path::new(path)).map(Utf8Path::to_owned);
        assert_eq!(root(r"D:\Fleet\bin\orbit\packaged\orbit.exe"), Some(r"D:\Fleet".into()));
        assert_eq!(root(r"D:\Fleet\BIN\Orbit\1.2.3\orbit.exe"), Some(r"D:\Fleet".into()));
        assert_eq!(root(r"D:\target\debug\orbit.exe"), None);
        assert_eq!(root("orbit.exe"), None);
    }

    #[test]
    fn the_disk_of_a_folder_that_is_there_has_room() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        assert!(free_space(root).is_some_and(|free| free > 0));
        assert_eq!(free_space(&root.join("absent")), None);
    }

    #[test]
    fn a_pointer_leads_to_a_program_that_is_there_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let folder = root.join(r"bin\osqueryd");
        let packaged = folder.join(r"packaged\osqueryd.exe");
        fs::create_dir_all(folder.join("5.9.1")).unwrap();
        fs::write(folder.join(r"5.9.1\osqueryd.exe"), "").unwrap();
        assert_eq!(program(root, "osqueryd", "osqueryd"), packaged);
        for (pointer, leads) in
            [("5.9.1\r\n", true), ("5.9.0", false), (r"..\osqueryd\5.9.1", false)]
        {
            fs::write(folder.join(files::CURRENT), pointer).unwrap();
            assert_eq!(program(root, "osqueryd", "osqueryd") != packaged, leads, "{pointer:?}");
        }
    }
}

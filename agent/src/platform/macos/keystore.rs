//! The System keychain, through security(1): what that program puts there, it may read again, whoever
//! has signed the agent that asks for it. Texts come and go through pipes, in hexadecimal digits, which
//! no quoting can change.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use zeroize::Zeroizing;

use crate::platform::unix::filter::filter;

const PROGRAM: &str = "usr/bin/security";

/// Whose key root alone can read, and which is open without anybody signed in.
const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

/// Items of the System keychain.
#[derive(Debug, Clone)]
pub struct Keystore {
    program: Utf8PathBuf,
    /// The agent's root directory, by which agents tell theirs from others'.
    account: String,
}

impl Keystore {
    /// The one of the system below `system` for the agent below `root`; none where there is no such
    /// program.
    #[must_use]
    pub fn below(system: &Utf8Path, root: &Utf8Path) -> Option<Self> {
        let (program, account) = (system.join(PROGRAM), root.to_string());
        let is_plain = !account.contains(['"', '\\', '\n']);
        (is_plain && program.is_file()).then_some(Self { program, account })
    }

    /// Keeps `text` under `name`, in place of what was there.
    pub fn seal(&self, name: &str, text: &str) -> io::Result<()> {
        let Self { program, account } = self;
        let digits = Zeroizing::new(hex::encode(text));
        let line = Zeroizing::new(format!(
            "add-generic-password -U -s {name} -a \"{account}\" -w {} {KEYCHAIN}\n",
            *digits
        ));
        filter(program, &["-i"], line.as_bytes()).map(drop)
    }

    /// The text under `name`; none when there is none.
    pub fn open(&self, name: &str) -> io::Result<Option<Zeroizing<String>>> {
        if !self.holds(name) {
            return Ok(None);
        }
        let found = filter(&self.program, &self.item("find-generic-password", name, &["-w"]), b"")?;
        let text = Zeroizing::new(hex::decode(found.trim_ascii()).map_err(io::Error::other)?);
        let text = std::str::from_utf8(&text).map_err(io::Error::other)?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// Whether there is a text under `name`.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        filter(&self.program, &self.item("find-generic-password", name, &[]), b"").is_ok()
    }

    /// Deletes what is under `name`, if there is anything.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        if !self.holds(name) {
            return Ok(());
        }
        filter(&self.program, &self.item("delete-generic-password", name, &[]), b"").map(drop)
    }

    fn item<'a>(&'a self, verb: &'a str, name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&[verb, "-s", name, "-a", &self.account][..], more, &[KEYCHAIN]].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    /// As much of security(1) as is asked for, with a folder in place of the keychain.
    const STAND_IN: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/arguments"
if [ "$1" = -i ]; then read -r line; eval "set -- $line"; fi
item="$here/$3$(echo "$5" | tr / _)"
[ "$2 $4" = "-s -a" ] || [ "$2 $3 $5" = "-U -s -a" ] || exit 2
case $1 in
    add-generic-password) printf %s "$8" > "$here/$4$(echo "$6" | tr / _)" ;;
    find-generic-password) [ -e "$item" ] || exit 44
        if [ "$6" = -w ]; then cat "$item"; echo; else echo "class: genp"; fi ;;
    delete-generic-password) rm "$item" ;;
esac
"#;

    #[test]
    fn a_keychain_gives_back_what_it_was_given_and_nothing_is_an_argument() {
        let system = tempfile::tempdir().unwrap();
        let system = Utf8Path::from_path(system.path()).unwrap();
        let root = Utf8Path::new("/Library/Application Support/orbit");
        assert!(Keystore::below(system, root).is_none());
        let program = system.join(PROGRAM);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let keystore = Keystore::below(system, root).unwrap();
        assert_eq!(keystore.open("a").unwrap(), None);
        for text in ["s3cret \"'$HOME` %", "another"] {
            keystore.seal("a", text).unwrap();
            assert_eq!(keystore.open("a").unwrap().as_deref().map(String::as_str), Some(text));
        }
        assert!(!keystore.holds("b"));
        keystore.forget("a").unwrap();
        keystore.forget("a").unwrap();
        assert!(!keystore.holds("a"));
        let arguments = fs::read_to_string(program.with_file_name("arguments")).unwrap();
        assert!(arguments.contains("-i") && !arguments.contains(&hex::encode("another")));
    }
}

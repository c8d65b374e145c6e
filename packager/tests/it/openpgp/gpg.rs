//! gpg in a home of its own.

use std::{fs, path::Path};

use packager::SourceDate;

use crate::fixture::run;

/// When keys of these tests are made and used: after the packages' date.
pub(crate) const NOW: SourceDate = SourceDate::from_unix(1_795_000_000);
pub(crate) const PASSPHRASE: &str = "correct horse \"battery\" staple";

/// A home of gpg.
pub(crate) struct Gpg(tempfile::TempDir);

impl Gpg {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("gpg").tempdir().unwrap();
        // Passphrases are not guessed here: they are tried thousands of times less.
        fs::write(home.path().join("gpg-agent.conf"), "s2k-count 65536\n").unwrap();
        Self(home)
    }

    pub(crate) fn home(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        run("gpg", &self.args(args))
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let home = self.0.path().to_str().unwrap();
        let fixed = ["--homedir", home, "--batch", "--yes", "--quiet", "--pinentry-mode"];
        [&fixed[..], &["loopback", "--passphrase", PASSPHRASE], args].concat()
    }

    /// Makes a key, a day before [`NOW`].
    pub(crate) fn make(&self, user: &str, algorithm: &str, usage: &str, expires: &str) {
        let day_before = format!("{}!", NOW.unix() - 86_400);
        let args = ["--faked-system-time", &day_before, "--quick-generate-key", user, algorithm];
        self.run(&[&args[..], &[usage, expires]].concat());
    }

    pub(crate) fn secret(&self, user: &str) -> Vec<u8> {
        self.exported("--export-secret-keys", user)
    }

    pub(crate) fn public(&self, user: &str) -> Vec<u8> {
        self.exported("--export", user)
    }

    fn exported(&self, command: &str, user: &str) -> Vec<u8> {
        let file = self.0.path().join("exported");
        self.run(&["--output", file.to_str().unwrap(), command, user]);
        fs::read(file).unwrap()
    }

    pub(crate) fn fingerprint(&self, user: &str) -> String {
        let listed = self.run(&["--with-colons", "--list-keys", user]);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Whether gpg itself takes `signature` for one over `content`, and what it says.
    pub(crate) fn verify(&self, signature: &[u8], content: &[u8]) -> String {
        let [sig, file] = ["sig", "content"].map(|name| self.0.path().join(name));
        fs::write(&sig, signature).unwrap();
        fs::write(&file, content).unwrap();
        let time = format!("{}!", NOW.unix());
        self.run(&["--faked-system-time", &time, "--verify", path(&sig), path(&file)])
    }
}

impl Drop for Gpg {
    /// Its agent would stay for as long as the folder does.
    fn drop(&mut self) {
        run("gpgconf", &["--homedir", self.0.path().to_str().unwrap(), "--kill", "gpg-agent"]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

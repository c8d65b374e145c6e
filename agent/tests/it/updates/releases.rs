//! A repository that is published in a folder.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use update::{
    Addition, Channel, Component, Edit, Editor, Expiries, Founding, Passphrase, SigningKey, Terms,
    UpdatePlatform,
};

pub(super) struct Releases {
    directory: TempDir,
    editor: Editor,
    keys: Vec<SigningKey>,
    /// When what is published was signed.
    signed_at: Timestamp,
}

impl Releases {
    pub(super) fn new() -> Self {
        Self::signed_ago(SignedDuration::ZERO)
    }

    /// A repository whose signers have their clocks back by so much.
    pub(super) fn signed_ago(ago: SignedDuration) -> Self {
        let signed_at = now() - ago;
        let directory = TempDir::with_prefix("tuf-").unwrap();
        let passphrase = || Passphrase::new("correct horse".to_owned()).unwrap();
        let founding = Founding {
            root: vec![passphrase()],
            root_threshold: 1.try_into().unwrap(),
            targets: passphrase(),
            snapshot: passphrase(),
            timestamp: passphrase(),
            who: "ann".to_owned(),
        };
        let path = Utf8PathBuf::from_path_buf(directory.path().join("tuf")).unwrap();
        let expiries = Expiries::default();
        let editor = wait_for(update::init(&path, &founding, &expiries, signed_at)).unwrap();
        let unlock = |name: &str| editor.keys().unlock(name, &passphrase()).unwrap();
        let keys = ["targets", "snapshot", "timestamp"].map(unlock).into();
        Self { directory, editor, keys, signed_at }
    }

    /// Makes `content` the stable version of `component` for this system.
    pub(super) fn publish(&mut self, component: Component, version: &str, content: &[u8]) {
        self.add((component, version, Channel::stable()), content, false);
    }

    /// The same, compressed besides.
    pub(super) fn publish_compressed(
        &mut self,
        component: Component,
        version: &str,
        content: &[u8],
    ) {
        self.add((component, version, Channel::stable()), content, true);
    }

    /// Makes a program the version that a channel offers, with patches from what was offered before.
    pub(super) fn publish_patched(
        &mut self,
        (component, version, channel): (Component, &str, &str),
        content: &[u8],
    ) {
        self.add((component, version, channel.parse().unwrap()), content, true);
    }

    /// Makes a program the version of orbit that a channel offers.
    pub(super) fn publish_on(&mut self, channel: &str, version: &str, content: &[u8]) {
        self.add((Component::Orbit, version, channel.parse().unwrap()), content, false);
    }

    fn add(
        &mut self,
        (component, version, channel): (Component, &str, Channel),
        content: &[u8],
        is_compressed: bool,
    ) {
        let file = self.directory.path().join("file");
        fs::write(&file, content).unwrap();
        let addition = Addition {
            file: Utf8PathBuf::from_path_buf(file).unwrap(),
            program: component.into(),
            platform: platform(),
            version: version.parse().unwrap(),
            tags: vec![channel],
            is_compressed,
        };
        self.apply(&Edit::Add(vec![addition]));
    }

    /// Has the timestamp signed again, by a clock that is right.
    pub(super) fn renew(&mut self) {
        self.signed_at = now();
        self.apply(&Edit::Renew("timestamp".to_owned()));
    }

    fn apply(&mut self, edit: &Edit) {
        let expiries = Expiries::default();
        let terms =
            Terms { keys: &self.keys, expiries: &expiries, now: self.signed_at, who: "ann" };
        wait_for(self.editor.apply(edit, &terms)).unwrap();
    }

    /// What is published.
    pub(super) fn dir(&self) -> &Utf8Path {
        self.editor.repository_dir()
    }

    pub(super) fn url(&self) -> String {
        format!("file://{}", self.dir())
    }

    pub(super) fn root_json(&self) -> String {
        String::from_utf8(self.editor.root_json().to_vec()).unwrap()
    }
}

/// What this machine is called in a repository.
pub(super) fn platform() -> UpdatePlatform {
    if cfg!(target_arch = "aarch64") { UpdatePlatform::LinuxArm64 } else { UpdatePlatform::Linux }
}

/// Publishers have a process of their own, and here a thread: tests may be in a runtime already.
fn wait_for<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(future)).join().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "the program under test asks for the time, too")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

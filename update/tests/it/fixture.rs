//! A signed repository in a temporary directory, and readers of it.

use std::{fs, num::NonZeroU64, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use update::{
    Addition, Channel, Component, Connection, Edit, Editor, Expiries, FetchedComponent, Founding,
    Location, Passphrase, Progress, Repository, RepositoryConfig, SigningKey, TargetName, Terms,
    UpdatePlatform,
    editor::{ChangeError, Done},
    repository::FetchError,
};

/// The passphrase of every key.
pub(crate) const PASSPHRASE: &str = "correct horse: \"battery\" $taple";

/// The moment of every test.
pub(crate) fn now() -> Timestamp {
    "2026-03-01T12:00:00.5Z".parse().unwrap()
}

/// `now()` and so many days.
pub(crate) fn days_later(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * days)
}

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE.to_owned()).unwrap()
}

/// A root of so many keys, two of which must sign if there are that many.
pub(crate) fn founding(root_keys: u64) -> Founding {
    Founding {
        root: (0..root_keys).map(|_| passphrase()).collect(),
        root_threshold: NonZeroU64::new(root_keys.min(2)).unwrap(),
        targets: passphrase(),
        snapshot: passphrase(),
        timestamp: passphrase(),
        who: "ann".to_owned(),
    }
}

/// A repository, the files that go into it, and a cache.
pub(crate) struct Fixture {
    dir: TempDir,
    pub(crate) editor: Editor,
    keys: Arc<Vec<SigningKey>>,
}

impl Fixture {
    /// A repository with keys of its own and nothing in it.
    pub(crate) async fn new() -> Self {
        Self::founded(&founding(1)).await
    }

    pub(crate) async fn founded(founding: &Founding) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tuf = utf8(dir.path()).join("tuf");
        let editor = update::init(&tuf, founding, &Expiries::default(), now()).await.unwrap();
        let unlock = |name: &str| editor.keys().unlock(name, &passphrase()).unwrap();
        let mut keys: Vec<_> = ["targets", "snapshot", "timestamp"].map(unlock).into();
        let listed = editor.keys().list().unwrap();
        let roots = listed.iter().map(|it| it.name.as_str()).filter(|it| it.starts_with("root"));
        keys.extend(roots.map(unlock));
        Self { dir, editor, keys: Arc::new(keys) }
    }

    /// A repository with keys of its own and orbit 1.0.0 on `stable`.
    pub(crate) async fn with_own_keys() -> Self {
        let mut fixture = Self::new().await;
        fixture.publish_orbit("1.0.0", b"orbit, the first").await;
        fixture
    }

    /// A repository with orbit 1.0.0 on `stable`. All of these are copies of one, since making keys
    /// is slow on purpose.
    pub(crate) async fn with_orbit() -> Self {
        static MADE: OnceCell<(Files, Arc<Vec<SigningKey>>)> = OnceCell::const_new();
        let make = || async {
            let fixture = Self::with_own_keys().await;
            (read_tree(&fixture.path("")), Arc::clone(&fixture.keys))
        };
        let (files, keys) = MADE.get_or_init(make).await;
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = utf8(dir.path()).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let editor = Editor::open(&utf8(dir.path()).join("tuf")).unwrap();
        Self { dir, editor, keys: Arc::clone(keys) }
    }

    pub(crate) async fn publish_orbit(&mut self, version: &str, content: &[u8]) {
        let addition = self.orbit(version, content);
        self.add(&[addition]).await;
    }

    pub(crate) async fn add(&mut self, additions: &[Addition]) -> Done {
        self.apply(&Edit::Add(additions.to_vec())).await.unwrap()
    }

    /// Does `edit` with every key that the repository began with.
    pub(crate) async fn apply(&mut self, edit: &Edit) -> Result<Done, ChangeError> {
        let keys = self.keys();
        self.editor.apply(edit, &terms(&keys)).await
    }

    /// An orbit for Linux, tagged `stable`.
    pub(crate) fn orbit(&self, version: &str, content: &[u8]) -> Addition {
        let file = self.write(&format!("orbit-{version}"), content);
        orbit_addition(&file, version)
    }

    pub(crate) fn keys(&self) -> Arc<Vec<SigningKey>> {
        Arc::clone(&self.keys)
    }

    /// The directory that is published.
    pub(crate) fn published(&self) -> Location {
        Location::Directory(self.editor.repository_dir().to_owned())
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        utf8(self.dir.path()).join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Utf8PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The repository as it is now, in a directory that stays as it is.
    pub(crate) fn snapshot(&self, name: &str) -> Utf8PathBuf {
        let to = self.path(name);
        copy_tree(self.editor.repository_dir(), &to);
        to
    }

    /// A reader at `location` that shares this fixture's cache.
    pub(crate) fn reader(&self, location: Location) -> Repository {
        Repository::open(self.config(location)).unwrap()
    }

    pub(crate) fn config(&self, location: Location) -> RepositoryConfig {
        RepositoryConfig {
            location,
            pinned_root: self.editor.root_json().to_vec(),
            cache_dir: self.path("cache"),
            connection: Connection::default(),
            offline: false,
        }
    }
}

/// An orbit for Linux, tagged `stable`.
pub(crate) fn orbit_addition(file: &Utf8Path, version: &str) -> Addition {
    Addition {
        file: file.to_owned(),
        program: Component::Orbit.into(),
        platform: UpdatePlatform::Linux,
        version: version.parse().unwrap(),
        tags: vec![Channel::stable()],
        is_compressed: false,
    }
}

/// `keys` sign now.
pub(crate) fn terms(keys: &[SigningKey]) -> Terms<'_> {
    static EXPIRIES: std::sync::LazyLock<Expiries> = std::sync::LazyLock::new(Expiries::default);
    Terms { keys, expiries: &EXPIRIES, now: now(), who: "ann" }
}

/// The target of orbit for Linux on `channel`.
pub(crate) fn orbit_on(channel: &str) -> TargetName {
    TargetName {
        component: Component::Orbit,
        platform: UpdatePlatform::Linux,
        channel: channel.parse().unwrap(),
    }
}

/// Refreshes, which must work, and fetches orbit's stable version.
pub(crate) async fn fetch_stable(
    repository: &mut Repository,
) -> Result<FetchedComponent, FetchError> {
    repository.refresh(now()).await.unwrap();
    let fetched = repository.fetch(&[orbit_on("stable")], now(), &ignore).await?;
    Ok(fetched.into_iter().next().unwrap())
}

pub(crate) fn ignore(_: Progress) {}

pub(crate) fn utf8(path: &std::path::Path) -> &Utf8Path {
    Utf8Path::from_path(path).unwrap()
}

pub(crate) fn copy_tree(from: &Utf8Path, to: &Utf8Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Contents by relative path.
type Files = Vec<(Utf8PathBuf, Vec<u8>)>;

/// Every file below `dir`, by its path from there.
fn read_tree(dir: &Utf8Path) -> Files {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in next.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path().to_owned());
            } else {
                let name = entry.path().strip_prefix(dir).unwrap().to_owned();
                files.push((name, fs::read(entry.path()).unwrap()));
            }
        }
    }
    files
}

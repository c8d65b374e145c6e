//! Going on with repositories of other tools, under the eyes of clients that pinned their first root.

use std::{collections::BTreeMap, fs};

use camino::{Utf8Path, Utf8PathBuf};
use update::{
    Addition, Connection, Edit, Editor, Expiries, KeyDir, KeyName, Location, Repository,
    RepositoryConfig, TufRole,
    audit::audit,
    editor::{Inheritance, MigrateError, migrate, roles_without_keys},
    keys::{KeyError, NewKey},
};

use crate::{
    clients::{VERSION, by_tuftool},
    fixture::{PASSPHRASE, fetch_stable, now, orbit_addition, orbit_on, passphrase, terms, utf8},
    python,
    server::Server,
};

/// A repository of another tool, and where ours is to be.
struct Old {
    dir: tempfile::TempDir,
}

impl Old {
    async fn of_go_tuf(flags: &[&str]) -> Self {
        let old = Self { dir: tempfile::tempdir().unwrap() };
        let (path, moment) = (old.path("old"), now().to_string());
        let args = [&[path.as_str(), &moment, PASSPHRASE], flags].concat();
        python::run("write_gotuf.py", &args).await.unwrap();
        old
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        utf8(self.dir.path()).join(name)
    }

    fn published(&self) -> Utf8PathBuf {
        self.path("old/repository")
    }

    /// The keys in these files of the old repository.
    fn keys(&self, files: &[&str]) -> Vec<NewKey> {
        let dir = KeyDir::new(self.path("tuf/keys"));
        let take = |file: &&str| {
            let name: KeyName = file.split('.').next().unwrap().parse().unwrap();
            dir.take(&name, &self.path("old/keys").join(file), Some(&passphrase())).unwrap()
        };
        files.iter().flat_map(take).collect()
    }

    async fn migrate(&self, files: &[&str]) -> Result<Editor, MigrateError> {
        let keys = self.keys(files);
        let public: Vec<_> = keys.iter().map(NewKey::public).collect();
        let missing = roles_without_keys(&self.published(), &public)?;
        let replaced = missing.into_iter().map(|role| (role, passphrase()));
        let inheritance = Inheritance {
            from: &self.published(),
            keys: keys.into_iter().map(|key| (key, passphrase())).collect(),
            replaced: replaced.collect::<BTreeMap<_, _>>(),
            who: "ann".to_owned(),
        };
        migrate(&self.path("tuf"), inheritance, &Expiries::default(), now()).await
    }

    fn reader(&self, dir: &Utf8Path) -> Repository {
        let config = RepositoryConfig {
            location: Location::Directory(dir.to_owned()),
            pinned_root: fs::read(self.published().join("1.root.json")).unwrap(),
            cache_dir: self.path("cache"),
            connection: Connection::default(),
            offline: false,
        };
        Repository::open(config).unwrap()
    }

    /// What python-tuf reads of `targets` that pinned the old root.
    async fn python_reads(&self, dir: &Utf8Path, targets: &[&str]) -> Result<String, String> {
        let server = Server::start(dir).await;
        let root = self.published().join("1.root.json");
        let out = tempfile::tempdir().unwrap();
        let (out, moment) = (out.path().join("out"), now().to_string());
        let args = [&[root.as_str(), server.url(), out.to_str().unwrap(), &moment], targets];
        python::run("read_repository.py", &args.concat()).await
    }
}

const TARGETS: [&str; 2] = ["orbit/linux/stable/orbit", "nudge/macos/stable/nudge.app.tar.gz"];

const ALL: [&str; 4] = ["root.json", "targets.json", "snapshot.json", "timestamp.json"];

fn unlocked(editor: &Editor) -> Vec<update::SigningKey> {
    let unlock = |it: update::keys::KeyFile| editor.keys().unlock(&it.name, &passphrase()).unwrap();
    editor.keys().list().unwrap().into_iter().map(unlock).collect()
}

/// All of it expired a year ago, which is when people begin to look for another tool.
#[tokio::test]
async fn whoever_pinned_the_root_of_go_tuf_goes_on() {
    let old = Old::of_go_tuf(&["old"]).await;
    let mut editor = old.migrate(&ALL).await.unwrap();
    let status = editor.status(now()).unwrap();
    let versions: Vec<_> =
        status.roles.iter().map(|it| (it.role.as_str(), it.version, it.keys.len())).collect();
    let expected = [("root", 3, 1), ("targets", 8, 1), ("snapshot", 9, 1), ("timestamp", 10, 1)];
    assert_eq!(versions, expected);
    assert_eq!(audit(editor.repository_dir(), now()).await.unwrap().problems, [""; 0]);
    editor.check_log().unwrap();
    let printed = old.python_reads(editor.repository_dir(), &TARGETS).await.unwrap();
    assert!(printed.contains("{\"version\": \"1.0.0\"}"), "{printed}");
    let mut reader = old.reader(editor.repository_dir());
    let fetched = fetch_stable(&mut reader).await.unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit of old");

    let keys = unlocked(&editor);
    let second = old.path("orbit-1.1.0");
    fs::write(&second, "orbit, the second").unwrap();
    let addition: Addition = orbit_addition(&second, "1.1.0");
    editor.apply(&Edit::Add(vec![addition]), &terms(&keys)).await.unwrap();
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.1.0");
    old.python_reads(editor.repository_dir(), &TARGETS).await.unwrap();
    editor.apply(&Edit::Renew("root".to_owned()), &terms(&keys)).await.unwrap();
    old.python_reads(editor.repository_dir(), &TARGETS).await.unwrap();
}

#[tokio::test]
async fn without_the_roots_key_nobody_would_follow_and_other_keys_are_replaced() {
    let old = Old::of_go_tuf(&[]).await;
    let error = old.migrate(&["targets.json"]).await.unwrap_err();
    assert!(matches!(error, MigrateError::NoRoot { found: 0, threshold: 1 }), "{error:?}");
    assert!(!old.path("tuf").exists());
    let before = old.keys(&["timestamp.json"])[0].public().id();
    let editor = old.migrate(&["root.json", "targets.json", "snapshot.json"]).await.unwrap();
    let timestamp = editor.status(now()).unwrap().roles.pop().unwrap();
    assert!(timestamp.role == TufRole::Timestamp.as_str() && timestamp.keys != [before]);
    old.python_reads(editor.repository_dir(), &TARGETS).await.unwrap();
    let error = old.migrate(&ALL).await.unwrap_err();
    assert!(matches!(error, MigrateError::Exists { .. }), "{error:?}");
}

#[tokio::test]
async fn keys_of_go_tuf_are_opened_by_their_passphrase_alone() {
    let old = Old::of_go_tuf(&[]).await;
    let dir = KeyDir::new(old.path("keys"));
    let (name, file): (KeyName, _) = ("root".parse().unwrap(), old.path("old/keys/root.json"));
    let wrong = update::Passphrase::new("wrong".to_owned()).unwrap();
    for opens in [None, Some(&wrong)] {
        let error = dir.take(&name, &file, opens).unwrap_err();
        assert!(matches!(error, KeyError::WrongPassphrase { .. }), "{error:?}");
    }
    let plain = Old::of_go_tuf(&["plain"]).await;
    assert!(!update::keys::is_encrypted(&plain.path("old/keys/root.json")).unwrap());
    assert_eq!(dir.take(&name, &plain.path("old/keys/root.json"), None).unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_not_what_was_signed_for_is_not_taken_over() {
    let old = Old::of_go_tuf(&[]).await;
    let file = old.published().join("targets").join(TARGETS[0]);
    fs::write(&file, "orbit of odd").unwrap();
    let error = old.migrate(&ALL).await.unwrap_err();
    assert!(matches!(&error, MigrateError::Differs { path } if *path == file), "{error:?}");
    let left: Vec<_> = fs::read_dir(old.path("tuf")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let snapshot = old.published().join("snapshot.json");
    let text = fs::read_to_string(&snapshot).unwrap().replace("\"version\": 7", "\"version\": 6");
    fs::write(&snapshot, text).unwrap();
    let error = old.migrate(&ALL).await.unwrap_err();
    assert!(matches!(error, MigrateError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_target_whose_file_would_be_elsewhere_is_not_taken_over() {
    let old = Old::of_go_tuf(&["beyond"]).await;
    let error = old.migrate(&ALL).await.unwrap_err();
    assert!(matches!(&error, MigrateError::Name { name } if name == "../../x"), "{error:?}");
}

/// python-tuf does not read an expiry with a zone; we do, and what go-tuf signs has one.
#[tokio::test]
async fn metadata_that_was_signed_in_a_zone_is_gone_on_with() {
    let old = Old::of_go_tuf(&["zone"]).await;
    let editor = old.migrate(&ALL).await.unwrap();
    let mut reader = old.reader(&old.published());
    reader.refresh(now()).await.unwrap();
    fetch_stable(&mut old.reader(editor.repository_dir())).await.unwrap();
}

/// Consistent snapshots, RSA and P-256 keys as PEM, a delegated role that somebody else signs: what
/// python-tuf writes, and tuftool.
#[tokio::test]
async fn a_repository_of_python_tuf_goes_on_with_its_delegations() {
    let old = Old { dir: tempfile::tempdir().unwrap() };
    let (path, moment) = (old.published(), now().to_string());
    fs::create_dir_all(old.path("old/keys")).unwrap();
    let args = [path.as_str(), &moment, "keys"];
    python::run("write_repository.py", &args).await.unwrap();
    let dir = KeyDir::new(old.path("tuf/keys"));
    let take = |role: &str| {
        let file = old.path("old/keys").join(format!("{role}.pem"));
        dir.take(&role.parse().unwrap(), &file, None).unwrap().pop().unwrap()
    };
    let keys = ["root", "targets", "snapshot", "timestamp"].map(|it| (take(it), passphrase()));
    let inheritance = Inheritance {
        from: &path,
        keys: keys.into(),
        replaced: BTreeMap::new(),
        who: "ann".to_owned(),
    };
    let made = migrate(&old.path("tuf"), inheritance, &Expiries::default(), now()).await;
    let mut editor = made.unwrap();
    old.python_reads(editor.repository_dir(), &TARGETS[..1]).await.unwrap();
    let mut reader = old.reader(editor.repository_dir());
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "3.2.1");
    let keys = unlocked(&editor);
    editor.apply(&Edit::Renew("root".to_owned()), &terms(&keys)).await.unwrap();
    editor.apply(&Edit::Renew("targets".to_owned()), &terms(&keys)).await.unwrap();
    old.python_reads(editor.repository_dir(), &TARGETS[..1]).await.unwrap();
}

/// One key for all roles, in a file as tuftool takes it, and the files of targets where it puts them.
#[tokio::test]
async fn whoever_pinned_the_root_of_tuftool_goes_on() {
    let old = Old { dir: tempfile::tempdir().unwrap() };
    fs::create_dir(old.path("old")).unwrap();
    let stable = orbit_on("stable").to_string();
    by_tuftool(&old.path("old"), true, &[(&stable, b"orbit by tuftool")]).await;
    let from = old.path("old/metadata");
    let dir = KeyDir::new(old.path("tuf/keys"));
    let file = old.path("old/key.pk8");
    assert!(!update::keys::is_encrypted(&file).unwrap());
    let key = dir.take(&"all".parse().unwrap(), &file, None).unwrap().pop().unwrap();
    let inheritance = Inheritance {
        from: &from,
        keys: vec![(key, passphrase())],
        replaced: BTreeMap::new(),
        who: "ann".to_owned(),
    };
    let made = migrate(&old.path("tuf"), inheritance, &Expiries::default(), now()).await;
    let mut editor = made.unwrap();
    assert_eq!(audit(editor.repository_dir(), now()).await.unwrap().problems, [""; 0]);
    let reader = |dir: &Utf8Path| {
        let config = RepositoryConfig {
            location: Location::Directory(dir.to_owned()),
            pinned_root: fs::read(from.join("1.root.json")).unwrap(),
            cache_dir: old.path("cache"),
            connection: Connection::default(),
            offline: false,
        };
        Repository::open(config).unwrap()
    };
    for dir in [from.as_path(), editor.repository_dir()] {
        let fetched = fetch_stable(&mut reader(dir)).await.unwrap();
        assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit by tuftool", "{dir}");
        assert_eq!(fetched.version, VERSION, "{dir}");
    }
    let next = old.path("orbit-4.0.0");
    fs::write(&next, "orbit, the next").unwrap();
    let keys = unlocked(&editor);
    editor.apply(&Edit::Add(vec![orbit_addition(&next, "4.0.0")]), &terms(&keys)).await.unwrap();
    let fetched = fetch_stable(&mut reader(editor.repository_dir())).await.unwrap();
    assert_eq!(fetched.version, "4.0.0");
}

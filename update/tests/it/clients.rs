//! One repository of ours with everything in it that clients stumble over, read by all of them from its
//! first root; and one of tuftool's, read by us.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    num::NonZeroU64,
};

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use tough::{
    FilesystemTransport, IntoVec as _, TransportError, TransportStream,
    editor::{
        RepositoryEditor,
        signed::{PathExists, SignedRole},
    },
    key_source::{KeySource, LocalKeySource},
    schema::{KeyHolder, RoleKeys, RoleType, Root, Target},
};
use update::{
    Addition, Component, Connection, Edit, Location, Promotion, Repository, RepositoryConfig,
    editor::{Delegation, Rollout},
    keys::Algorithm,
    release::{SEEDS, Wave},
};
use url::Url;

use crate::{
    fixture::{Fixture, days_later, fetch_stable, founding, now, orbit_on, terms, utf8},
    javascript, python,
    roles::{all_keys, key, key_ids, replace, set_keys},
    server::Server,
};

/// Two of three sign the root; a component and a channel have signers of their own; the keys of all
/// top-level roles were replaced twice, by P-256 keys and by ed25519 keys.
async fn hard_to_read() -> Fixture {
    let mut fixture = Fixture::founded(&founding(3)).await;
    let mut keys = all_keys(&fixture);
    for (name, paths, algorithm) in [
        ("osquery", "osqueryd/*/*/*", Algorithm::P256),
        ("orbit-edge", "orbit/*/edge/*", Algorithm::Ed25519),
    ] {
        let own = key(&fixture, name, algorithm);
        let delegation = Delegation {
            name: name.parse().unwrap(),
            keys: vec![own.public()],
            threshold: NonZeroU64::MIN,
            paths: vec![paths.to_owned()],
        };
        keys.push(own);
        fixture.editor.apply(&Edit::Delegate(delegation), &terms(&keys)).await.unwrap();
    }
    let osqueryd =
        Addition { program: Component::Osqueryd.into(), ..fixture.orbit("5.9.1", b"osquery") };
    let mut orbit = fixture.orbit("1.0.0", b"orbit, the first");
    orbit.tags.push("edge".parse().unwrap());
    fixture.editor.apply(&Edit::Add(vec![osqueryd, orbit]), &terms(&keys)).await.unwrap();
    for (round, algorithm) in [Algorithm::P256, Algorithm::Ed25519].into_iter().enumerate() {
        let mut changes = Vec::new();
        for role in ["timestamp", "snapshot", "targets", "root"] {
            let new = key(&fixture, &format!("{role}-again-{round}"), algorithm);
            changes.push(replace(role, &key_ids(&fixture, role)[0], new.public()));
            keys.push(new);
        }
        fixture.editor.apply(&set_keys(changes), &terms(&keys)).await.unwrap();
    }
    let promotion = Promotion {
        component: Component::Orbit,
        platforms: Vec::new(),
        version: "1.0.0".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        rollout: Rollout { waves: vec![Wave { seeds: SEEDS, start: now() }], ..Rollout::default() },
    };
    fixture.editor.apply(&Edit::Promote(promotion), &terms(&keys)).await.unwrap();
    fixture
}

#[tokio::test]
async fn python_tuf_and_tuf_js_and_tough_read_one_repository_from_its_first_root() {
    let fixture = hard_to_read().await;
    let dir = fixture.editor.repository_dir();
    assert!(dir.join("3.root.json").is_file() && !dir.join("4.root.json").exists());
    let status = fixture.editor.status(now()).unwrap();
    let listed: BTreeMap<_, _> =
        status.targets.into_iter().map(|it| (it.name, it.sha256)).collect();
    assert_eq!(listed.len(), 6, "{listed:?}");

    let server = Server::start(dir).await;
    let (root, moment) = (dir.join("1.root.json"), now().to_string());
    for client in ["python-tuf", "tuf-js"] {
        let out = fixture.path(client);
        let mut args = vec![root.as_str(), server.url(), out.as_str(), &moment];
        args.extend(listed.keys().map(String::as_str));
        let printed = match client {
            "tuf-js" => javascript::read_repository(&args).await.unwrap(),
            _ => python::run("read_repository.py", &args).await.unwrap(),
        };
        assert_eq!(names_and_hashes(&printed), listed, "{client}");
    }
    assert_eq!(read_with_tough(dir).await, listed);
}

/// The first two words of each line.
fn names_and_hashes(printed: &str) -> BTreeMap<String, String> {
    let words = printed.lines().map(|line| line.split(' ').map(str::to_owned));
    words.map(|mut words| (words.next().unwrap(), words.next().unwrap())).collect()
}

async fn read_with_tough(dir: &Utf8Path) -> BTreeMap<String, String> {
    let root = fs::read(dir.join("1.root.json")).unwrap();
    let url = |dir: &Utf8Path| Url::from_directory_path(dir).unwrap();
    let transport = AsSpecified { targets: dir.join("targets") };
    let loader = tough::RepositoryLoader::new(&root, url(dir), url(&transport.targets))
        .transport(transport)
        // It has no other clock than the system's.
        .expiration_enforcement(tough::ExpirationEnforcement::Unsafe);
    let repository = loader.load().await.unwrap();
    let mut read = BTreeMap::new();
    for (name, _) in repository.all_targets() {
        let content = repository.read_target(name).await.unwrap().unwrap();
        let content = content.into_vec().await.unwrap();
        read.insert(name.raw().to_owned(), hex::encode(Sha256::digest(content)));
    }
    read
}

/// tough asks for `HASH.dir/file`; the specification, and everybody else, says `dir/HASH.file`.
#[derive(Debug, Clone)]
struct AsSpecified {
    targets: Utf8PathBuf,
}

#[async_trait::async_trait]
impl tough::Transport for AsSpecified {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let path = Utf8PathBuf::from_path_buf(url.to_file_path().unwrap()).unwrap();
        let corrected = path.strip_prefix(&self.targets).ok().and_then(|it| {
            let (hash, name) = it.as_str().split_once('.')?;
            let (dir, file) = name.rsplit_once('/')?;
            Url::from_file_path(self.targets.join(dir).join(format!("{hash}.{file}"))).ok()
        });
        FilesystemTransport.fetch(corrected.unwrap_or(url)).await
    }
}

/// The version of everything that [`by_tuftool`] publishes.
pub(crate) const VERSION: &str = "3.2.1";

/// What tuftool makes of `files` with the library that it is made of: `metadata` and `targets` beside
/// each other.
pub(crate) async fn by_tuftool(dir: &Utf8Path, consistent_snapshot: bool, files: &[(&str, &[u8])]) {
    let (random, expires) = (SystemRandom::new(), days_later(7));
    let key_file = dir.join("key.pk8");
    fs::write(&key_file, Ed25519KeyPair::generate_pkcs8(&random).unwrap()).unwrap();
    let source = || -> Vec<Box<dyn KeySource>> {
        vec![Box::new(LocalKeySource { path: key_file.clone().into() })]
    };
    let key = source()[0].as_sign().await.unwrap().tuf_key();
    let id = key.key_id().unwrap();
    let one = NonZeroU64::MIN;
    let holders = RoleKeys { keyids: vec![id.clone()], threshold: one, _extra: HashMap::new() };
    let roles = [RoleType::Root, RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];
    let root = Root {
        spec_version: "1.0.0".to_owned(),
        consistent_snapshot,
        version: one,
        expires,
        keys: HashMap::from([(id, key)]),
        roles: roles.map(|role| (role, holders.clone())).into(),
        _extra: HashMap::new(),
    };
    let holder = KeyHolder::Root(root.clone());
    let root = SignedRole::new(root, &holder, &source(), &random).await.unwrap();
    fs::write(dir.join("root.json"), root.buffer()).unwrap();

    let mut editor = RepositoryEditor::new(dir.join("root.json")).await.unwrap();
    let file = dir.join("file");
    for (name, content) in files {
        fs::write(&file, content).unwrap();
        let mut target = Target::from_path(&file).await.unwrap();
        target.custom.insert("version".to_owned(), VERSION.into());
        editor.add_target(*name, target).unwrap();
    }
    editor.targets_version(one).unwrap().targets_expires(expires).unwrap();
    editor.snapshot_version(one).snapshot_expires(expires);
    editor.timestamp_version(one).timestamp_expires(expires);
    let signed = editor.sign(&source()).await.unwrap();
    signed.write(dir.join("metadata")).await.unwrap();
    let targets = dir.join("targets");
    fs::create_dir(&targets).unwrap();
    for (name, content) in files {
        fs::write(&file, content).unwrap();
        let name = tough::TargetName::new(*name).unwrap();
        let (from, to) = (file.as_std_path(), targets.as_std_path());
        signed.copy_target(from, to, PathExists::Fail, Some(&name)).await.unwrap();
    }
}

#[tokio::test]
async fn we_read_a_repository_of_tuftools_in_its_own_layout() {
    for consistent_snapshot in [true, false] {
        let temporary = tempfile::tempdir().unwrap();
        let dir = utf8(temporary.path());
        let stable = orbit_on("stable").to_string();
        by_tuftool(dir, consistent_snapshot, &[(&stable, b"orbit by tuftool")]).await;
        let server = Server::start(dir).await;
        let on_server = format!("{}/metadata/", server.url()).parse().unwrap();
        for (number, location) in
            [Location::Directory(dir.join("metadata")), on_server].into_iter().enumerate()
        {
            let mut reader = Repository::open(RepositoryConfig {
                pinned_root: fs::read(dir.join("root.json")).unwrap(),
                location,
                cache_dir: dir.join(format!("cache-{number}")),
                connection: Connection::default(),
                offline: false,
            })
            .unwrap();
            let fetched = fetch_stable(&mut reader).await.unwrap();
            assert_eq!(fs::read(&fetched.path).unwrap(), b"orbit by tuftool");
            assert_eq!(fetched.version, VERSION);
        }
    }
}

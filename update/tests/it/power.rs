//! The power goes before, amid and after every operation on the disk while a reader brings itself up to
//! date, and takes what was not synced; the next one finds nothing that was not verified, and what it
//! has seen it does not forget.

use std::{collections::BTreeSet, error::Error, fs};

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;
use update::{
    Edit, Editor, Expiries, Location, Repository, RepositoryConfig,
    audit::audit,
    power::{Cut, Loss, Power},
    repository::{RefreshError, VerifyError},
};

use crate::fixture::{Fixture, copy_tree, founding, ignore, now, orbit_on, passphrase, utf8};

const BEFORE: &[u8] = b"orbit, the second";
const NEWEST: &[u8] = b"orbit, the third, which is somewhat longer";

/// A repository in three states, and the cache of a reader who has seen the second.
struct World {
    fixture: Fixture,
    older: Location,
    newest: Location,
    cache: Utf8PathBuf,
}

impl World {
    async fn new() -> Self {
        let mut fixture = Fixture::with_orbit().await;
        let older = Location::Directory(fixture.snapshot("older"));
        fixture.publish_orbit("1.1.0", BEFORE).await;
        let cache = fixture.path("seen");
        let newest = fixture.published();
        let world = Self { fixture, older, newest, cache };
        assert_eq!(world.update(&world.cache, &world.newest).await.unwrap(), BEFORE);
        let Self { mut fixture, older, newest, cache } = world;
        fixture.apply(&Edit::Renew("root".to_owned())).await.unwrap();
        fixture.publish_orbit("1.2.0", NEWEST).await;
        Self { fixture, older, newest, cache }
    }

    fn open(
        &self,
        cache: &Utf8Path,
        from: &Location,
        offline: bool,
    ) -> Result<Repository, Box<dyn Error>> {
        let first = self.fixture.path("tuf/repository/1.root.json");
        Ok(Repository::open(RepositoryConfig {
            pinned_root: fs::read(first)?,
            cache_dir: cache.to_owned(),
            offline,
            ..self.fixture.config(from.clone())
        })?)
    }

    /// Refreshes and fetches, as somebody does who has started anew; gives the content.
    async fn update(&self, cache: &Utf8Path, from: &Location) -> Result<Vec<u8>, Box<dyn Error>> {
        self.fetch(self.open(cache, from, false)?).await
    }

    async fn fetch(&self, mut reader: Repository) -> Result<Vec<u8>, Box<dyn Error>> {
        reader.refresh(now()).await?;
        let fetched = reader.fetch(&[orbit_on("stable")], now(), &ignore).await?;
        Ok(fs::read(&fetched[0].path)?)
    }

    /// A cache as it was before.
    fn seen_before(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy_tree(&self.cache, utf8(dir.path()));
        dir
    }

    /// What holds after a power cut at any moment.
    async fn check(&self, cache: &Utf8Path, case: &str) {
        // Without a server: the one version or the other, whole, if any.
        let stored = self.open(cache, &self.newest, true).unwrap();
        if let Ok(content) = self.fetch(stored).await {
            assert!([BEFORE, NEWEST].contains(&&content[..]), "{case}");
        }
        let mut reader = self.open(cache, &self.older, false).unwrap();
        let refused = reader.refresh(now()).await;
        let is_rollback = matches!(
            refused,
            Err(RefreshError::Refused { source: VerifyError::Rollback { .. }, .. })
        );
        assert!(is_rollback, "{case}: {refused:?}");
        let content = self.update(cache, &self.newest).await;
        assert_eq!(content.unwrap_or_else(|error| panic!("{case}: {error}")), NEWEST, "{case}");
        for path in files(cache) {
            let name = path.file_name().unwrap();
            let is_kept = name == "lock" || name.ends_with(".json") || name.len() == 64;
            assert!(is_kept, "{case} leaves {path}");
        }
    }
}

/// The files below `dir`.
fn files(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn whenever_the_power_goes_nothing_unverified_is_found_and_nothing_seen_is_forgotten() {
    let world = World::new().await;
    let rehearsal = world.seen_before();
    let power = Power::of(rehearsal.path(), None).unwrap();
    let content = world.update(utf8(rehearsal.path()), &world.newest).await.unwrap();
    assert_eq!(content, NEWEST);
    let operations = power.operations();
    assert!(operations > 25, "{operations} operations are too few to mean anything");
    let mut lost = BTreeSet::new();
    for at in 0..operations {
        for cut in [Cut::Before, Cut::Midway, Cut::After] {
            let (dir, case) = (world.seen_before(), format!("{cut:?} operation {at}"));
            let power = Power::of(dir.path(), Some((at, cut))).unwrap();
            let outcome = world.update(utf8(dir.path()), &world.newest).await;
            assert!(power.is_gone(), "{case}");
            assert!(outcome.is_err(), "{case}");
            let left = if cut == Cut::After { all_left(&power) } else { Vec::new() };
            drop(power);
            world.check(utf8(dir.path()), &case).await;
            for (loss, home) in left {
                world.check(&utf8(home.path()).join("left"), &format!("{case}, {loss:?}")).await;
                lost.insert(format!("{loss:?}"));
            }
        }
    }
    assert_eq!(lost.len(), 4, "a reader is told to lose {lost:?} alone");
}

/// What the power may leave of a folder, in folders called `left`.
fn all_left(power: &Power) -> Vec<(Loss, TempDir)> {
    let left = power.losses().unwrap().into_iter().map(|loss| {
        let home = tempfile::tempdir().unwrap();
        power.leave(loss, &home.path().join("left")).unwrap();
        (loss, home)
    });
    left.collect()
}

/// What has come to its end lasts, also of a reader who begins with nothing.
#[tokio::test]
async fn what_was_seen_and_fetched_lasts() {
    let (world, home) = (World::new().await, tempfile::tempdir().unwrap());
    let power = Power::of(home.path(), None).unwrap();
    let cache = "of/fleetctl";
    world.update(&utf8(home.path()).join(cache), &world.newest).await.unwrap();
    for (loss, home) in all_left(&power) {
        let (cache, case) = (utf8(home.path()).join("left").join(cache), format!("{loss:?}"));
        let stored = world.open(&cache, &world.newest, true).unwrap();
        assert_eq!(world.fetch(stored).await.unwrap(), NEWEST, "{case}");
        world.check(&cache, &case).await;
    }
}

#[tokio::test]
async fn a_repository_that_was_made_lasts() {
    let home = tempfile::tempdir().unwrap();
    let power = Power::of(home.path(), None).unwrap();
    let dir = utf8(home.path()).join("of/tuf");
    update::init(&dir, &founding(1), &Expiries::default(), now()).await.unwrap();
    for (_, home) in all_left(&power) {
        let editor = Editor::open(&utf8(home.path()).join("left/of/tuf")).unwrap();
        editor.check_log().unwrap();
        editor.keys().unlock("targets", &passphrase()).unwrap();
    }
}

/// What was published, with the log that tells of it.
#[tokio::test]
async fn what_was_published_lasts() {
    let mut fixture = Fixture::with_orbit().await;
    let power = Power::of(fixture.path("").as_std_path(), None).unwrap();
    fixture.publish_orbit("1.1.0", NEWEST).await;
    for (loss, home) in all_left(&power) {
        let editor = Editor::open(&utf8(home.path()).join("left/tuf")).unwrap();
        editor.check_log().unwrap();
        let found = audit(editor.repository_dir(), now()).await.unwrap();
        assert_eq!((found.targets, found.problems), (3, vec![]), "{loss:?}");
    }
}

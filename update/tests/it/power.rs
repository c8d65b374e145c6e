//! The power goes before, amid and after every operation on the disk while a reader brings itself up to
//! date; the next one finds nothing that was not verified, and what it has seen it does not forget.

use std::{error::Error, fs};

use camino::{Utf8Path, Utf8PathBuf};
use update::{
    Edit, Location, Repository, RepositoryConfig,
    power::{Cut, Power},
    repository::{RefreshError, VerifyError},
};

use crate::fixture::{Fixture, copy_tree, ignore, now, orbit_on, utf8};

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
    fn seen_before(&self) -> tempfile::TempDir {
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
        for entry in cache.join("targets").read_dir_utf8().unwrap() {
            let name = entry.unwrap().file_name().to_owned();
            assert!(name == "lock" || name.len() == 64, "{case} leaves {name}");
        }
    }
}

#[tokio::test]
async fn whenever_the_power_goes_nothing_unverified_is_found_and_nothing_seen_is_forgotten() {
    let world = World::new().await;
    let rehearsal = world.seen_before();
    let power = Power::of(rehearsal.path(), None);
    let content = world.update(utf8(rehearsal.path()), &world.newest).await.unwrap();
    assert_eq!(content, NEWEST);
    let operations = power.operations();
    assert!(operations > 25, "{operations} operations are too few to mean anything");
    for at in 0..operations {
        for cut in [Cut::Before, Cut::Midway, Cut::After] {
            let (dir, case) = (world.seen_before(), format!("{cut:?} operation {at}"));
            let power = Power::of(dir.path(), Some((at, cut)));
            let outcome = world.update(utf8(dir.path()), &world.newest).await;
            assert!(power.is_gone(), "{case}");
            assert!(outcome.is_err(), "{case}");
            drop(power);
            world.check(utf8(dir.path()), &case).await;
        }
    }
}

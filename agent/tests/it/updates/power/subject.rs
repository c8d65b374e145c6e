//! What is updated, how it is packed, and how its releases come to a device.

use std::{error::Error, fs, io::Write as _};

use agent::updater::folder::{Brought, Packing};
use camino::{Utf8Path, Utf8PathBuf};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use tokio::runtime::{Builder, Runtime};
use update::{Component, Connection, Location, Repository, RepositoryConfig, TargetName};
use wire::settings::files;

use crate::updates::releases::{Releases, now, platform};

/// What the package has.
pub(super) const PACKAGED: &str = "1.0.0";

/// What becomes of a version that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Works,
    /// Its process ends.
    Ends,
    /// It runs, and does not reach the server.
    IsSilent,
}

/// A version, and what becomes of it.
pub(super) type Fated = (&'static str, Fate);

/// Each way of going on and of going back that an agent has, newest last.
pub(super) const OF_ORBIT: &[Fated] = &[
    ("1.1.0", Fate::Works),
    ("1.2.0", Fate::Ends),
    ("1.3.0", Fate::Works),
    ("1.4.0", Fate::IsSilent),
];

/// Going on, and going back.
pub(super) const TWO: &[Fated] = &[("1.1.0", Fate::Works), ("1.2.0", Fate::Ends)];

/// A component and its releases.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) component: Component,
    pub(super) packing: Packing,
    pub(super) releases: &'static [Fated],
    /// The repository that they are made from by patches; none: their files are just there.
    pub(super) patches: Option<&'a Patches>,
}

impl Subject<'static> {
    pub(super) const fn of(
        component: Component,
        packing: Packing,
        releases: &'static [Fated],
    ) -> Self {
        Self { component, packing, releases, patches: None }
    }
}

impl Subject<'_> {
    /// The program, below the folder of a version.
    pub(super) fn program(&self) -> Utf8PathBuf {
        match self.packing {
            Packing::Plain | Packing::Archive => self.component.program(platform()).into(),
            Packing::Bundle => BUNDLED.into(),
        }
    }

    pub(super) fn fate(&self, version: &str) -> Fate {
        let known = self.releases.iter().find(|(it, _)| *it == version);
        known.map_or(Fate::Works, |(_, fate)| *fate)
    }

    /// The version that runs in the end.
    pub(super) fn last_that_works(&self) -> &'static str {
        let works = self.releases.iter().rfind(|(_, fate)| *fate == Fate::Works);
        works.map_or(PACKAGED, |(version, _)| *version)
    }

    /// The first release after `running` that was not given up, nor one before that.
    pub(super) fn next(&self, running: &str, blocked: Option<&str>) -> Option<&'static str> {
        let is_next = |it: &str| it > running && blocked.is_none_or(|blocked| it > blocked);
        self.releases.iter().map(|(version, _)| *version).find(|it| is_next(it))
    }

    /// Lays what the package brings into the folder of the component.
    pub(super) fn lay_packaged(&self, folder: &Utf8Path) {
        let packaged = folder.join(files::PACKAGED);
        let files = self.files(PACKAGED);
        for (path, content) in &files {
            let path = packaged.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::write(packaged.join(files::PACKAGED_VERSION), format!("{PACKAGED}\n")).unwrap();
    }

    /// Each file of a version by its path, the program among them.
    fn files(&self, version: &str) -> Vec<(Utf8PathBuf, Vec<u8>)> {
        let mut files = vec![(self.program(), content(version))];
        if self.packing == Packing::Bundle {
            files.insert(0, ("osqueryd.app/Contents/Info.plist".into(), version.into()));
            files.push(("osqueryd.app/Contents/Resources/a/notice".into(), version.into()));
        }
        files
    }

    /// Has the file of a version on the device with that `root`, on which `present` is pointed to.
    pub(super) fn bring(
        &self,
        (root, present): (&Utf8Path, &Utf8Path),
        version: &str,
    ) -> Result<Brought, Box<dyn Error>> {
        let (path, target) = if let Some(patches) = self.patches {
            let path = patches.bring((root, present), self.component, version)?;
            (path, content(version))
        } else {
            let (path, packed) = (root.with_file_name("download"), self.packed(version));
            fs::write(&path, &packed)?;
            (path, packed)
        };
        Ok(Brought {
            path,
            version: version.to_owned(),
            target: hex::encode(Sha256::digest(target)),
            packing: self.packing,
            modified: None,
        })
    }

    fn packed(&self, version: &str) -> Vec<u8> {
        if self.packing == Packing::Plain {
            return content(version);
        }
        // Files alone: an archive need not name their directories.
        let packed = GzEncoder::new(Vec::new(), Compression::fast());
        let mut archive = tar::Builder::new(packed);
        for (path, content) in self.files(version) {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, path, &content[..]).unwrap();
        }
        let mut packed = archive.into_inner().unwrap();
        packed.flush().unwrap();
        packed.finish().unwrap()
    }

    /// What is started, or may be, is what was signed, to the last byte of the last file.
    pub(super) fn check(&self, folder: &Utf8Path, version: &str) {
        for (path, content) in self.files(version) {
            let path = folder.join(path);
            let found = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(found == content, "{path} is not what was signed");
        }
    }
}

const BUNDLED: &str = "osqueryd.app/Contents/MacOS/osqueryd";

/// Long enough that a patch is worth it.
fn content(version: &str) -> Vec<u8> {
    let lines = (0..500_u32).map(|number| format!("# {number}\n"));
    lines.chain([format!("the program of version {version}\n")]).collect::<String>().into_bytes()
}

/// A repository of which nothing can be had but patches.
pub(super) struct Patches {
    releases: Releases,
    runtime: Runtime,
}

impl Patches {
    /// With the program of the package and each of `fated`, patched from what worked before it.
    pub(super) fn of(component: Component, fated: &[Fated]) -> Self {
        let mut releases = Releases::new();
        for (version, fate) in [(PACKAGED, Fate::Works)].iter().chain(fated) {
            let channel = if *fate == Fate::Works { "stable" } else { "edge" };
            releases.publish_patched((component, *version, channel), &content(version));
        }
        remove_all_but_patches(&releases.dir().join("targets"));
        Self { releases, runtime: Builder::new_current_thread().enable_all().build().unwrap() }
    }

    /// Has the cache below `root` know the repository.
    pub(super) fn introduce(&self, root: &Utf8Path) {
        self.runtime.block_on(async { self.open(root).await.map(drop) }).unwrap();
    }

    fn bring(
        &self,
        (root, present): (&Utf8Path, &Utf8Path),
        component: Component,
        version: &str,
    ) -> Result<Utf8PathBuf, Box<dyn Error>> {
        let (platform, channel) = (platform(), version.parse()?);
        let name = TargetName { component, platform, channel };
        self.runtime.block_on(async {
            let mut repository = self.open(root).await?;
            let offer = repository.offer(&name, now()).await?.ok_or("it is not published")?;
            let path = repository.bring_over(&offer.file, Some(present), now()).await?;
            Ok::<_, Box<dyn Error>>(path)
        })
    }

    /// As an agent does that has been started anew.
    async fn open(&self, root: &Utf8Path) -> Result<Repository, Box<dyn Error>> {
        let mut repository = Repository::open(RepositoryConfig {
            location: Location::Directory(self.releases.dir().to_owned()),
            pinned_root: self.releases.root_json().into_bytes(),
            cache_dir: root.join(files::UPDATES),
            connection: Connection::default(),
            offline: false,
        })?;
        repository.refresh(now()).await?;
        Ok(repository)
    }
}

fn remove_all_but_patches(dir: &Utf8Path) {
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            remove_all_but_patches(&path);
        } else if path.extension() != Some("patch") {
            fs::remove_file(path).unwrap();
        }
    }
}

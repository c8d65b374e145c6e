//! Files that are made of what is here already, by a patch that the repository has.

use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{BringError, Repository, UnpackError, unpack::pour};
use crate::{
    cache::Cache,
    names::patch_name,
    patch::{self, LONGEST},
    release::ReleaseFile,
    verify::{SignedTarget, Verifier as _},
};

/// A patch for what is here.
struct Patch {
    name: String,
    target: SignedTarget,
    from: Vec<u8>,
}

impl Repository {
    /// Has `file` made of the file at `present`. None, if there is no patch for that, or one that is of
    /// no use: the rest of the repository is not worse for it.
    pub(super) async fn bring_patched(
        &mut self,
        file: &ReleaseFile,
        present: &Utf8Path,
        now: Timestamp,
    ) -> Option<Utf8PathBuf> {
        let patch = self.patch(file, present, now).await?;
        let made = match self.have(&patch.name, &patch.target).await {
            Ok(path) => {
                let (cache, wanted, from) = (self.cache.clone(), file.clone(), patch.from);
                let making =
                    tokio::task::spawn_blocking(move || make(&from, &path, &wanted, &cache));
                making.await.expect("patching does not panic").map_err(BringError::from)
            }
            Err(error) => Err(error),
        };
        made.inspect_err(|error| tracing::debug!(patch.name, "the patch is of no use: {error}"))
            .ok()
    }

    /// The patch by which the file at `present` becomes `file`, if it is listed.
    async fn patch(
        &mut self,
        file: &ReleaseFile,
        present: &Utf8Path,
        now: Timestamp,
    ) -> Option<Patch> {
        let path = present.to_owned();
        let reading = tokio::task::spawn_blocking(move || read(&path));
        let (from, sha256) = reading.await.expect("hashing a file does not panic").ok()?;
        let name = patch_name(&file.target, &sha256);
        let target = self.verifier.resolve(&name, now).await.ok().flatten();
        let target = target.filter(|it| it.length < file.length && file.length <= LONGEST)?;
        Some(Patch { name, target, from })
    }

    /// The SHA-256 of the patch that [`bring_over`](Self::bring_over) may have left half done.
    pub(super) async fn part_of_patch(
        &mut self,
        file: &ReleaseFile,
        present: &Utf8Path,
        now: Timestamp,
    ) -> Option<String> {
        Some(self.patch(file, present, now).await?.target.sha256)
    }
}

/// A file of a length that can be patched, and its SHA-256 in hexadecimal.
fn read(path: &Utf8Path) -> io::Result<(Vec<u8>, String)> {
    if fs::metadata(path)?.len() > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let content = fs::read(path)?;
    let sha256 = hex::encode(Sha256::digest(&content));
    Ok((content, sha256))
}

fn make(
    from: &[u8],
    patch: &Utf8Path,
    wanted: &ReleaseFile,
    cache: &Cache,
) -> Result<Utf8PathBuf, UnpackError> {
    let unreadable = |source| UnpackError::Unreadable { archive: patch.to_owned(), source };
    let mut reader =
        fs::File::open(patch).and_then(|file| patch::apply(from, file)).map_err(unreadable)?;
    pour(&mut reader, patch, wanted, cache)
}

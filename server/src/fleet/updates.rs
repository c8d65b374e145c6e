//! The files of the repository of updates. Whoever can verify them may have them, so nobody is asked
//! who they are.

use std::path::PathBuf;

use wire::updates::Keeping;

use super::Fleet;
use crate::bucket::Bucket;

impl Fleet {
    /// The bucket that has the repository, if one is configured.
    pub(crate) fn update_bucket(&self) -> Option<&Bucket> {
        self.0.update_bucket.as_ref()
    }

    /// The file at `path` of the repository, and how long it may be kept; none if there is none, or
    /// if what is there lies elsewhere in truth.
    pub async fn update_file(&self, path: &str) -> Option<(PathBuf, Keeping)> {
        let keeping = Keeping::of(path)?;
        let dir = tokio::fs::canonicalize(self.config().updates.dir.as_ref()?).await.ok()?;
        let file = tokio::fs::canonicalize(dir.join(path)).await.ok()?;
        let is_ours = file.starts_with(&dir);
        let is_file = tokio::fs::metadata(&file).await.is_ok_and(|about| about.is_file());
        (is_ours && is_file).then_some((file, keeping))
    }
}

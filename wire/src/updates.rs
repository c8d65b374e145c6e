//! The folder of a repository of updates over HTTP: which of its files may be asked for, and how long
//! an answer is good.
//!
//! A folder is what `fleetctl updates` publishes, a repository of The Update Framework: metadata on
//! top, files below `targets/`.

use crate::path::is_plain;

/// Where the server has the repository that it publishes.
pub const PREFIX: &str = "/updates";

/// How long whoever got a file may take it for what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It is replaced in place: to be asked for each time.
    Not,
    /// Its name tells its version or its content.
    Forever,
}

impl Keeping {
    /// Of the file at `path` below the folder, in segments, not percent-encoded; none if nobody is to
    /// have it: hidden files, and what is no part of a repository.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        if !is_plain(path) {
            return None;
        }
        let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
        let first = file.split('.').next().unwrap_or_default();
        let is_kept = match dir.split('/').next() {
            Some("") if file.ends_with(".json") => {
                file.matches('.').count() > 1 && first.bytes().all(|c| c.is_ascii_digit())
            }
            Some("targets") => {
                let is_hash = |length| first.len() == length && file.len() > length;
                (is_hash(64) || is_hash(128)) && first.bytes().all(|c| c.is_ascii_hexdigit())
            }
            _ => return None,
        };
        Some(if is_kept { Self::Forever } else { Self::Not })
    }

    /// The value of `Cache-Control` (RFC 9111, RFC 8246).
    #[must_use]
    pub fn cache_control(self) -> &'static str {
        match self {
            Self::Not => "no-cache",
            Self::Forever => "public, max-age=31536000, immutable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_version_or_a_hash_is_kept() {
        let hash = "0123456789abcdef".repeat(4);
        for (path, keeping) in [
            ("timestamp.json", Some(Keeping::Not)),
            ("root.json", Some(Keeping::Not)),
            ("1.root.json", Some(Keeping::Forever)),
            ("12.osquery.json", Some(Keeping::Forever)),
            ("targets.json", Some(Keeping::Not)),
            (&format!("targets/orbit/linux/stable/{hash}.orbit"), Some(Keeping::Forever)),
            (&format!("targets/orbit/linux/stable/{hash}"), Some(Keeping::Not)),
            ("targets/orbit/linux/stable/orbit", Some(Keeping::Not)),
            ("targets/1.root.json", Some(Keeping::Not)),
            ("", None),
            ("targets", None),
            ("targets/", None),
            ("keys/root.pem", None),
            ("log.jsonl", None),
            (".lock", None),
            ("targets/.tmp1", None),
            ("targets/../keys/root.json", None),
            ("targets//orbit", None),
            ("..\\keys.json", None),
            ("C:x.json", None),
        ] {
            assert_eq!(Keeping::of(path), keeping, "{path}");
        }
    }
}

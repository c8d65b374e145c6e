//! Names of files that come from elsewhere, before anything is looked up by them.

/// Whether `path`, in segments parted by `/` and not percent-encoded, stays below the folder that it is looked up
/// in, on every system, and leads to nothing hidden.
#[must_use]
pub fn is_plain(path: &str) -> bool {
    path.split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_not_plain() {
        assert!(is_plain("targets/orbit") && is_plain("a b"));
        for path in ["", "/etc", "a/", "a//b", "..", "a/../b", "a/.b", "..\\b", "C:b", "a\0"] {
            assert!(!is_plain(path), "{path:?}");
        }
    }
}

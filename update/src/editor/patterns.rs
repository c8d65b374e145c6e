//! Which targets a delegated role may speak for.

use tough::schema::{PathPattern, PathSet};

/// Whether `paths` cover `target`, read as every client reads them: one `*` stands for any
/// characters of one level.
pub(super) fn covers(paths: &PathSet, target: &str) -> bool {
    match paths {
        PathSet::Paths(patterns) => patterns.iter().any(|it| matches(it.value(), target)),
        // Written by others alone.
        PathSet::PathHashPrefixes(_) => false,
    }
}

/// A pattern as it is written into metadata, if every client reads it alike.
pub(super) fn pattern(text: &str) -> Result<PathPattern, PatternError> {
    let refused = || PatternError(text.to_owned());
    let plain = |level: &str| {
        !level.is_empty()
            && !matches!(level, "." | "..")
            && level.matches('*').count() <= 1
            && level.bytes().all(|c| c.is_ascii_alphanumeric() || b"*._-+".contains(&c))
    };
    if !text.split('/').all(plain) {
        return Err(refused());
    }
    PathPattern::new(text).map_err(|_| refused())
}

/// A pattern that clients read differently, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pattern of paths: levels between slashes, at most one `*` in each")]
pub struct PatternError(String);

fn matches(pattern: &str, target: &str) -> bool {
    let (patterns, levels) = (pattern.split('/'), target.split('/'));
    pattern.split('/').count() == target.split('/').count()
        && patterns.zip(levels).all(|(pattern, level)| match pattern.split_once('*') {
            None => pattern == level,
            Some((before, after)) => {
                level.len() >= before.len() + after.len()
                    && level.starts_with(before)
                    && level.ends_with(after)
            }
        })
}

/// The patterns of `paths`, as they are written.
pub(super) fn texts(paths: &PathSet) -> Vec<String> {
    match paths {
        PathSet::Paths(patterns) => patterns.iter().map(|it| it.value().to_owned()).collect(),
        PathSet::PathHashPrefixes(prefixes) => {
            prefixes.iter().map(|it| it.value().to_owned()).collect()
        }
    }
}

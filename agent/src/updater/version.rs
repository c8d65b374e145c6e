//! Versions as folders are named after them.

use semver::Version;

/// Reads a version. `1` and `1.2` mean 1.0.0 and 1.2.0: publishers may call them so.
#[must_use]
pub fn parse(text: &str) -> Option<Version> {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let missing = match numbers.matches('.').count() {
        0 => ".0.0",
        1 => ".0",
        _ => return Version::parse(text).ok(),
    };
    let rest = &text[numbers.len()..];
    Version::parse(&format!("{numbers}{missing}{rest}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_versions_are_versions_and_paths_are_none() {
        assert_eq!(parse("5"), Some(Version::new(5, 0, 0)));
        assert_eq!(parse("5.9"), Some(Version::new(5, 9, 0)));
        assert_eq!(parse("5.9.1-rc.1").map(|it| it.to_string()).as_deref(), Some("5.9.1-rc.1"));
        for bad in ["", ".", "..", "../1.2.3", "1.2.3/..", "packaged", "stable", "1..2", "C:1.2.3"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

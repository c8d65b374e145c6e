//! Names, sizes and words that no file has.

use std::path::Path;

use super::{Document, Finding};

/// The only file that may contain the words it forbids.
const SELF: &str = "xtask/src/tidy/text.rs";

/// Bytes that no tracked file exceeds.
const MAX_SIZE: u64 = 400 * 1024;

/// Names that say nothing about what they hold.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Where people's own folders are: what lies there exists on one machine only.
const HOMES: &[&str] = &["/root/", "/home/", "/Users/"];

/// What is finished has none of these.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "future work"];

pub(super) fn check(documents: &[Document]) -> Vec<Finding> {
    documents.iter().flat_map(check_one).collect()
}

fn check_one(document: &Document) -> Vec<Finding> {
    let mut findings = names(&document.path);
    if document.size > MAX_SIZE && document.path != "Cargo.lock" {
        findings.push(Finding::new(&document.path, "is larger than 400 KiB"));
    }
    if let Some(text) = document.text.as_deref().filter(|_| document.path != SELF) {
        findings.extend(words(&document.path, text));
        if document.path.ends_with(".rs") && !text.starts_with("//!") {
            findings.push(Finding::at(&document.path, 1, "opens without `//!`: what is it for?"));
        }
    }
    findings
}

fn names(path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = Path::new(path);
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        findings.push(Finding::new(path, "is a `mod.rs`: name it after its folder, beside it"));
    }
    let names = file.iter().filter_map(|part| Path::new(part).file_stem()?.to_str());
    for name in names.filter(|name| EMPTY_NAMES.contains(name)) {
        findings.push(Finding::new(path, format!("`{name}` says nothing: name what it holds")));
    }
    findings
}

fn words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for word in HOMES.iter().filter(|home| begins(line, home)) {
            findings.push(Finding::at(path, number, format!("`{word}` is a path of one machine")));
        }
        for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
            findings.push(Finding::at(path, number, format!("`{word}`: do it, or leave it out")));
        }
    }
    findings
}

/// Tells whether a path in `line` begins with `home`, which may also be part of a longer one.
fn begins(line: &str, home: &str) -> bool {
    let goes_on = |char: char| char.is_alphanumeric() || "})_-./~*".contains(char);
    line.match_indices(home).any(|(at, _)| !line[..at].ends_with(goes_on))
}

/// Tells whether `line` has `word` with no letters or digits around it (`XXXX` is a placeholder).
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::sample::document;

    fn problems(path: &str, text: &str) -> usize {
        check(&[document(path, text)]).len()
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert_eq!(problems("wire/src/ids.rs", "//! Ids.\n\n// Code XXXX-XXXX.\n"), 0);
    }

    #[test]
    fn a_module_without_a_purpose_is_found() {
        assert_eq!(problems("wire/src/ids.rs", "use std::fs;\n"), 1);
    }

    #[test]
    fn folders_are_not_modules_named_mod() {
        assert_eq!(problems("wire/src/ids/mod.rs", "//! Ids.\n"), 1);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for path in ["wire/src/util.rs", "wire/src/common/ids.rs", "wire/src/helpers.rs"] {
            assert_eq!(problems(path, "//! Things.\n"), 1, "{path}");
        }
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(problems("docs/a.md", "Run /home/ann/x\nin `/root/y`.\n"), 2);
        assert_eq!(problems("docs/a.md", "cp %{buildroot}/root/x staging/home/y\n"), 0);
    }

    #[test]
    fn unfinished_things_are_found() {
        assert_eq!(problems("a.rs", "//! A.\n// TODO: more\n// FIXME\n"), 2);
        assert_eq!(problems("a.md", "This is future work.\n"), 1);
    }

    #[test]
    fn big_files_are_found() {
        assert_eq!(problems("a.txt", &"x".repeat(410 * 1024)), 1);
    }
}

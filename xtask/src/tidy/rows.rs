//! Which test shows which row of the requirements on people, keys and tenants: tests say so in a doc
//! line, `/// Rows: K5, K9`. `docs/acceptance.md` is made of them; a row without a test is a finding, and so
//! is one that is shown in part alone, unless it is said here why.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Document, Finding};

/// The page that lists them.
pub(crate) const PAGE: &str = "docs/acceptance.md";

/// Rows that must have a test.
const REQUIRED: &[&str] = &[
    "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "B1", "B2", "B3", "B4", "B6", "B7", "B8", "C1",
    "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "C12", "C13", "C14", "C15", "E1",
    "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E12", "E13", "E16", "E17", "E18", "F1", "F2", "F3",
    "F5", "F6", "F7", "F10", "F11", "F12", "K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8", "K9",
    "K10", "K11", "K12", "K13", "K14", "L1", "L2", "L3", "L4", "L5", "L6", "M1", "M2", "M3", "M4",
    "M5", "O1", "O2", "O3", "O4", "O5", "O6", "O7", "P1", "P2", "P3a", "P3b", "P4a", "P4b", "P5",
    "P6", "P7", "P8", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12",
    "R13", "R14", "R15", "R16", "R17", "R18", "R19", "R20", "S1", "S2", "S3", "S4", "S5", "S6",
    "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14", "S15", "S16", "S17", "S18", "T1", "T2",
    "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "V1", "V2", "V3", "V4", "V5", "V6", "W1",
    "W2", "W3", "W4", "W5", "W7",
];

const PAGE_COMES_NEXT: &str = "the web page comes next; this is what the server does for it";
const FACTORS_COME_NEXT: &str = "second factors come next; this is what holds without them";

/// Rows that are shown in part alone, and why.
const PARTIAL: &[(&str, &str)] = &[
    ("E17", "that every answer is as documented is `cargo xtask conformance`'s"),
    ("F1", PAGE_COMES_NEXT),
    ("F2", PAGE_COMES_NEXT),
    ("F11", PAGE_COMES_NEXT),
    ("M4", FACTORS_COME_NEXT),
    ("R18", "no route takes a device's token, so there is no list that it could show itself in"),
    ("S2", FACTORS_COME_NEXT),
    ("S4", FACTORS_COME_NEXT),
    ("S9", PAGE_COMES_NEXT),
    ("S10", PAGE_COMES_NEXT),
    ("S12", PAGE_COMES_NEXT),
    ("S13", PAGE_COMES_NEXT),
    ("S14", PAGE_COMES_NEXT),
    ("S15", PAGE_COMES_NEXT),
    ("S16", PAGE_COMES_NEXT),
    ("T5", PAGE_COMES_NEXT),
];

/// Rows that no test shows yet, and why.
const LATER: &[(&str, &str)] =
    &[("T4", "where a browser keeps its access token is the web page's alone, which comes next")];

/// Where tests of the server are.
const TESTS: [&str; 2] = ["server/tests/it/", "server/src/"];

/// A test that shows something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    name: String,
    /// Whether it shows a part of the row alone.
    in_part: bool,
    /// The databases that it runs on.
    engines: &'static str,
}

pub(super) fn check(documents: &[Document]) -> Vec<Finding> {
    let found = collect(documents);
    let none = BTreeSet::new();
    let problem = |row: &str| wrong(row, found.get(&key(row)).unwrap_or(&none));
    REQUIRED.iter().filter_map(|row| Some(Finding::new(PAGE, problem(row)?))).collect()
}

/// What is wrong with the tests of a row, if anything is.
fn wrong(row: &str, tests: &BTreeSet<Test>) -> Option<String> {
    let whole = tests.iter().any(|test| !test.in_part);
    let partial = reason(PARTIAL, row).is_some();
    let later = reason(LATER, row).is_some();
    match (whole, tests.is_empty()) {
        (true, _) if partial || later => {
            Some(format!("{row} is shown whole: `PARTIAL` and `LATER` need not name it"))
        }
        (true, _) => None,
        (false, true) if later => None,
        (false, true) => Some(format!("no test says `/// Rows: {row}`")),
        (false, false) if partial => None,
        (false, false) => {
            Some(format!("{row} is shown in part alone, and `PARTIAL` does not say why"))
        }
    }
}

fn reason(table: &[(&str, &'static str)], row: &str) -> Option<&'static str> {
    table.iter().find(|(name, _)| *name == row).map(|(_, reason)| *reason)
}

/// Every test of the server, as `module::name`.
pub(super) fn tests(documents: &[Document]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for document in documents {
        let (Some(module), Some(text)) = (module(&document.path), document.text.as_deref()) else {
            continue;
        };
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            marked |= ["#[test]", "#[tokio::test]"].contains(&line);
            let Some(name) = function(line) else { continue };
            if marked || listed(text, name) {
                found.insert(format!("{module}::{name}"));
            }
            marked = false;
        }
    }
    found
}

/// The page, made of the sources of the tests.
pub(crate) fn page<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut page = String::from(
        "# Acceptance\n\nEach row of the requirements on people, keys and tenants, and the tests that \
         show it. Tests say so themselves: a doc line `/// Rows: K5, K9` above the function. Both \
         engines: SQLite and PostgreSQL 15; none: a rule that needs no database. In part (`/// Rows in part: S9`): \
         what concerns the server alone, where a row is about a page in a browser too, or some of what it \
         asks for.\n\n| row | test | engines |\n|---|---|---|\n",
    );
    for (row, tests) in rows_of(sources) {
        for test in tests {
            let part = if test.in_part { ", in part" } else { "" };
            let _ = writeln!(page, "| {}{part} | `{}` | {} |", row.1, test.name, test.engines);
        }
    }
    page.push_str("\n## Rows that no test shows whole\n\n| row | why |\n|---|---|\n");
    let mut reasons: Vec<_> = PARTIAL.iter().chain(LATER).collect();
    reasons.sort_by_key(|(row, _)| key(row));
    for (row, reason) in reasons {
        let _ = writeln!(page, "| {row} | {reason} |");
    }
    page
}

fn collect(documents: &[Document]) -> BTreeMap<Row, BTreeSet<Test>> {
    let texts = documents.iter().filter_map(|it| Some((it.path.as_str(), it.text.as_deref()?)));
    rows_of(texts)
}

/// A row by what it is sorted by, and its name: `K9` comes before `K10`.
type Row = ((String, u32), String);

fn key(row: &str) -> Row {
    let letters: String = row.chars().take_while(char::is_ascii_alphabetic).collect();
    let digits: String = row.chars().skip(letters.len()).take_while(char::is_ascii_digit).collect();
    ((letters, digits.parse().unwrap_or_default()), row.to_owned())
}

fn rows_of<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<Row, BTreeSet<Test>> {
    let mut found: BTreeMap<Row, BTreeSet<Test>> = BTreeMap::new();
    for (path, text) in sources {
        let Some(module) = module(path) else { continue };
        let mut pending: Vec<(&str, bool)> = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(rows) = line.strip_prefix("/// Rows: ") {
                pending.extend(rows.split(',').map(|row| (row.trim(), false)));
            } else if let Some(rows) = line.strip_prefix("/// Rows in part: ") {
                pending.extend(rows.split(',').map(|row| (row.trim(), true)));
            } else if let Some(name) = function(line) {
                let engines = engines(text, name);
                for (row, in_part) in pending.drain(..) {
                    let test = Test { name: format!("{module}::{name}"), in_part, engines };
                    found.entry(key(row)).or_default().insert(test);
                }
            }
        }
    }
    found
}

/// `sessions` for `server/tests/it/sessions.rs`.
fn module(path: &str) -> Option<String> {
    let rest = TESTS.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    Some(rest.strip_suffix(".rs")?.replace('/', "::"))
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?;
    rest.split(['(', '<']).next()
}

/// The databases that a test runs on: both, if it is in the list of those; else those that it or its
/// module names. A program that is started without a word about it uses SQLite.
fn engines(text: &str, name: &str) -> &'static str {
    if listed(text, name) {
        return "both";
    }
    match (named(body(text, name)), named(text)) {
        // It leaves that to a function of its module.
        ((false, false), others) => in_words(others),
        (own, _) => in_words(own),
    }
}

/// Whether a test is in the list of those that run on both databases.
fn listed(text: &str, name: &str) -> bool {
    let Some((_, rest)) = text.split_once("on_both_databases! {") else { return false };
    let list = rest.split('}').next().unwrap_or_default();
    list.split(',').any(|listed| listed.trim() == name)
}

/// Whether a text names SQLite, and PostgreSQL.
fn named(text: &str) -> (bool, bool) {
    let any = |words: [&str; 3]| words.iter().any(|word| text.contains(word));
    (
        any(["Engine::Sqlite", "Running::start(", "on_both("]),
        any(["Engine::Postgres", "Cluster::", "on_both("]),
    )
}

fn in_words(named: (bool, bool)) -> &'static str {
    match named {
        (true, true) => "both",
        (true, false) => "SQLite",
        (false, true) => "PostgreSQL",
        (false, false) => "none",
    }
}

/// The lines of a function up to the brace that closes it.
fn body<'a>(text: &'a str, name: &str) -> &'a str {
    let begin = text.find(&format!("fn {name}(")).unwrap_or_default();
    let head = &text[..begin];
    let indent: String =
        head.rsplit('\n').next().unwrap_or_default().chars().take_while(|it| *it == ' ').collect();
    let rest = &text[begin..];
    rest.split_once(&format!("\n{indent}}}")).map_or(rest, |(body, _)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
crate::on_both_databases! {
    a_key_expires,
}

/// Rows: K11
/// Rows in part: K2
async fn a_key_expires(server: TestServer) {}

/// Whatever else is to be said.
///
/// Rows: K2
#[test]
fn by_itself() {
    check(Engine::Postgres);
}
";

    #[test]
    fn rows_are_collected_and_sorted_by_number() {
        let page = page([("server/tests/it/api_keys.rs", SOURCE)].into_iter());
        let lines: Vec<_> = page.lines().filter(|line| line.starts_with("| K")).collect();
        assert_eq!(
            lines,
            [
                "| K2, in part | `api_keys::a_key_expires` | both |",
                "| K2 | `api_keys::by_itself` | PostgreSQL |",
                "| K11 | `api_keys::a_key_expires` | both |",
            ]
        );
    }

    #[test]
    fn a_required_row_without_a_test_is_a_finding() {
        let document = Document {
            path: "server/tests/it/api_keys.rs".to_owned(),
            size: 0,
            text: Some(SOURCE.to_owned()),
        };
        let findings = check(&[document]);
        assert_eq!(findings.len(), REQUIRED.len() - 2 - LATER.len());
        assert!(findings.iter().all(|finding| !finding.problem.contains(" K11`")));
    }

    #[test]
    fn what_is_shown_in_part_alone_needs_a_reason() {
        let test = |in_part| Test { name: "a::b".to_owned(), in_part, engines: "both" };
        let tests = |in_part: &[bool]| in_part.iter().copied().map(test).collect::<BTreeSet<_>>();
        let cases: [(&str, &[bool], bool); 8] = [
            ("K2", &[true], false),
            ("K2", &[true, false], true),
            ("K2", &[], false),
            ("S9", &[true], true),
            ("S9", &[true, false], false),
            ("S9", &[], false),
            ("T4", &[], true),
            ("T4", &[true], false),
        ];
        for (row, shown, fine) in cases {
            let problem = wrong(row, &tests(shown));
            assert_eq!(problem.is_none(), fine, "{row} {shown:?}: {problem:?}");
        }
    }

    #[test]
    fn reasons_are_given_for_rows_that_are_required() {
        for (row, _) in PARTIAL.iter().chain(LATER) {
            assert!(REQUIRED.contains(row), "{row}");
        }
    }
}

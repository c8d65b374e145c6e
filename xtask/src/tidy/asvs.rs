//! How the server stands with OWASP ASVS 5.0: `docs/asvs.md` has a row for each requirement, and each
//! row names tests that exist, or documents, or says why it does not apply.

use std::collections::{BTreeMap, BTreeSet};

use super::{Document, Finding, rows};

const PAGE: &str = "docs/asvs.md";

/// Requirements of levels 1 and 2 in the sections of chapters 6 to 10 of version 5.0.0.
const REQUIRED: &[(&str, &[u32])] = &[
    ("6.1", &[1, 2, 3]),
    ("6.2", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("6.3", &[1, 2, 3, 4]),
    ("6.4", &[1, 2, 3, 4]),
    ("6.5", &[1, 2, 3, 4, 5]),
    ("6.6", &[1, 2, 3]),
    ("6.8", &[1, 2, 3, 4]),
    ("7.1", &[1, 2, 3]),
    ("7.2", &[1, 2, 3, 4]),
    ("7.3", &[1, 2]),
    ("7.4", &[1, 2, 3, 4, 5]),
    ("7.5", &[1, 2]),
    ("7.6", &[1, 2]),
    ("8.1", &[1, 2]),
    ("8.2", &[1, 2, 3]),
    ("8.3", &[1]),
    ("8.4", &[1]),
    ("9.1", &[1, 2, 3]),
    ("9.2", &[1, 2, 3, 4]),
    ("10.1", &[1, 2]),
    ("10.2", &[1, 2]),
    ("10.3", &[1, 2, 3, 4]),
    ("10.4", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ("10.5", &[1, 2, 3, 4, 5]),
    ("10.6", &[1, 2]),
    ("10.7", &[1, 2, 3]),
];

/// How a requirement may stand.
const STANDINGS: [&str; 4] = ["met", "in part", "not met", "does not apply"];

/// A line of the page: its place, the requirement, how it stands, and why.
struct Row<'a> {
    line: usize,
    number: &'a str,
    standing: &'a str,
    shown: &'a str,
}

pub(super) fn check(documents: &[Document]) -> Vec<Finding> {
    let page = documents.iter().find(|it| it.path == PAGE).and_then(|it| it.text.as_deref());
    let Some(page) = page else { return vec![Finding::new(PAGE, "is not there")] };
    let tests = rows::tests(documents);
    let rows: Vec<_> = page.lines().enumerate().filter_map(row).collect();
    let mut findings = misnumbered(&rows);
    findings.extend(rows.iter().flat_map(|row| check_row(row, &tests)));
    findings
}

fn row((index, line): (usize, &str)) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    let number = cells.next()?;
    number.starts_with(|first: char| first.is_ascii_digit()).then_some(())?;
    let (standing, shown) = (cells.nth(2)?, cells.next()?);
    Some(Row { line: index + 1, number, standing, shown })
}

/// Requirements without a row or with several, and rows of none.
fn misnumbered(rows: &[Row<'_>]) -> Vec<Finding> {
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for (section, numbers) in REQUIRED {
        open.extend(numbers.iter().map(|number| (format!("{section}.{number}"), 0)));
    }
    let mut findings = Vec::new();
    for row in rows {
        match open.get_mut(row.number) {
            Some(count) => *count += 1,
            None => findings.push(Finding::at(PAGE, row.line, "no requirement has this number")),
        }
    }
    let wrong = open.iter().filter(|(_, count)| **count != 1);
    findings.extend(
        wrong.map(|(number, count)| Finding::new(PAGE, format!("{number} has {count} rows"))),
    );
    findings
}

/// What is met is shown by tests or documents; tests that are named are there.
fn check_row(row: &Row<'_>, tests: &BTreeSet<String>) -> Vec<Finding> {
    let mut problems = Vec::new();
    if !STANDINGS.contains(&row.standing) {
        problems.push(format!("`{}` is none of: {}", row.standing, STANDINGS.join(", ")));
    }
    let named: Vec<_> =
        row.shown.split('`').skip(1).step_by(2).filter(|it| it.contains("::")).collect();
    let missing = named.iter().filter(|name| !tests.contains(**name));
    problems.extend(missing.map(|name| format!("no test is called `{name}`")));
    let claims = ["met", "in part"].contains(&row.standing);
    if claims && named.is_empty() && !row.shown.contains("](") {
        problems.push("names neither a test nor a document".to_owned());
    }
    problems.into_iter().map(|problem| Finding::at(PAGE, row.line, problem)).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::sample::document, *};

    const SOURCE: &str = "crate::on_both_databases! {\n    it_holds,\n}\n\nasync fn it_holds(server: TestServer) {}\nfn helper() {}\n";

    fn problems(page: &str) -> Vec<String> {
        let documents = [document(PAGE, page), document("server/tests/it/tokens.rs", SOURCE)];
        let findings = check(&documents).into_iter();
        let at_rows = findings.filter(|finding| finding.place.contains(':'));
        at_rows.map(|finding| finding.problem).collect()
    }

    #[test]
    fn a_row_names_tests_that_are_there() {
        assert_eq!(problems("| 9.1.1 | 1 | signed | met | `tokens::it_holds` |"), [""; 0]);
        assert_eq!(
            problems("| 9.1.1 | 1 | signed | met | `tokens::helper` |"),
            ["no test is called `tokens::helper`"]
        );
        assert_eq!(
            problems("| 9.1.1 | 1 | signed | met | of course |"),
            ["names neither a test nor a document"]
        );
        assert_eq!(
            problems("| 9.9.9 | 1 | x | does not apply | why |"),
            ["no requirement has this number"]
        );
    }

    #[test]
    fn each_requirement_has_one_row() {
        let row = "| 9.1.1 | 1 | signed | met | `tokens::it_holds` |\n";
        let documents = [document(PAGE, &row.repeat(2))];
        let findings = check(&documents);
        assert!(findings.iter().any(|finding| finding.problem == "9.1.1 has 2 rows"));
        assert!(findings.iter().any(|finding| finding.problem == "9.1.2 has 0 rows"));
    }
}

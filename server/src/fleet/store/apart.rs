//! Whether a statement keeps organizations apart: every table in it that belongs to them is narrowed
//! to the organization that is `$1`.

/// The condition that narrows a table, after the name that the statement gives it.
const CONDITION: &str = "org_id = $1";
/// The same of the table of organizations, and of one that is read before it is known whose it is.
const OTHERWISE: [(&str, &str); 2] =
    [("organizations", "WHERE id = $1"), ("device_logins", "organization = $1")];
/// What belongs to no organization: people may be in several.
const SHARED: &str = "users";

/// Whether each table of `sql` has its condition, and each row that it adds its organization.
pub(super) fn keeps_apart(sql: &str) -> bool {
    let words: Vec<&str> =
        sql.split([' ', '\n', '(', ')', ',']).filter(|it| !it.is_empty()).collect();
    let tables = words.windows(2).filter_map(|pair| match pair {
        ["FROM" | "JOIN" | "UPDATE", table] if !["SET", SHARED].contains(table) => Some(*table),
        _ => None,
    });
    let tables: Vec<_> = tables.collect();
    let named = |name: &str| tables.iter().filter(|table| **table == name).count();
    let otherwise = OTHERWISE.iter().map(|(name, _)| named(name)).sum::<usize>();
    let columns = sql.strip_prefix("INSERT INTO ").and_then(|rest| rest.split_once(' '));
    let adds = columns.is_some();
    let names_its_rows = columns.is_some_and(|(_, columns)| columns.starts_with("(org_id, "))
        && sql.contains("VALUES ($1, ");
    tables.len() - otherwise == sql.matches(CONDITION).count()
        && OTHERWISE.iter().all(|(name, condition)| named(name) == sql.matches(condition).count())
        && (!adds || names_its_rows)
        && (adds || !tables.is_empty())
}

/// `sql` with a condition in place of each that names the organization, which is always true.
pub(super) fn without_conditions(sql: &str) -> String {
    ["m.", "t.", "d.", "s.", ""]
        .iter()
        .fold(sql.to_owned(), |sql, table| sql.replace(&format!("{table}{CONDITION}"), "$1 = $1"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// Every statement of an `OrgStore`, as it stands in the sources, with its file.
    fn statements() -> Vec<(String, String)> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fleet/store");
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            if file == "apart.rs" {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices(".query(") {
                let given = text[at + ".query(".len()..].trim_start();
                let (before, quoted) = match given.strip_prefix("select!(") {
                    Some(rest) => (selection(&text), rest.trim_start()),
                    None => (String::new(), given.trim_start_matches("returning!(").trim_start()),
                };
                let Some(quoted) = quoted.strip_prefix('"') else { continue };
                let (sql, _) = quoted.split_once('"').unwrap();
                found.push((file.clone(), format!("{before}{sql}")));
            }
        }
        found
    }

    /// What the macro `select!` of a file puts before a statement, but for the columns.
    fn selection(text: &str) -> String {
        let (_, of_macro) = text.split_once("macro_rules! select").unwrap();
        let (_, table) = of_macro.split_once(" FROM ").unwrap();
        format!("SELECT id FROM {} ", table.split_once(' ').unwrap().0)
    }

    /// PostgreSQL refuses a prepared `*` once a newer server has added a column to the table.
    #[test]
    fn statements_name_the_columns_that_they_read() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fleet");
        let mut folders = vec![dir.into()];
        let mut read = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir::<PathBuf>(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name() != Some("apart.rs".as_ref()) {
                    let text = fs::read_to_string(&path).unwrap();
                    let named = !text.contains("SELECT * ") && !text.contains("RETURNING *");
                    assert!(named, "{}", path.display());
                    read += 1;
                }
            }
        }
        assert!(read > 30, "{read} files");
    }

    /// `text` without each place of `what` in turn.
    fn one_less(text: &str, what: &str) -> Vec<String> {
        let without =
            |(at, _): (usize, &str)| format!("{}$1 = $1{}", &text[..at], &text[at + what.len()..]);
        text.match_indices(what).map(without).collect()
    }

    /// Rows: O6
    #[test]
    fn no_statement_may_lack_a_single_one_of_its_conditions() {
        let statements = statements();
        assert!(statements.len() > 90, "{} statements", statements.len());
        let mut mutants = 0;
        for (file, sql) in &statements {
            assert!(keeps_apart(sql), "{file}: {sql}");
            let conditions = [CONDITION, OTHERWISE[0].1, OTHERWISE[1].1];
            let mut lacking = conditions.map(|condition| one_less(sql, condition)).concat();
            if sql.starts_with("INSERT") {
                let others = [("(org_id, ", "(id, "), ("VALUES ($1, ", "VALUES ($2, ")];
                lacking.extend(others.map(|(what, other)| sql.replacen(what, other, 1)));
            }
            assert!(!lacking.is_empty(), "{file}: {sql}");
            for mutant in lacking {
                assert!(!keeps_apart(&mutant), "{file}: {mutant}");
                mutants += 1;
            }
        }
        assert!(mutants > statements.len(), "{mutants}");
    }

    #[test]
    fn conditions_on_another_table_or_organization_do_not_count() {
        for wrong in [
            "SELECT * FROM teams WHERE id = $2",
            "SELECT * FROM teams WHERE org_id = $2",
            "SELECT * FROM teams t JOIN devices d ON d.team_id = t.id WHERE t.org_id = $1",
            "SELECT * FROM teams WHERE org_id = $1 AND id IN (SELECT team_id FROM devices)",
            "UPDATE teams SET name = $2",
            "INSERT INTO teams (id, org_id) VALUES ($2, $1)",
            "SELECT $1",
        ] {
            assert!(!keeps_apart(wrong), "{wrong}");
        }
    }
}

//! Tables against the rules that the database has for them.

use std::collections::{BTreeMap, BTreeSet};

use packager::Draft;

use super::{Table, msi, tables};
use crate::fixture::draft;

/// What the installer's own validation finds offline: values against `_Validation`, references
/// against the rows that they name.
#[test]
fn every_row_keeps_to_what_the_database_says_of_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let full = Draft { fleet_desktop: true, ..draft() };
    let tables = tables(&msi(folder.path(), full));
    let rules = &tables["_Validation"];
    let mut checked = 0;
    for (name, table) in &tables {
        for (index, column) in table.columns.iter().enumerate() {
            let rule = rules.rows.iter().find(|row| row[0] == *name && row[1] == *column);
            let rule = rule.unwrap_or_else(|| panic!("no rule for {name}.{column}"));
            for row in &table.rows {
                checked += 1;
                if let Err(wrong) = follows(&row[index], rule, &tables) {
                    panic!("{name}.{column} `{}`: {wrong}", row[index]);
                }
            }
        }
        let keys: BTreeSet<_> = table.rows.iter().map(|row| &row[..table.keys.max(1)]).collect();
        assert_eq!(keys.len(), table.rows.len(), "{name} has a key twice");
    }
    assert!(checked > 1000, "{checked}");
}

fn follows(
    value: &str,
    rule: &[String],
    tables: &BTreeMap<String, Table>,
) -> Result<(), &'static str> {
    let [_, _, nullable, least, greatest, key_tables, _, category, set, ..] = rule else {
        return Err("a rule is incomplete");
    };
    if value.is_empty() {
        return if nullable == "Y" { Ok(()) } else { Err("it is null") };
    }
    let number = |text: &str| text.parse::<i64>().ok();
    if let (Some(value), Some(least), Some(greatest)) =
        (number(value), number(least), number(greatest))
        && !(least..=greatest).contains(&value)
    {
        return Err("it is out of range");
    }
    if !set.is_empty() && !set.split(';').any(|one| one == value) {
        return Err("it is not in the set");
    }
    let known =
        |table: &str| tables.get(table).is_some_and(|it| it.rows.iter().any(|row| row[0] == value));
    if !key_tables.is_empty() && !key_tables.split(';').any(known) {
        return Err("it names no row");
    }
    let identifier = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
            && !text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
    };
    let good = match category.as_str() {
        "Identifier" => value.split(';').all(identifier),
        "UpperCase" => identifier(value) && value == value.to_uppercase(),
        "Guid" => value.len() == 38 && value == value.to_uppercase(),
        "Filename" => value.split('|').next().is_some_and(is_short),
        "Version" => value.split('.').all(|part| part.parse::<u16>().is_ok()),
        _ => true,
    };
    if good { Ok(()) } else { Err("it is not of its category") }
}

fn is_short(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    (1..=8).contains(&stem.len()) && extension.len() <= 3 && !extension.contains('.')
}

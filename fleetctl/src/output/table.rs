//! Tables for people: aligned columns, no lines; only the head is marked, and only in colour.

use anstyle::Style;
use comfy_table::{Cell, ColumnConstraint, presets};
use jiff::Timestamp;

const HEAD: Style = Style::new().bold();

/// Rows under a head, or, without a head, names beside values.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// A list: one row for each thing.
    pub(crate) fn list<const N: usize>(
        head: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Self {
        let mut table = Self::bare();
        table.0.set_header(head.map(|name| Cell::new(name.to_uppercase())));
        table.0.add_rows(rows.into_iter().map(|row| row.map(|text| Cell::new(shown(&text)))));
        table.finish()
    }

    /// One thing: a row for each of its properties, those without a value left out.
    pub(crate) fn properties<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut table = Self::bare();
        for (name, value) in rows {
            if !value.is_empty() {
                table.0.add_row([Cell::new(format!("{name}:")), Cell::new(clean(&value))]);
            }
        }
        table.finish()
    }

    fn bare() -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        Self(table)
    }

    fn finish(mut self) -> Self {
        for column in self.0.column_iter_mut() {
            column.set_padding((0, 2)).set_constraint(ColumnConstraint::ContentWidth);
        }
        self
    }

    /// The text, a line for each row, nothing at the ends of lines.
    pub(crate) fn render(&self) -> String {
        let marked = self.0.header().is_some();
        let mut text = String::new();
        for (number, line) in self.0.lines().enumerate() {
            let line = line.trim_end();
            if marked && number == 0 {
                text.push_str(&format!("{HEAD}{line}{HEAD:#}\n"));
            } else if !line.is_empty() {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

fn shown(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { clean(text) }
}

/// `text` without control characters: devices choose their names, and must not steer a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A time as people read it: UTC, to the second.
pub(crate) fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_aligned_and_free_of_control_characters() {
        let table = Table::list(
            ["name", "id"],
            [["a\u{1b}[31m".into(), "1".into()], ["long name".into(), String::new()]],
        );
        let text = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(text, "NAME       ID\na\u{fffd}[31m     1\nlong name  -\n");
    }

    #[test]
    fn an_empty_list_is_its_head() {
        let text = Table::list(["name", "id"], []).render();
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "NAME  ID\n");
    }

    #[test]
    fn properties_without_value_are_left_out() {
        let text = Table::properties([("id", "1".into()), ("team", String::new())]).render();
        assert_eq!(text, "id:  1\n");
    }
}

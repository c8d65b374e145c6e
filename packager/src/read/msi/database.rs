//! The tables of an installer. Source: the databases that msitools and WiX write.
//!
//! Only tables that are asked for are read, each with every number checked, where the crate `msi` opens the
//! whole database for editing.

use std::collections::BTreeMap;

use crate::read::error::ReadError;

pub(super) const PART: &str = "database";
/// Set in the code page when strings' numbers have three bytes.
const LONG_NUMBERS: u32 = 0x8000_0000;
const UTF8: u32 = 65_001;

/// Every string of the database, by number.
pub(super) struct Strings {
    texts: Vec<String>,
    /// Bytes of a string's number.
    width: usize,
}

impl Strings {
    /// Reads the streams that have lengths and texts.
    pub(super) fn read(pool: &[u8], data: &[u8]) -> Result<Self, ReadError> {
        let cut = || ReadError::Truncated { part: PART };
        let (head, entries) = pool.split_first_chunk::<4>().ok_or_else(cut)?;
        let head = u32::from_le_bytes(*head);
        let width = if head & LONG_NUMBERS == 0 { 2 } else { 3 };
        // The string without a number is the empty one.
        let mut texts = vec![String::new()];
        let mut rest = data;
        let mut entries = entries.as_chunks::<4>().0.iter();
        while let Some(&[a, b, c, d]) = entries.next() {
            let (mut length, uses) = (u32::from(u16::from_le_bytes([a, b])), [c, d]);
            if length == 0 && uses != [0; 2] {
                length = u32::from_le_bytes(*entries.next().ok_or_else(cut)?);
            }
            let (text, after) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
            rest = after;
            texts.push(decoded(text, head & !LONG_NUMBERS));
        }
        Ok(Self { texts, width })
    }
}

/// UTF-8 and Latin are what installers for everybody have; of others the ASCII is right.
fn decoded(text: &[u8], code_page: u32) -> String {
    match std::str::from_utf8(text) {
        Ok(text) if code_page == UTF8 || text.is_ascii() => text.to_owned(),
        Ok(_) | Err(_) if code_page != UTF8 => text.iter().copied().map(char::from).collect(),
        Ok(_) | Err(_) => String::from_utf8_lossy(text).into_owned(),
    }
}

/// What is in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Short,
    Long,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Kind,
}

/// The columns of every table.
pub(super) struct Schema(BTreeMap<String, Vec<Column>>);

impl Schema {
    /// Reads the stream `_Columns`, which is a table itself.
    pub(super) fn read(stream: &[u8], strings: &Strings) -> Result<Self, ReadError> {
        let columns = [
            ("Table", Kind::Text),
            ("Number", Kind::Short),
            ("Name", Kind::Text),
            ("Type", Kind::Short),
        ];
        let columns = columns.map(|(name, kind)| Column { name: name.to_owned(), kind }).to_vec();
        let listed = Table::new(columns, stream, strings)?;
        let mut tables: BTreeMap<String, BTreeMap<i64, Column>> = BTreeMap::new();
        for row in listed.rows() {
            let column =
                Column { name: row.text("Name").to_owned(), kind: kind(row.number("Type")) };
            tables
                .entry(row.text("Table").to_owned())
                .or_default()
                .insert(row.number("Number"), column);
        }
        let tables =
            tables.into_iter().map(|(name, columns)| (name, columns.into_values().collect()));
        Ok(Self(tables.collect()))
    }

    /// The table `name`, whose stream is given; one without rows if there is no such.
    pub(super) fn table<'a>(
        &self,
        name: &str,
        stream: &[u8],
        strings: &'a Strings,
    ) -> Result<Table<'a>, ReadError> {
        let columns = self.0.get(name).cloned().unwrap_or_default();
        Table::new(columns, stream, strings)
    }
}

fn kind(bits: i64) -> Kind {
    const TEXT: i64 = 0x800;
    const NULLABLE: i64 = 0x1000;
    const KEY: i64 = 0x2000;
    const STREAM: i64 = 0x900;
    match bits & !NULLABLE & !KEY {
        STREAM => Kind::Short,
        bits if bits & TEXT != 0 => Kind::Text,
        bits if bits & 0xff == 4 => Kind::Long,
        _ => Kind::Short,
    }
}

/// A table with its rows.
pub(super) struct Table<'a> {
    columns: Vec<Column>,
    /// Row by row.
    cells: Vec<u32>,
    strings: &'a Strings,
}

impl<'a> Table<'a> {
    fn new(columns: Vec<Column>, stream: &[u8], strings: &'a Strings) -> Result<Self, ReadError> {
        let widths: Vec<_> = columns.iter().map(|column| strings.width_of(column.kind)).collect();
        let width: usize = widths.iter().sum();
        let count = stream.len().checked_div(width).unwrap_or_default();
        if count * width != stream.len() {
            return Err(ReadError::damaged(PART, "a table has a row that is no whole one"));
        }
        let mut cells = vec![0; count * columns.len()];
        let mut at = 0;
        for (column, width) in widths.iter().enumerate() {
            for row in 0..count {
                let bytes = &stream[at..at + width];
                let cell = bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
                cells[row * columns.len() + column] = cell;
                at += width;
            }
        }
        Ok(Self { columns, cells, strings })
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let width = self.columns.len().max(1);
        self.cells.chunks_exact(width).map(|cells| Row { table: self, cells })
    }
}

impl Strings {
    fn width_of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Text => self.width,
            Kind::Short => 2,
            Kind::Long => 4,
        }
    }
}

/// A row of a table.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    table: &'a Table<'a>,
    cells: &'a [u32],
}

impl<'a> Row<'a> {
    fn cell(&self, column: &str) -> Option<(Kind, u32)> {
        let index = self.table.columns.iter().position(|its| its.name == column)?;
        Some((self.table.columns[index].kind, *self.cells.get(index)?))
    }

    /// Empty where there is nothing.
    pub(super) fn text(&self, column: &str) -> &'a str {
        let texts = &self.table.strings.texts;
        match self.cell(column) {
            Some((Kind::Text, number)) => texts.get(number as usize).map_or("", String::as_str),
            Some(_) | None => "",
        }
    }

    /// 0 where there is nothing.
    pub(super) fn number(&self, column: &str) -> i64 {
        match self.cell(column) {
            Some((Kind::Short, cell)) if cell != 0 => i64::from(cell) - 0x8000,
            Some((Kind::Long, cell)) if cell != 0 => i64::from(cell) - 0x8000_0000,
            Some(_) | None => 0,
        }
    }
}

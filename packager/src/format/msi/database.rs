//! A database of tables as Windows Installer has it: every value a number or the number of a
//! string, every table a stream of columns. Source: the databases that msitools and WiX write.

use std::collections::BTreeMap;

use super::schema::{Column, Kind, TABLES, Table};

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Number(i32),
    /// The row's own stream, see [`Kind::Stream`].
    Stream,
    /// Not empty: an empty text is null.
    Text(String),
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text) }
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Tables with rows.
#[derive(Debug, Default)]
pub(super) struct Database {
    rows: BTreeMap<&'static str, Vec<Vec<Cell>>>,
}

/// A table or the strings, under the name that their stream has.
pub(super) type Stream = (String, Vec<u8>);

impl Database {
    /// Adds a row to a table of [`TABLES`], a cell a column.
    pub(super) fn add<const N: usize>(&mut self, table: &'static str, row: [Cell; N]) {
        self.rows.entry(table).or_default().push(row.into());
    }

    /// Adds a row to `_Validation` for each column of each table.
    pub(super) fn describe_columns(&mut self) {
        for table in TABLES {
            for column in table.columns {
                self.add("_Validation", validation(table.name, column));
            }
        }
    }

    /// Every stream of the database; tables without rows have none. None: there are more strings
    /// than can be numbered.
    pub(super) fn streams(&self) -> Option<Vec<Stream>> {
        let strings = Strings::of(self)?;
        let mut streams: Vec<_> = TABLES
            .iter()
            .filter_map(|table| {
                let rows = self.rows.get(table.name)?;
                Some((stream_name(table.name, true), columns(table.columns, rows, &strings)))
            })
            .collect();
        streams
            .push((stream_name("_Tables", true), columns(TABLE_NAMES, &table_names(), &strings)));
        let listed = column_names();
        streams.push((stream_name("_Columns", true), columns(COLUMN_NAMES, &listed, &strings)));
        let (pool, data) = strings.streams();
        streams.extend([
            (stream_name("_StringPool", true), pool),
            (stream_name("_StringData", true), data),
        ]);
        Some(streams)
    }
}

fn validation(table: &str, column: &Column) -> [Cell; 10] {
    [
        table.into(),
        column.name.into(),
        if column.nullable { "Y" } else { "N" }.into(),
        column.range.map(|(least, _)| least).into(),
        column.range.map(|(_, greatest)| greatest).into(),
        column.refers_to.into(),
        column.refers_to.map(|_| 1).into(),
        column.category.into(),
        column.set.into(),
        Cell::Null,
    ]
}

/// Columns of the tables that list tables and columns, which are in no list themselves.
const TABLE_NAMES: &[Column] = &[system("Name", Kind::Text(64))];
const COLUMN_NAMES: &[Column] = &[
    system("Table", Kind::Text(64)),
    system("Number", Kind::Short),
    Column { key: false, ..system("Name", Kind::Text(64)) },
    Column { key: false, ..system("Type", Kind::Short) },
];

const fn system(name: &'static str, kind: Kind) -> Column {
    let (range, refers_to, category, set) = (None, None, None, None);
    Column { name, kind, key: true, nullable: false, range, refers_to, category, set }
}

fn table_names() -> Vec<Vec<Cell>> {
    TABLES.iter().map(|table| vec![table.name.into()]).collect()
}

fn column_names() -> Vec<Vec<Cell>> {
    let columns = |table: &'static Table| (1..).zip(table.columns).map(|it| (table.name, it));
    let row = |(table, (number, column)): (&str, (i32, &Column))| {
        vec![table.into(), number.into(), column.name.into(), type_bits(column).into()]
    };
    TABLES.iter().flat_map(columns).map(row).collect()
}

fn type_bits(column: &Column) -> i32 {
    const NULLABLE: i32 = 0x1000;
    const KEY: i32 = 0x2000;
    let kind = match column.kind {
        Kind::Text(length) => 0xd00 | i32::from(length),
        Kind::Localized(length) => 0xf00 | i32::from(length),
        Kind::Short => 0x502,
        Kind::Long => 0x104,
        Kind::Stream => 0x900,
    };
    kind + if column.nullable { NULLABLE } else { 0 } + if column.key { KEY } else { 0 }
}

/// The rows as they are stored: sorted by their keys, one column after the other.
fn columns(columns: &[Column], rows: &[Vec<Cell>], strings: &Strings) -> Vec<u8> {
    let encode = |(cell, column): (&Cell, &Column)| strings.encoded(cell, column.kind);
    let mut rows: Vec<Vec<u32>> =
        rows.iter().map(|row| row.iter().zip(columns).map(encode).collect()).collect();
    let keys = columns.iter().filter(|column| column.key).count();
    rows.sort_by(|a, b| a[..keys].cmp(&b[..keys]));
    let mut bytes = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let width = if column.kind == Kind::Long { 4 } else { 2 };
        rows.iter().for_each(|row| bytes.extend(&row[index].to_le_bytes()[..width]));
    }
    bytes
}

/// Every string, numbered from 1 in the order of their bytes, with the number of its uses.
#[derive(Debug)]
struct Strings {
    uses: BTreeMap<String, (u16, u16)>,
}

impl Strings {
    fn of(database: &Database) -> Option<Self> {
        let mut counts: BTreeMap<String, u16> = BTreeMap::new();
        let lists = [table_names(), column_names()];
        for cell in database.rows.values().chain(&lists).flatten().flatten() {
            if let Cell::Text(text) = cell {
                let count = counts.entry(text.clone()).or_default();
                *count = count.checked_add(1)?;
            }
        }
        u16::try_from(counts.len()).ok()?;
        let numbered = (1..=u16::MAX).zip(counts);
        Some(Self { uses: numbered.map(|(id, (text, count))| (text, (id, count))).collect() })
    }

    /// Numbers are moved so that null is 0 and their order that of unsigned ones.
    fn encoded(&self, cell: &Cell, kind: Kind) -> u32 {
        match (cell, kind) {
            (Cell::Null, _) => 0,
            (Cell::Stream, _) => 1,
            (Cell::Text(text), _) => self.uses[text].0.into(),
            (Cell::Number(number), Kind::Long) => number.cast_unsigned() ^ 0x8000_0000,
            (Cell::Number(number), _) => (number.cast_unsigned() ^ 0x8000) & 0xffff,
        }
    }

    /// Lengths and uses of all strings, and the strings.
    fn streams(&self) -> (Vec<u8>, Vec<u8>) {
        let mut pool = u32::from(CODE_PAGE).to_le_bytes().to_vec();
        let mut data = Vec::new();
        for (text, (_, count)) in &self.uses {
            let text = latin(text);
            match u16::try_from(text.len()) {
                Ok(length) => pool.extend(length.to_le_bytes()),
                Err(_) => pool.extend([0; 2]),
            }
            pool.extend(count.to_le_bytes());
            if text.len() > usize::from(u16::MAX) {
                pool.extend((text.len() as u32).to_le_bytes());
            }
            data.extend(text);
        }
        (pool, data)
    }
}

/// Windows' Latin, of which ISO 8859-1 is used.
pub(super) const CODE_PAGE: u16 = 1252;

/// `text` in the code page. What it cannot hold is refused before.
pub(super) fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect()
}

/// A stream's name: two letters in one, so that more fit in; that of a table has a mark before.
pub(crate) fn stream_name(name: &str, table: bool) -> String {
    const TABLE: char = '\u{4840}';
    const ONE: u32 = 0x4800;
    const TWO: u32 = 0x3800;
    let mut encoded: String = table.then_some(TABLE).into_iter().collect();
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let unit = match (code(letter), letters.peek().copied().and_then(code)) {
            (Some(one), Some(two)) => {
                letters.next();
                TWO + one + (two << 6)
            }
            (Some(one), None) => ONE + one,
            (None, _) => u32::from(letter),
        };
        encoded.extend(char::from_u32(unit));
    }
    encoded
}

/// The letters that are put together, in six bits.
fn code(letter: char) -> Option<u32> {
    const LETTERS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._";
    LETTERS.find(letter).and_then(|at| u32::try_from(at).ok())
}

//! The summary that Explorer and the installer read before the database. Source: MS-OLEPS.

use super::database::{CODE_PAGE, latin};

/// The stream's name.
pub(super) const NAME: &str = "\u{5}SummaryInformation";

/// What is different from package to package.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    pub(super) product: &'a str,
    pub(super) author: &'a str,
    pub(super) comments: &'a str,
    /// `x64;1033`
    pub(super) template: &'a str,
    pub(super) package_code: &'a str,
    /// Seconds since 1970.
    pub(super) date: u32,
}

enum Value<'a> {
    Short(u16),
    Long(u32),
    Text(&'a str),
    /// Tenths of microseconds since 1601.
    Time(u64),
}

impl Summary<'_> {
    /// The stream's content.
    pub(super) fn bytes(&self) -> Vec<u8> {
        const WINDOWS_INSTALLER_5: u32 = 500;
        const LONG_NAMES_COMPRESSED: u32 = 2;
        const READ_ONLY_RECOMMENDED: u32 = 2;
        let time = (u64::from(self.date) + 11_644_473_600) * 10_000_000;
        section(&[
            (1, Value::Short(CODE_PAGE)),
            (2, Value::Text("Installation Database")),
            (3, Value::Text(self.product)),
            (4, Value::Text(self.author)),
            (5, Value::Text("Installer")),
            (6, Value::Text(self.comments)),
            (7, Value::Text(self.template)),
            (9, Value::Text(self.package_code)),
            (12, Value::Time(time)),
            (13, Value::Time(time)),
            (14, Value::Long(WINDOWS_INSTALLER_5)),
            (15, Value::Long(LONG_NAMES_COMPRESSED)),
            (18, Value::Text("fleetctl")),
            (19, Value::Long(READ_ONLY_RECOMMENDED)),
        ])
    }
}

fn section(properties: &[(u32, Value<'_>)]) -> Vec<u8> {
    const ORDER_VERSION_SYSTEM: [u8; 8] = [0xfe, 0xff, 0, 0, 10, 0, 2, 0];
    const FORMAT: [u8; 16] = [
        0xe0, 0x85, 0x9f, 0xf2, 0xf9, 0x4f, 0x68, 0x10, 0xab, 0x91, 0x08, 0x00, 0x2b, 0x27, 0xb3,
        0xd9,
    ];
    const HEAD: u32 = 48;
    let mut index = Vec::new();
    let mut values = Vec::new();
    let first = 8 + 8 * properties.len();
    for (id, value) in properties {
        index.extend(id.to_le_bytes());
        index.extend(((first + values.len()) as u32).to_le_bytes());
        values.extend(value.bytes());
    }
    let mut bytes = ORDER_VERSION_SYSTEM.to_vec();
    bytes.extend([0; 16]);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(FORMAT);
    bytes.extend(HEAD.to_le_bytes());
    bytes.extend(((first + values.len()) as u32).to_le_bytes());
    bytes.extend((properties.len() as u32).to_le_bytes());
    [bytes, index, values].concat()
}

impl Value<'_> {
    /// Type and value, filled up to four bytes.
    fn bytes(&self) -> Vec<u8> {
        let (kind, value): (u32, Vec<u8>) = match self {
            Self::Short(number) => (2, number.to_le_bytes().into()),
            Self::Long(number) => (3, number.to_le_bytes().into()),
            Self::Text(text) => {
                let text = latin(text);
                let length = text.len() as u32 + 1;
                (30, [&length.to_le_bytes(), &*text, &[0]].concat())
            }
            Self::Time(time) => (64, time.to_le_bytes().into()),
        };
        let mut bytes = [kind.to_le_bytes().to_vec(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

//! The summary that Explorer and the installer read before the database. Source: MS-OLEPS.

/// Properties of text that are told, as they are named here.
const TEXTS: [(u32, &str); 5] =
    [(4, "author"), (6, "summary"), (7, "architecture"), (9, "package_code"), (18, "made_by")];
const TEXT: u32 = 30;

/// What the summary tells; nothing where it is damaged.
pub(super) fn read(stream: &[u8]) -> Vec<(&'static str, String)> {
    let section = number(stream, 44).and_then(|at| stream.get(at as usize..));
    let Some(section) = section else { return Vec::new() };
    let count = number(section, 4).unwrap_or_default().min(64) as usize;
    let property = |index: usize| {
        let id = number(section, 8 + 8 * index)?;
        let at = number(section, 12 + 8 * index)? as usize;
        let (_, name) = TEXTS.into_iter().find(|(its, _)| *its == id)?;
        Some((name, text(section.get(at..)?)?))
    };
    (0..count).filter_map(property).collect()
}

fn text(value: &[u8]) -> Option<String> {
    let length = number(value, 4).filter(|_| number(value, 0) == Some(TEXT))?;
    let bytes = value.get(8..8_usize.checked_add(length as usize)?)?;
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    Some(bytes[..end].iter().copied().map(char::from).collect())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
}

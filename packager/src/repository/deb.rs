//! What a deb says of itself: its control paragraph. Source: deb(5), deb822(5), deb-control(5), deb-version(7).

use std::{
    cmp::Ordering,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::{RepositoryError, plain_word};
use crate::archive::{ar, sections::Sections};

/// The longest control paragraph, in bytes.
const LIMIT: u64 = 1 << 20;
/// The most that is unpacked to find it.
const UNPACKED: u64 = 64 << 20;

/// The fields of a paragraph, in its order. A value keeps its line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Control(Vec<(String, String)>);

impl Control {
    /// The value of `name`, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// One line for each field, more for those of many.
    pub(super) fn render(&self) -> String {
        self.0.iter().fold(String::new(), |text, (name, value)| text + name + ": " + value + "\n")
    }

    /// The one paragraph of `text`. The error says what is wrong.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.trim_end_matches('\n').lines() {
            if line.trim().is_empty() {
                return Err("its control file has a blank line");
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = fields.last_mut().ok_or("its control file begins in a field")?;
                value.push('\n');
                value.push_str(line.trim_end());
                continue;
            }
            let (name, value) =
                line.split_once(':').ok_or("a line of its control file has no field")?;
            let plain = |byte: u8| byte.is_ascii_graphic();
            if name.is_empty() || !name.bytes().all(plain) {
                return Err("a field of its control file has no name");
            }
            if fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name)) {
                return Err("a field of its control file is there twice");
            }
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Self(fields))
    }
}

/// The control paragraph of the deb at `path`, which has what an index needs.
pub(super) fn read(path: &Path) -> Result<Control, RepositoryError> {
    let wrong = |reason: &str| RepositoryError::Package {
        file: path.to_owned(),
        reason: reason.to_owned(),
    };
    let mut file = File::open(path).map_err(RepositoryError::read(path))?;
    let text = control(&mut file).map_err(|error| wrong(&error.to_string()))?;
    let control = Control::parse(&text).map_err(wrong)?;
    for (field, what) in [("Package", "package's name"), ("Architecture", "package's architecture")]
    {
        plain_word(
            what,
            control.get(field).ok_or_else(|| wrong("it has no name or no architecture"))?,
        )?;
    }
    let version = control.get("Version").ok_or_else(|| wrong("it has no version"))?;
    plain_word("package's version", &without_epoch(version).replace(':', "."))?;
    for field in ["Filename", "Size", "SHA256", "MD5sum", "SHA1", "SHA512"] {
        if control.get(field).is_some() {
            return Err(wrong("its control file has a field of an index"));
        }
    }
    Ok(control)
}

/// The text of the file `control` in the deb `file`.
fn control(file: &mut File) -> io::Result<String> {
    let members = ar::list(file)?;
    let member = members.iter().find(|member| member.name.starts_with("control.tar"));
    let member = member.ok_or_else(|| invalid("it has no control archive"))?;
    let content = BufReader::new(Sections::new(file, vec![(member.at, member.length)]));
    let unpacked: Box<dyn Read> = match member.name.as_str() {
        "control.tar" => Box::new(content),
        "control.tar.gz" => Box::new(MultiGzDecoder::new(content)),
        "control.tar.xz" => Box::new(XzReader::new(content, true)),
        "control.tar.zst" => Box::new(zstd::Decoder::with_buffer(content)?),
        _ => return Err(invalid("its control archive is squeezed in an unknown way")),
    };
    let mut archive = tar::Archive::new(unpacked.take(UNPACKED));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path_bytes();
        if matches!(&*path, b"./control" | b"control") {
            drop(path);
            let mut text = String::new();
            entry.take(LIMIT).read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    Err(invalid("it has no control file"))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// What a file's name has of a version.
pub(super) fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// Which version is the newer. Source: deb-version(7).
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let parts = |version| {
        let (epoch, rest) = str::split_once(version, ':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch.trim_start_matches('0').to_owned(), upstream.to_owned(), revision.to_owned())
    };
    let (one, other) = (parts(one), parts(other));
    compare_part(&one.0, &other.0)
        .then_with(|| compare_part(&one.1, &other.1))
        .then_with(|| compare_part(&one.2, &other.2))
}

/// Stretches of what is no digit and of digits are compared in turn.
fn compare_part(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while !one.is_empty() || !other.is_empty() {
        let (text, other_text) = (taken(&mut one, false), taken(&mut other, false));
        let longest = text.len().max(other_text.len());
        let weights = |text: &[u8]| -> Vec<i16> {
            (0..=longest).map(|place| weight(text.get(place).copied())).collect()
        };
        let (number, other_number) = (taken(&mut one, true), taken(&mut other, true));
        let (number, other_number) = (significant(number), significant(other_number));
        let order = weights(text)
            .cmp(&weights(other_text))
            .then_with(|| number.len().cmp(&other_number.len()))
            .then_with(|| number.cmp(other_number));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// A tilde comes before the end, letters before everything else.
fn weight(byte: Option<u8>) -> i16 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i16::from(letter),
        Some(other) => i16::from(other) + 256,
    }
}

fn taken<'a>(text: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = text.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    taken
}

fn significant(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_in_the_order_that_dpkg_has() {
        let sorted = [
            "0.9", "1.0~~", "1.0~~a", "1.0~", "1.0~rc1", "1.0", "1.0-1", "1.0-1.1", "1.0a",
            "1.0+b1", "1.0.1", "1.2", "1.10", "1:0.1", "10:0",
        ];
        for (place, one) in sorted.iter().enumerate() {
            for (other_place, other) in sorted.iter().enumerate() {
                assert_eq!(compare(one, other), place.cmp(&other_place), "{one} {other}");
            }
        }
        assert_eq!(compare("1.0", "0:1.00-0"), Ordering::Equal);
    }

    #[test]
    fn a_blank_line_would_end_the_paragraph_of_an_index() {
        for text in ["Description: a\n \nFoo: b", "Package: a\n\nPackage: b"] {
            assert_eq!(Control::parse(text), Err("its control file has a blank line"), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_two_versions_have_an_order(one in "[0-9a-z.~:+-]{0,12}", other in "[0-9a-z.~:+-]{0,12}") {
            prop_assert_eq!(compare(&one, &other), compare(&other, &one).reverse());
            prop_assert_eq!(compare(&one, &one), Ordering::Equal);
        }

        #[test]
        fn any_text_is_a_paragraph_or_refused(text in "[a-zA-Z: \\n\\t.é-]{0,200}") {
            if let Ok(control) = Control::parse(&text) {
                prop_assert_eq!(Control::parse(&control.render()), Ok(control));
            }
        }
    }
}

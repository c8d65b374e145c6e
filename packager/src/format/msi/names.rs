//! What files and folders are called in the tables of an installer.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::tree::InstallPath;

/// The package's outermost folder, which the installer's rows name.
pub(super) const ROOT: &str = "ORBITROOT";

/// The longest identifier that fits the tables.
const MAX_ID: usize = 72;

/// An identifier that no other path below `root` has: letters and digits of `path`, dots for its
/// slashes, other characters by their numbers.
pub(super) fn identifier(kind: char, path: &InstallPath, root: &str) -> String {
    let mut id = String::from(kind);
    let below = path.as_str().strip_prefix(root).unwrap_or(path.as_str());
    for letter in below.chars() {
        match letter {
            '/' => id.push('.'),
            '_' => id.push_str("__"),
            letter if letter.is_ascii_alphanumeric() => id.push(letter),
            other => id.push_str(&format!("_{:02x}", u32::from(other))),
        }
    }
    if id.len() <= MAX_ID { id } else { format!("{kind}.{}", &hash(path.as_str())[..40]) }
}

/// The code of a component, the same in every version: what is at a path is that component.
pub(super) fn component_code(path: &str) -> String {
    guid("component", path.as_bytes())
}

/// A GUID that follows from `content` and what it is for.
pub(super) fn guid(purpose: &str, content: &[u8]) -> String {
    let digest = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(content);
    let bytes = *digest.finalize().first_chunk().expect("a digest is longer than a GUID");
    format!("{:X}", uuid::Builder::from_custom_bytes(bytes).into_uuid().braced())
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Gives names of eight letters and three to files and folders that have longer ones.
#[derive(Debug, Default)]
pub(super) struct ShortNames {
    /// How many there are already for a folder, letters, extension, and number of digits.
    given: BTreeMap<(String, String, String, usize), u32>,
}

impl ShortNames {
    /// `name`, or `SHORT~1.EXT|name`, for something in `folder`.
    pub(super) fn of(&mut self, folder: &str, name: &str) -> String {
        if is_short(name) {
            return name.to_owned();
        }
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let extension = match letters(extension, 3) {
            none if none.is_empty() => none,
            some => format!(".{some}"),
        };
        for digits in 1..=6 {
            let stem = letters(stem, 7 - digits);
            let first = 10_u32.pow(digits as u32 - 1);
            let given = (folder.to_owned(), stem.clone(), extension.clone(), digits);
            let given = self.given.entry(given).or_default();
            if *given < 9 * first {
                let number = first + *given;
                *given += 1;
                return format!("{stem}~{number}{extension}|{name}");
            }
        }
        unreachable!("the tables have room for fewer files")
    }
}

fn letters(text: &str, most: usize) -> String {
    let plain = text.chars().filter(char::is_ascii_alphanumeric).take(most);
    plain.map(|letter| letter.to_ascii_uppercase()).collect()
}

fn is_short(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, "0"));
    let plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    (1..=8).contains(&stem.len())
        && (1..=3).contains(&extension.len())
        && plain(stem)
        && plain(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_get_short_ones_that_differ() {
        let mut names = ShortNames::default();
        assert_eq!(names.of("a", "orbit.exe"), "orbit.exe");
        assert_eq!(names.of("a", "packaged.secret"), "PACKAG~1.SEC|packaged.secret");
        assert_eq!(names.of("a", "packaged.secret2"), "PACKAG~2.SEC|packaged.secret2");
        assert_eq!(names.of("b", "packaged.secret"), "PACKAG~1.SEC|packaged.secret");
        assert_eq!(names.of("a", "fleet_client"), "FLEETC~1|fleet_client");
        assert_eq!(names.of("a", "a.b.c"), "AB~1.C|a.b.c");
        for number in 2..=9 {
            names.of("a", &format!("fleet_client_{number}"));
        }
        assert_eq!(names.of("a", "fleet_client_10"), "FLEET~10|fleet_client_10");
        assert_eq!(names.of("a", "fleet_service"), "FLEETS~1|fleet_service");
    }

    #[test]
    fn paths_that_differ_have_identifiers_that_differ() {
        let id = |text: &str| identifier('f', &InstallPath::new(text).unwrap(), "/r");
        assert_eq!(id("/r/a/b-c_d.exe"), "f.a.b_2dc__d_2eexe");
        assert_ne!(id("/a/b.c"), id("/a/b/c"));
        let long = format!("/{}", "x".repeat(80));
        assert!(id(&long).len() <= MAX_ID);
    }

    #[test]
    fn codes_follow_from_content_and_purpose() {
        let code = component_code("/a");
        assert_eq!(code, component_code("/a"));
        assert_ne!(code, guid("product", b"/a"));
        assert!(code.starts_with('{') && code.len() == 38 && code == code.to_uppercase());
    }
}

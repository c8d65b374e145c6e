//! Names of keys in tokens: `pkcs11:token=Office;object=code?module-path=/usr/lib/softhsm/libsofthsm2.so`. Source:
//! RFC 7512.

use std::path::PathBuf;

/// Which key, in which token, through which library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenUri {
    pub(super) token: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) slot: Option<u64>,
    /// The key's label.
    pub(super) object: Option<String>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) module: Option<PathBuf>,
    /// A file with the PIN on its first line.
    pub(super) pin_file: Option<PathBuf>,
}

/// What a token tells of itself, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenInfo<'a> {
    pub(super) slot: u64,
    pub(super) label: &'a str,
    pub(super) serial: &'a str,
    pub(super) manufacturer: &'a str,
    pub(super) model: &'a str,
}

impl TokenUri {
    pub(crate) const SCHEME: &str = "pkcs11:";

    /// What is wrong does not tell a value: it may be a PIN.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix(Self::SCHEME).unwrap_or(text);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut uri = Self::default();
        let pairs = path.split(';').chain(query.split('&')).filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| "an attribute in it has no value".to_owned())?;
            let bytes = decoded(value).ok_or_else(|| format!("its `{name}` has a wrong %"))?;
            uri.take(name, bytes)?;
        }
        if uri.module.is_none() {
            return Err("it does not tell the token's library: add ?module-path=…".to_owned());
        }
        if uri.object.is_none() && uri.id.is_none() {
            return Err("it does not tell which key: add object=… or id=…".to_owned());
        }
        Ok(uri)
    }

    /// Whether it is about this token: in what it does not tell, tokens may differ.
    pub(super) fn names(&self, token: &TokenInfo<'_>) -> bool {
        let wanted = [
            (&self.token, token.label),
            (&self.serial, token.serial),
            (&self.manufacturer, token.manufacturer),
            (&self.model, token.model),
        ];
        let fits = |(wanted, has): &(&Option<String>, &str)| {
            wanted.as_ref().is_none_or(|wanted| wanted == has.trim_end())
        };
        wanted.iter().all(fits) && self.slot.is_none_or(|number| number == token.slot)
    }

    /// What the file that it names for it has on its first line.
    pub(crate) fn pin(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.pin_file.as_ref()?).ok()?;
        Some(text.lines().next().unwrap_or_default().to_owned())
    }

    fn take(&mut self, name: &str, value: Vec<u8>) -> Result<(), String> {
        if name == "id" {
            self.id = Some(value);
            return Ok(());
        }
        let text = String::from_utf8(value).map_err(|_| format!("its `{name}` is not UTF-8"))?;
        match name {
            "token" => self.token = Some(text),
            "serial" => self.serial = Some(text),
            "manufacturer" => self.manufacturer = Some(text),
            "model" => self.model = Some(text),
            "object" => self.object = Some(text),
            "slot-id" => {
                let number = text.parse().map_err(|_| "its `slot-id` is no number".to_owned())?;
                self.slot = Some(number);
            }
            "module-path" => self.module = Some(text.into()),
            "pin-source" => {
                let path = text.strip_prefix("file:").unwrap_or(&text);
                self.pin_file = Some(path.strip_prefix("//").unwrap_or(path).into());
            }
            "type" if text == "private" => {}
            "type" => return Err("it is for something else than a private key".to_owned()),
            "pin-value" => {
                return Err("it has the PIN in it, which others can see: use pin-source, \
                            a file or a variable"
                    .to_owned());
            }
            // RFC 7512 has these for whom there are several of a kind, or of a vendor.
            _ if name.starts_with("x-") => {}
            _ => return Err(format!("`{name}` is not known")),
        }
        Ok(())
    }
}

/// `value` without percent signs.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = behind;
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2)?;
        bytes.extend(hex::decode(digits).ok()?);
        rest = behind;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_taken_as_the_standard_has_them() {
        let text = "pkcs11:token=My%20token;serial=12;object=a%3Bb;id=%01%ff;type=private\
                    ?module-path=/usr/lib/m.so&pin-source=file:/etc/pin";
        let expected = TokenUri {
            token: Some("My token".to_owned()),
            serial: Some("12".to_owned()),
            object: Some("a;b".to_owned()),
            id: Some(vec![1, 0xff]),
            module: Some("/usr/lib/m.so".into()),
            pin_file: Some("/etc/pin".into()),
            ..TokenUri::default()
        };
        assert_eq!(TokenUri::parse(text), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_told_without_its_value() {
        for (text, problem) in [
            ("pkcs11:object=a", "add ?module-path="),
            ("pkcs11:token=a?module-path=/m.so", "add object="),
            ("pkcs11:object=a?module-path=/m.so&pin-value=1234", "the PIN in it"),
            ("pkcs11:object=%4?module-path=/m.so", "wrong %"),
            ("pkcs11:object=a;type=cert?module-path=/m.so", "something else"),
            ("pkcs11:objekt=1234", "`objekt` is not known"),
        ] {
            let said = TokenUri::parse(text).unwrap_err();
            assert!(said.contains(problem) && !said.contains("1234"), "{said}");
        }
    }
}

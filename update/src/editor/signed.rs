//! Metadata files, looked into and held against the keys that count.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tough::schema::{self, Role, Signature, Signed, Targets};

use super::{
    OpenError,
    authority::Authority,
    listing::{Listing, object},
};
use crate::verify;

/// A metadata file whose signatures nobody has checked. What is signed was looked into once.
pub(super) struct Unchecked<'a, T> {
    path: &'a Utf8Path,
    /// What is signed, as it is written.
    text: &'a str,
    file: Signed<T>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    signed: &'a RawValue,
    signatures: Vec<Signature>,
}

impl<'a, T: Role + DeserializeOwned> Unchecked<'a, T> {
    /// What is in the file at `path`, `bytes`.
    pub(super) fn parse(path: &'a Utf8Path, bytes: &'a [u8]) -> Result<Self, OpenError> {
        tracing::debug!(%path, "metadata is looked into");
        let malformed = |source| OpenError::Malformed { path: path.to_owned(), source };
        let File { signed, signatures } = serde_json::from_slice(bytes).map_err(malformed)?;
        let text = signed.get();
        let signed = serde_json::from_str(text).map_err(malformed)?;
        Ok(Self { path, text, file: Signed { signed, signatures } })
    }

    /// The content, if enough keys of `authority` signed it, in the eyes of `judge` where it is not
    /// written as it was signed.
    pub(super) fn signed_by(
        self,
        authority: &Authority,
        judge: impl FnOnce(&Signed<T>) -> schema::Result<()>,
    ) -> Result<T, OpenError> {
        if self.is_signed_as_written(authority) {
            return Ok(self.file.signed);
        }
        match judge(&self.file) {
            Ok(()) => Ok(self.file.signed),
            Err(source) => {
                Err(OpenError::Unsigned { path: self.path.to_owned(), source: Box::new(source) })
            }
        }
    }

    /// Whether the signatures are good for the text without its blanks. Signed is the canonical form,
    /// which as JSON says what was signed; so a text that a signature is good for needs no canonical
    /// form made of it anew, which takes as long as all the rest.
    fn is_signed_as_written(&self, authority: &Authority) -> bool {
        are_good(&self.file.signatures, &without_blanks(self.text), authority)
    }
}

/// Whether enough of `signatures`, none of which is there twice, are good for `text`.
fn are_good(signatures: &[Signature], text: &[u8], authority: &Authority) -> bool {
    let is_twice =
        |it: &Signature| signatures.iter().filter(|other| other.keyid == it.keyid).count() > 1;
    if signatures.iter().any(is_twice) {
        return false;
    }
    let is_good = |it: &&Signature| {
        let key = authority.keys.get(&hex::encode(&it.keyid[..]));
        key.is_some_and(|key| verify::is_signature(key, text, &it.sig))
    };
    authority.threshold > 0
        && signatures.iter().filter(is_good).count() as u64 >= authority.threshold
}

/// A file of a role that lists targets, the fields of what is signed apart.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    signed: BTreeMap<&'a str, &'a RawValue>,
    signatures: Vec<Signature>,
}

/// What the role `targets` lists in the file at `path`, `bytes`, if enough keys of `authority` signed
/// it. What is written and signed as it is here is not looked into target by target.
pub(super) fn listing(
    path: &Utf8Path,
    bytes: &[u8],
    authority: &Authority,
    judge: impl FnOnce(&Signed<Targets>) -> schema::Result<()>,
) -> Result<Listing, OpenError> {
    if let Some(listing) = listing_as_written(bytes, authority) {
        tracing::debug!(%path, "metadata is looked into");
        return Ok(listing);
    }
    tracing::debug!(%path, "every target is looked into");
    Ok(Unchecked::<Targets>::parse(path, bytes)?.signed_by(authority, judge)?.into())
}

fn listing_as_written(bytes: &[u8], authority: &Authority) -> Option<Listing> {
    let Fields { signed, signatures } = serde_json::from_slice(bytes).ok()?;
    let listing = Listing::as_written(&signed)?;
    let text = object(signed.iter().map(|(name, field)| (*name, field.get())));
    are_good(&signatures, text.as_bytes(), authority).then_some(listing)
}

/// `text`, which is JSON, without what separates its parts for people.
fn without_blanks(text: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        if is_string {
            is_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            is_string = byte == b'"';
        }
        kept.push(byte);
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::without_blanks;

    fn any_json() -> impl Strategy<Value = Value> {
        let text = "[ \\\\\"\n\t,:{}a-z\u{e9}]{0,12}";
        let plain = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        plain.prop_recursive(3, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text, inner, 0..4)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn blanks_between_parts_go_and_those_in_texts_stay(value in any_json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(without_blanks(&pretty), value.to_string().into_bytes());
        }
    }
}

//! Entitlements: what a program may do that others may not. They are signed twice, as the property
//! list that people write and as DER, which macOS reads since version 12. Source: Apple's technical note
//! TN3125, and what codesign writes.

use der::{Any, Encode as _, Tag, TagNumber, asn1::Utf8StringRef};
use plist::Value;

/// Deepest list in a list.
const MAX_DEPTH: u32 = 16;

/// Why a text holds no entitlements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntitlementsError {
    #[error("it is no property list in XML with a dictionary")]
    NoDictionary,
    #[error("entitlements are texts, whole numbers, true or false, and lists of them")]
    Value,
}

/// Whether the property list `xml` holds entitlements.
pub fn check(xml: &[u8]) -> Result<(), EntitlementsError> {
    der(xml).map(drop)
}

/// The entitlements in the property list `xml`, in DER.
pub(super) fn der(xml: &[u8]) -> Result<Vec<u8>, EntitlementsError> {
    let value = Value::from_reader_xml(xml).map_err(|_| EntitlementsError::NoDictionary)?;
    if value.as_dictionary().is_none() {
        return Err(EntitlementsError::NoDictionary);
    }
    let version = Any::new(Tag::Integer, [1]).and_then(|it| it.to_der());
    let version = version.map_err(|_| EntitlementsError::Value)?;
    let content = [version, encode(&value, 0)?].concat();
    tagged(Tag::Application { constructed: true, number: TagNumber::new(16) }, content)
}

fn encode(value: &Value, depth: u32) -> Result<Vec<u8>, EntitlementsError> {
    let refused = |_| EntitlementsError::Value;
    if depth > MAX_DEPTH {
        return Err(EntitlementsError::Value);
    }
    match value {
        Value::Dictionary(all) => {
            let mut pairs: Vec<_> = all.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_bytes());
            let pairs = pairs.into_iter().map(|(key, value)| {
                let key = Utf8StringRef::new(key).and_then(|key| key.to_der()).map_err(refused)?;
                tagged(Tag::Sequence, [key, encode(value, depth + 1)?].concat())
            });
            let tag = Tag::ContextSpecific { constructed: true, number: TagNumber::new(16) };
            tagged(tag, pairs.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Array(all) => {
            let all = all.iter().map(|value| encode(value, depth + 1));
            tagged(Tag::Sequence, all.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Boolean(value) => value.to_der().map_err(refused),
        Value::Integer(value) => {
            let value = value.as_signed().ok_or(EntitlementsError::Value)?;
            value.to_der().map_err(refused)
        }
        Value::String(text) => {
            Utf8StringRef::new(text).and_then(|text| text.to_der()).map_err(refused)
        }
        Value::Data(_) | Value::Date(_) | Value::Real(_) | Value::Uid(_) | _ => {
            Err(EntitlementsError::Value)
        }
    }
}

fn tagged(tag: Tag, content: Vec<u8>) -> Result<Vec<u8>, EntitlementsError> {
    let value = Any::new(tag, content).and_then(|value| value.to_der());
    value.map_err(|_| EntitlementsError::Value)
}

//! What `pkcs11-tool` lists of tokens and their keys. Source: `pkcs11-tool.c` of OpenSC 0.20 to 0.27.

use std::collections::BTreeMap;

use super::{only_key, only_token};
use crate::commands::package::signing::uri::{TokenInfo, TokenUri};

/// A line that begins at the edge, and the fields below it.
type Block<'a> = (&'a str, BTreeMap<&'a str, &'a str>);

/// The slot of the only token that `uri` names, of what `--list-token-slots` prints, and whether one has
/// to sign in.
pub(super) fn slot(listing: &str, uri: &TokenUri) -> Result<(u64, bool), String> {
    let mut fitting = Vec::new();
    for (head, fields) in blocks(listing) {
        let Some(slot) = slot_id(head) else { continue };
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let flags = field("token flags");
        let token = TokenInfo {
            slot,
            label: field("token label"),
            serial: field("serial num"),
            manufacturer: field("token manufacturer"),
            model: field("token model"),
        };
        if flags.contains("token initialized") && uri.names(&token) {
            fitting.push((slot, flags.contains("login required")));
        }
    }
    only_token(fitting)
}

/// The id of the only private key that `uri` names, of what `--list-objects` prints. The tool signs with the
/// first key of an id, and before 0.27 looks at no label: so only an id that no other key has will do.
pub(super) fn key(listing: &str, uri: &TokenUri) -> Result<Vec<u8>, String> {
    let blocks = blocks(listing);
    let private = blocks.iter().filter(|(head, _)| head.starts_with("Private Key Object"));
    let keys: Vec<_> = private
        .map(|(_, fields)| (fields.get("label"), fields.get("ID").and_then(|text| id(text))))
        .collect();
    let fits = |(label, id): &&(Option<&&str>, Option<Vec<u8>>)| {
        let wanted = uri.object.as_deref();
        wanted.is_none_or(|wanted| label.is_some_and(|label| *label == wanted))
            && (uri.id.is_none() || uri.id == *id)
    };
    let (_, id) = only_key(keys.iter().filter(fits).collect())?;
    let id =
        id.as_ref().ok_or("the key in the token has no id, by which pkcs11-tool knows keys")?;
    if keys.iter().filter(|(_, other)| other.as_ref() == Some(id)).count() > 1 {
        let id = hex::encode(id);
        return Err(format!("several keys in the token have the id {id}: pkcs11-tool takes any"));
    }
    Ok(id.clone())
}

fn blocks(listing: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::<Block<'_>>::new();
    for line in listing.lines() {
        if !line.starts_with(' ') {
            blocks.push((line, BTreeMap::new()));
        } else if let (Some((_, fields)), Some((name, value))) =
            (blocks.last_mut(), line.split_once(':'))
        {
            fields.insert(name.trim(), value.trim());
        }
    }
    blocks
}

/// Of `Slot 0 (0x2d2a1ab8): SoftHSM slot ID 0x2d2a1ab8`.
fn slot_id(head: &str) -> Option<u64> {
    let (_, behind) = head.strip_prefix("Slot ")?.split_once("(0x")?;
    u64::from_str_radix(behind.split_once(')')?.0, 16).ok()
}

/// Of `0a0b`, or, since 0.27, `0a:0b:…` and, as short as this, `2571 (0x0a:0b)`.
fn id(text: &str) -> Option<Vec<u8>> {
    let digits = text.split_once("(0x").map_or(text, |(_, behind)| behind);
    hex::decode(digits.trim_end_matches(')').replace(':', "")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: &str = "\
Available slots:
Slot 0 (0x2d2a1ab8): SoftHSM slot ID 0x2d2a1ab8
  token label        : Office
  token manufacturer : SoftHSM project
  token model        : SoftHSM v2
  token flags        : login required, rng, token initialized, PIN initialized, other flags=0x20
  hardware version   : 2.6
  firmware version   : 2.6
  serial num         : 6bf0ea2aad2a1ab8
  pin min/max        : 4/255
Slot 1 (0x1f): Reader: the second
  token label        : Office 2
  token manufacturer : Example
  token model        : v1
  token flags        : rng, token initialized
  serial num         : 12
Slot 2 (0x2): SoftHSM slot ID 0x2
  token state:   uninitialized
";

    const KEYS: &str = "\
Private Key Object; RSA
  label:      code
  ID:         01
  Usage:      decrypt, sign, unwrap
  Access:     sensitive
Private Key Object; EC
  label:      twin
  ID:         2571 (0x0a:0b)
  Usage:      sign
Private Key Object; EC
  label:      twin
  ID:         01:02:03:04:05
Private Key Object; EC
  label:      one
  ID:         0c
Private Key Object; EC
  label:      same
  ID:         0c
Private Key Object; EC
  label:      bare
Public Key Object; EC  EC_POINT 256 bits
  label:      public
  ID:         07
";

    fn uri(text: &str) -> TokenUri {
        TokenUri::parse(&format!("pkcs11:{text}?module-path=/m.so")).unwrap()
    }

    #[test]
    fn the_token_is_the_only_one_that_is_named_so() {
        let found = |text: &str| slot(SLOTS, &uri(&format!("object=code;{text}")));
        assert_eq!(found("token=Office"), Ok((0x2d2a_1ab8, true)));
        assert_eq!(found("serial=12;manufacturer=Example;model=v1"), Ok((0x1f, false)));
        assert_eq!(found("slot-id=31"), Ok((0x1f, false)));
        for (text, problem) in [
            ("token=Off", "no such token"),
            ("slot-id=2", "no such token"),
            ("", "several such tokens"),
        ] {
            let said = found(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn the_key_is_the_only_one_of_its_name_and_of_its_id() {
        let found = |text: &str| key(KEYS, &uri(text));
        assert_eq!(found("object=code"), Ok(vec![1]));
        assert_eq!(found("id=%0a%0b"), Ok(vec![10, 11]));
        assert_eq!(found("object=twin;id=%01%02%03%04%05"), Ok(vec![1, 2, 3, 4, 5]));
        for (text, problem) in [
            ("object=twin", "several such keys in the token: add id="),
            ("object=one", "several keys in the token have the id 0c"),
            ("object=bare", "has no id"),
            ("object=public", "no such key"),
            ("object=code;id=%02", "no such key"),
        ] {
            let said = found(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }
}

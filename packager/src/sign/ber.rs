//! Messages in BER, as Apple's tools write them, made DER. Source: ITU-T X.690, 8.1 and 10.
//!
//! What is unlike in DER are lengths that are not told, and strings in parts. The order of sets is left as it
//! is: attributes are signed in DER's.

/// Deepest element that is read; messages have about ten levels.
const MAX_DEPTH: u32 = 32;
const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 4;
const INDEFINITE: u8 = 0x80;
const END: &[u8] = &[0, 0];

/// The first element in `ber`, in DER. None: it is damaged.
pub(super) fn to_der(ber: &[u8]) -> Option<Vec<u8>> {
    element(ber, 0).map(|(der, _)| der)
}

/// The first element, and what is behind it.
fn element(ber: &[u8], depth: u32) -> Option<(Vec<u8>, &[u8])> {
    let (&tag, rest) = ber.split_first().filter(|_| depth < MAX_DEPTH)?;
    // Tags of several bytes are in no message.
    (tag & 0x1f != 0x1f).then_some(())?;
    let (&first, rest) = rest.split_first()?;
    let is_constructed = tag & CONSTRUCTED != 0;
    if first == INDEFINITE {
        let (mut rest, mut content) = (is_constructed.then_some(rest)?, Vec::new());
        while !rest.starts_with(END) {
            let (inner, behind) = element(rest, depth + 1)?;
            content.push(inner);
            rest = behind;
        }
        return Some((joined(tag, &content)?, &rest[END.len()..]));
    }
    let (length, rest) = length(first, rest)?;
    let (mut inside, behind) = rest.split_at_checked(length)?;
    if !is_constructed {
        return Some((tagged(tag, inside), behind));
    }
    let mut content = Vec::new();
    while !inside.is_empty() {
        let (inner, rest) = element(inside, depth + 1)?;
        content.push(inner);
        inside = rest;
    }
    Some((joined(tag, &content)?, behind))
}

fn length(first: u8, rest: &[u8]) -> Option<(usize, &[u8])> {
    if first & INDEFINITE == 0 {
        return Some((first.into(), rest));
    }
    let (bytes, rest) = rest.split_at_checked(usize::from(first & !INDEFINITE))?;
    (bytes.len() <= 4).then_some(())?;
    let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Some((length, rest))
}

/// The element with the elements `content`, the parts of a string as one.
fn joined(tag: u8, content: &[Vec<u8>]) -> Option<Vec<u8>> {
    if tag != OCTET_STRING | CONSTRUCTED {
        return Some(tagged(tag, &content.concat()));
    }
    let mut whole = Vec::new();
    for part in content {
        let (&first, rest) = part.strip_prefix(&[OCTET_STRING])?.split_first()?;
        whole.extend(length(first, rest)?.1);
    }
    Some(tagged(OCTET_STRING, &whole))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    if length < usize::from(INDEFINITE) {
        element.push(length as u8);
    } else {
        let bytes: Vec<_> = length.to_be_bytes().into_iter().skip_while(|it| *it == 0).collect();
        element.push(INDEFINITE | bytes.len() as u8);
        element.extend(bytes);
    }
    element.extend(content);
    element
}

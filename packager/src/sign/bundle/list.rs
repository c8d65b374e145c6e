//! Property lists of others, as deep as bundles have them: the `plist` crate frees a list in a list in a
//! list by calling itself.

use std::io::Cursor;

use plist::{Dictionary, Value};
use quick_xml::{Reader, events::Event};

/// How deep lists are, at most.
const MAX_DEPTH: usize = 32;
/// Longest binary list, in bytes, of which the depth is not known beforehand. Descriptions of bundles have
/// some thousands.
const MAX_BINARY: usize = 16 << 10;

/// The dictionary that the property list `bytes` is, in XML or binary. None: it is something else, or too deep.
pub(super) fn dictionary(bytes: &[u8]) -> Option<Dictionary> {
    let value = if bytes.starts_with(b"bplist") {
        (bytes.len() <= MAX_BINARY).then_some(())?;
        Value::from_reader(Cursor::new(bytes))
    } else {
        is_shallow(bytes).then_some(())?;
        Value::from_reader_xml(bytes)
    };
    value.ok()?.into_dictionary()
}

fn is_shallow(xml: &[u8]) -> bool {
    let mut reader = Reader::from_reader(xml);
    let (mut depth, mut buffer) = (0_usize, Vec::new());
    loop {
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(_)) => depth += 1,
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
        if depth > MAX_DEPTH {
            return false;
        }
        buffer.clear();
    }
}

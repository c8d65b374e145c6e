//! Lists of objects, as `ListObjectsV2` gives them. Read by the elements' own names: services do not
//! agree on the namespace.

use anyhow::{Context as _, ensure};
use quick_xml::{Reader, events::Event};

/// A part of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Keys of objects, and their lengths in bytes.
    pub(super) objects: Vec<(String, u64)>,
    /// What to ask for the rest with.
    pub(super) next: Option<String>,
}

/// Reads an answer.
pub(super) fn read(answer: &[u8]) -> anyhow::Result<Page> {
    let answer = std::str::from_utf8(answer).context("the list is no text")?;
    let mut reader = Reader::from_str(answer);
    let (mut page, mut path, mut text) = (Page::default(), Vec::new(), String::new());
    let mut key = None;
    loop {
        match reader.read_event().context("the list is not XML")? {
            Event::Start(element) => {
                path.push(element.local_name().as_ref().to_owned());
                ensure!(path[0] == "ListBucketResult", "the answer is no list");
                text.clear();
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(part) => text.push_str(&resolved(&part)?),
            Event::End(_) => {
                match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    [_, "Contents", "Key"] => key = Some(text.clone()),
                    [_, "Contents", "Size"] => {
                        let length = text.trim().parse().context("an object has no length")?;
                        let key = key.take().context("an object has no key")?;
                        page.objects.push((key, length));
                    }
                    [_, "NextContinuationToken"] => page.next = Some(text.trim().to_owned()),
                    _ => {}
                }
                path.pop();
                text.clear();
            }
            Event::Eof => {
                ensure!(path.is_empty(), "the list is cut short");
                return Ok(page);
            }
            Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}

/// The character that a reference stands for.
fn resolved(part: &quick_xml::events::BytesRef<'_>) -> anyhow::Result<String> {
    if let Some(character) = part.resolve_char_ref().context("the list is not XML")? {
        return Ok(character.to_string());
    }
    let known = quick_xml::escape::resolve_xml_entity(part);
    Ok(known.with_context(|| format!("the list has `&{};`", &**part))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_lengths_are_read_whatever_the_namespace() {
        for namespace in ["s3.amazonaws.com/doc", "doc.s3.amazonaws.com"] {
            let text = format!(
                r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://{namespace}/2006-03-01/"><Name>updates</Name><IsTruncated>true</IsTruncated>
<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>
<Contents><Key>a&amp;b&#33;.json</Key><ETag>&quot;599&quot;</ETag><Size>434234</Size></Contents>
<Contents><Key>targets/x</Key><Size>0</Size></Contents></ListBucketResult>"#
            );
            let page = read(text.as_bytes()).unwrap();
            let objects = [("a&b!.json".to_owned(), 434_234), ("targets/x".to_owned(), 0)];
            assert_eq!(page.objects, objects);
            assert_eq!(page.next.unwrap(), "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=");
        }
        assert_eq!(read(b"<ListBucketResult/>").unwrap(), Page::default());
        for bad in ["<html></html>", "<ListBucketResult>", "<ListBucketResult><Contents><Size>1"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

//! Documents as trees of elements, as deep and as many as packages have.

use quick_xml::{
    Reader,
    escape::unescape,
    events::{BytesStart, Event},
};

use super::error::ReadError;

/// How deep elements are, at most.
const MAX_DEPTH: u64 = 64;
/// How many there are, at most.
const MAX_ELEMENTS: u64 = 1 << 19;

/// An element with what is in it.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    /// Everything between its elements, without the blanks around it.
    pub(super) text: String,
    pub(super) children: Vec<Self>,
}

impl Element {
    /// The root of a document.
    pub(super) fn parse(bytes: &[u8], part: &'static str) -> Result<Self, ReadError> {
        let wrong = |reason: String| ReadError::Damaged { part, reason };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        let mut count = 0;
        loop {
            match reader.read_event().map_err(|error| wrong(error.to_string()))? {
                Event::Start(start) => open.push(Self::begin(&start)),
                Event::Empty(start) => {
                    open.push(Self::begin(&start));
                    Self::end(&mut open);
                }
                Event::End(_) => Self::end(&mut open),
                Event::Text(text) => Self::append(&mut open, &text),
                Event::CData(text) => {
                    let escaped = text.escape().map_err(|error| wrong(error.to_string()))?;
                    Self::append(&mut open, &escaped);
                }
                Event::GeneralRef(name) => Self::append(&mut open, &format!("&{};", &*name)),
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
            count += 1;
            if open.len() as u64 > MAX_DEPTH {
                return Err(ReadError::TooBig { part, limit: MAX_DEPTH, unit: "levels" });
            }
            if count > 4 * MAX_ELEMENTS {
                return Err(ReadError::TooBig { part, limit: MAX_ELEMENTS, unit: "elements" });
            }
        }
        if open.len() != 1 {
            return Err(ReadError::Truncated { part });
        }
        let root = open.pop().and_then(|document| document.children.into_iter().next());
        root.ok_or_else(|| wrong("there is nothing in it".to_owned()))
    }

    fn begin(start: &BytesStart<'_>) -> Self {
        let mut attributes = start.attributes();
        let attributes = attributes.with_checks(false).flatten().map(|it| {
            let value = unescape(&it.value).unwrap_or_default().into_owned();
            (it.key.as_ref().to_owned(), value)
        });
        Self {
            name: start.name().as_ref().to_owned(),
            attributes: attributes.collect(),
            ..Self::default()
        }
    }

    /// Closes the innermost element. One without a beginning closes nothing.
    fn end(open: &mut Vec<Self>) {
        if open.len() > 1
            && let Some(mut element) = open.pop()
            && let Some(outer) = open.last_mut()
        {
            element.text = unescape(&element.text).unwrap_or_default().trim().to_owned();
            outer.children.push(element);
        }
    }

    fn append(open: &mut [Self], text: &str) {
        if let Some(element) = open.last_mut() {
            element.text.push_str(text);
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the child called `name`; empty if there is none.
    pub(super) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }
}

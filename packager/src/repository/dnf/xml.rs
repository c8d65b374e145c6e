//! XML as the index has it: elements in a line each, everything escaped.

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

/// A document being written.
pub(super) struct Xml(Writer<Vec<u8>>);

type Attributes<'a> = [(&'a str, &'a str)];

impl Xml {
    /// Its root is `name`.
    pub(super) fn document(name: &str, attributes: &Attributes<'_>) -> Self {
        let mut xml = Self(Writer::new_with_indent(Vec::new(), b' ', 1));
        xml.write(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        xml.open(name, attributes);
        xml
    }

    pub(super) fn open(&mut self, name: &str, attributes: &Attributes<'_>) {
        self.write(Event::Start(start(name, attributes)));
    }

    pub(super) fn close(&mut self, name: &str) {
        self.write(Event::End(BytesEnd::new(name)));
    }

    pub(super) fn empty(&mut self, name: &str, attributes: &Attributes<'_>) {
        self.write(Event::Empty(start(name, attributes)));
    }

    /// An element with `text` in it, of which only characters that XML has stay.
    pub(super) fn text(&mut self, name: &str, attributes: &Attributes<'_>, text: &str) {
        self.open(name, attributes);
        self.write(Event::Text(BytesText::new(&allowed(text))));
        self.close(name);
    }

    /// Closes the root, `name`.
    pub(super) fn finish(mut self, name: &str) -> Vec<u8> {
        self.close(name);
        let mut bytes = self.0.into_inner();
        bytes.push(b'\n');
        bytes
    }

    fn write(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("writing to memory does not fail");
    }
}

fn start<'a>(name: &'a str, attributes: &Attributes<'_>) -> BytesStart<'a> {
    let mut start = BytesStart::new(name);
    for (key, value) in attributes {
        start.push_attribute((*key, allowed(value).as_str()));
    }
    start
}

/// Source: XML 1.0, production 2.
fn allowed(text: &str) -> String {
    let fits = |letter: &char| !letter.is_control() || matches!(letter, '\t' | '\n' | '\r');
    text.chars().filter(fits).filter(|letter| !matches!(letter, '\u{fffe}' | '\u{ffff}')).collect()
}

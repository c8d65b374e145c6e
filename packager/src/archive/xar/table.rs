//! The table: XML, squeezed to an exact length.

use std::{io, time::Duration};

use flate2::{Compress, Compression, FlushCompress};
use jiff::Timestamp;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesStart, BytesText, Event},
};

use super::{CHECKSUM, Folder, Member, Node};

const MODE_OF_FOLDERS: &str = "0755";
const MODE_OF_FILES: &str = "0644";

/// The table's text, without its last line, [`CLOSING`].
pub(super) fn render(root: &Folder, date: u32) -> io::Result<Vec<u8>> {
    let mut table = Table { xml: Writer::new_with_indent(Vec::new(), b' ', 1), ids: 0 };
    table.xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    // Opened by hand: the end comes after blanks that fill up the room.
    table.xml.write_event(Event::Start(BytesStart::new("xar")))?;
    table.within("toc", |table| {
        table.text("creation-time", &time(date))?;
        table.start("checksum", ("style", "sha1"), |table| {
            table.text("offset", "0")?;
            table.text("size", &CHECKSUM.to_string())
        })?;
        table.folder(root)
    })?;
    Ok(table.xml.into_inner())
}

pub(super) const CLOSING: &[u8] = b"\n</xar>\n";

fn time(date: u32) -> String {
    let at = Timestamp::UNIX_EPOCH + Duration::from_secs(u64::from(date));
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

struct Table {
    xml: Writer<Vec<u8>>,
    /// Given out so far.
    ids: u32,
}

impl Table {
    fn folder(&mut self, folder: &Folder) -> io::Result<()> {
        folder.iter().try_for_each(|(name, node)| self.node(name, node))
    }

    fn node(&mut self, name: &str, node: &Node) -> io::Result<()> {
        self.ids += 1;
        let id = self.ids.to_string();
        self.start("file", ("id", &id), |table| match node {
            Node::Folder(inner) => {
                table.about(name, "directory", MODE_OF_FOLDERS)?;
                table.folder(inner)
            }
            Node::Member(member) => {
                table.about(name, "file", MODE_OF_FILES)?;
                table.within("data", |table| table.place(member))
            }
        })
    }

    fn about(&mut self, name: &str, kind: &str, mode: &str) -> io::Result<()> {
        self.text("name", name)?;
        self.text("type", kind)?;
        self.text("mode", mode)?;
        self.text("uid", "0")?;
        self.text("gid", "0")
    }

    /// Members are stored as they are, so both lengths and both checksums are the same.
    fn place(&mut self, member: &Member) -> io::Result<()> {
        let Member { offset, size, sha1 } = member;
        self.text("length", &size.to_string())?;
        self.text("offset", &offset.to_string())?;
        self.text("size", &size.to_string())?;
        let encoding = BytesStart::new("encoding");
        let encoding = encoding.with_attributes([("style", "application/octet-stream")]);
        self.xml.write_event(Event::Empty(encoding))?;
        for name in ["extracted-checksum", "archived-checksum"] {
            let element = self.xml.create_element(name).with_attribute(("style", "sha1"));
            element.write_text_content(BytesText::new(sha1))?;
        }
        Ok(())
    }

    fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.xml.create_element(name).write_text_content(BytesText::new(text)).map(drop)
    }

    fn within(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.element(BytesStart::new(name), body)
    }

    fn start(
        &mut self,
        name: &str,
        attribute: (&str, &str),
        body: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.element(BytesStart::new(name).with_attributes([attribute]), body)
    }

    fn element(
        &mut self,
        start: BytesStart<'_>,
        body: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let end = start.to_end().into_owned();
        self.xml.write_event(Event::Start(start))?;
        body(self)?;
        self.xml.write_event(Event::End(end))
    }
}

/// Deflate, a window of 32 KiB, squeezed as hard as can be. Source: RFC 1950.
const ZLIB: [u8; 2] = [0x78, 0xda];
/// The last block, stored: this byte, its length, and the length inverted. Source: RFC 1951.
const LAST_STORED: u8 = 1;
const STORED_HEAD: usize = 5;
const ADLER: usize = 4;

/// Squeezes `text` and [`CLOSING`] to exactly `room` bytes; also gives the length before. Blanks
/// between the two fill up, in a block that is stored as it is.
pub(super) fn pack(text: &[u8], room: u32) -> io::Result<(Vec<u8>, u64)> {
    let room = usize::try_from(room).map_err(io::Error::other)?;
    let mut table = ZLIB.to_vec();
    table.reserve(room);
    // Room for a text that cannot be squeezed, so that one call is enough.
    let mut squeezed = Vec::with_capacity(2 * text.len() + 1024);
    Compress::new(Compression::best(), false)
        .compress_vec(text, &mut squeezed, FlushCompress::Sync)
        .map_err(io::Error::other)?;
    table.extend(squeezed);
    let filled = (table.len() + STORED_HEAD + ADLER).checked_add(CLOSING.len());
    let blanks = filled.and_then(|filled| room.checked_sub(filled)).ok_or_else(too_long)?;
    let rest = [vec![b' '; blanks].as_slice(), CLOSING].concat();
    let length = u16::try_from(rest.len()).map_err(|_| too_long())?;
    table.push(LAST_STORED);
    table.extend(length.to_le_bytes());
    table.extend((!length).to_le_bytes());
    table.extend(&rest);
    let mut adler = adler2::Adler32::new();
    adler.write_slice(text);
    adler.write_slice(&rest);
    table.extend(adler.checksum().to_be_bytes());
    Ok((table, (text.len() + rest.len()) as u64))
}

fn too_long() -> io::Error {
    io::Error::other("a xar archive's table does not fit into the room that was kept for it")
}

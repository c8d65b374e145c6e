//! The programs for macOS in a pkg, and what their signatures are worth.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write as _},
};

use camino::Utf8Path;

use super::{
    payload::{self, PART},
    table::Table,
};
use crate::{
    read::{
        ReadSeek,
        cpio::{Cpio, Item},
        decode::{TEXT, UNPACKED, all, decoder, exactly, peek},
        error::ReadError,
        files::{Found, FoundKind, absolute},
        xml::Element,
    },
    sign::{
        Trust,
        bundle::{self, Judged},
        macho,
    },
    tree::{Entry, LinkTarget, Node, Role, Source},
};

/// Longest target of a symlink.
const MAX_TARGET: u64 = 64 << 10;

/// Checks the signatures of all programs and bundles that the pkg in `file` lays; paths are those on the
/// device. `scratch`, a file that is made or replaced, gets the programs.
pub fn check_code(
    file: &mut dyn ReadSeek,
    scratch: &Utf8Path,
    trust: &Trust,
) -> Result<Vec<Judged>, ReadError> {
    let table = Table::read(file)?;
    let mut code = Code::new(scratch).map_err(ReadError::Read)?;
    for (path, member) in &table.members {
        let Some(component) = path.strip_suffix("PackageInfo") else { continue };
        let info = all(&mut member.open(file)?, super::DOCUMENT, TEXT)?;
        let info = Element::parse(&info, super::DOCUMENT)?;
        let location = absolute(info.attribute("install-location").unwrap_or("/"));
        if let Some(member) = table.members.get(&format!("{component}Payload")) {
            code.payload(&mut member.open(file)?, location.trim_end_matches('/'))?;
        }
    }
    Ok(code.check(trust))
}

struct Code<'a> {
    scratch: &'a Utf8Path,
    out: File,
    written: u64,
    /// Bundles by their folders; what is in them, by paths below.
    bundles: BTreeMap<String, BTreeMap<String, Entry>>,
    programs: BTreeMap<String, Source>,
}

impl<'a> Code<'a> {
    fn new(scratch: &'a Utf8Path) -> io::Result<Self> {
        let out = File::create(scratch)?;
        Ok(Self { scratch, out, written: 0, bundles: BTreeMap::new(), programs: BTreeMap::new() })
    }

    fn payload(&mut self, from: &mut dyn Read, location: &str) -> Result<(), ReadError> {
        let mut cpio = Cpio::new(decoder(payload::unchunked(from)?, PART, UNPACKED)?);
        while let Some(item) = cpio.next()? {
            let Item::Named { path, found } = item else {
                return Err(ReadError::damaged(PART, "an entry has no name"));
            };
            let path = absolute(&format!("{location}{}", absolute(&path)));
            self.take(&path, &found, cpio.from())?;
            cpio.end(found.size)?;
        }
        Ok(())
    }

    fn take(&mut self, path: &str, found: &Found, from: &mut dyn Read) -> Result<(), ReadError> {
        // What comes later with the same path is what is laid.
        self.programs.remove(path);
        let bundle = path.find(".app/").map(|at| path.split_at(at + ".app".len()));
        let entry = match found.kind {
            FoundKind::Dir | FoundKind::Special => Entry::dir(),
            FoundKind::Symlink => {
                let target = exactly(from, PART, found.size, MAX_TARGET)?;
                Entry::symlink(LinkTarget::bundled(String::from_utf8_lossy(&target)))
            }
            FoundKind::File => {
                let (start, mut content) =
                    peek(from.take(found.size)).map_err(ReadError::at(PART))?;
                if bundle.is_none() && !macho::may_be(&start) {
                    io::copy(&mut content, &mut io::sink()).map_err(ReadError::at(PART))?;
                    return Ok(());
                }
                Entry::file(self.keep(&mut content, found.size)?, Role::Data)
            }
        };
        match (bundle, entry.node) {
            (Some((folder, inside)), node) => {
                let entries = self.bundles.entry(folder.to_owned()).or_default();
                let entry = Entry { node, ..Entry::dir() };
                entries.insert(inside.trim_start_matches('/').to_owned(), entry);
            }
            (None, Node::File { source, .. }) => {
                self.programs.insert(path.to_owned(), source);
            }
            (None, Node::Dir | Node::Symlink { .. }) => {}
        }
        Ok(())
    }

    fn keep(&mut self, from: &mut dyn Read, size: u64) -> Result<Source, ReadError> {
        let at = ReadError::at(PART);
        if io::copy(from, &mut self.out).map_err(at)? != size {
            return Err(ReadError::Truncated { part: PART });
        }
        let offset = self.written;
        self.written += size;
        Ok(Source::Slice { path: self.scratch.to_owned(), offset, size })
    }

    fn check(mut self, trust: &Trust) -> Vec<Judged> {
        // What is not flushed is told by its digests.
        let _ = self.out.flush();
        let mut judged = Vec::new();
        for (path, source) in self.programs {
            let found = bundle::verify_program(&source, trust);
            judged.push(Judged { path, found });
        }
        for (folder, entries) in self.bundles {
            let found = bundle::verify(&bundle::with_folders(entries), trust).into_iter();
            judged.extend(found.map(|it| Judged { path: format!("{folder}/{}", it.path), ..it }));
        }
        judged
    }
}

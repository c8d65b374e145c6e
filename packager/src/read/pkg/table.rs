//! The table of a xar archive. Source: the format's page on mackyle/xar's wiki.

use std::{
    collections::BTreeMap,
    io::{self, Read, SeekFrom, Take},
};

use flate2::read::ZlibDecoder;
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512, digest::DynDigest};

use crate::read::{
    Check, Outcome, ReadSeek,
    decode::{TEXT, UNPACKED, Watched, all, decoder, exactly},
    error::ReadError,
    xml::Element,
};

const PART: &str = "table";
const HEADER: u64 = 28;
/// The most members.
const MAX_MEMBERS: usize = 1 << 16;

/// What is in a xar archive, and where.
pub(super) struct Table {
    pub(super) members: BTreeMap<String, Member>,
    /// Place, scheme and size of each signature.
    pub(super) signatures: Vec<(String, &'static str, u64)>,
    /// Where the heap begins, to which offsets count.
    heap: u64,
    squeezed: Vec<u8>,
    /// Algorithm and place of the table's own checksum.
    checksum: (String, u64, u64),
}

/// A file of the archive.
#[derive(Clone)]
pub(super) struct Member {
    /// In the file.
    at: u64,
    /// There, in bytes.
    length: u64,
    style: String,
    /// Algorithm and digest of what is there.
    archived: (String, String),
}

impl Table {
    pub(super) fn read(file: &mut dyn ReadSeek) -> Result<Self, ReadError> {
        let header = exactly(file, PART, HEADER, HEADER)?;
        let number = |range: std::ops::Range<usize>| {
            header[range].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        let (start, length) = (number(4..6), number(8..16));
        file.seek(SeekFrom::Start(start)).map_err(ReadError::Read)?;
        let squeezed = exactly(file, PART, length, TEXT)?;
        let text = all(&mut ZlibDecoder::new(&squeezed[..]), PART, TEXT)?;
        let root = Element::parse(&text, PART)?;
        let toc = root.child("toc").ok_or_else(|| ReadError::damaged(PART, "it lists nothing"))?;
        let checksum = toc.child("checksum");
        let checksum = checksum.map_or_else(Default::default, |it| {
            let style = it.attribute("style").unwrap_or_default().to_lowercase();
            (style, whole(it, "offset"), whole(it, "size"))
        });
        let heap = start + length;
        let mut table = Self {
            members: BTreeMap::new(),
            signatures: toc.children.iter().filter_map(signature).collect(),
            heap,
            squeezed,
            checksum,
        };
        table.folder(toc, "")?;
        table.check_lengths()?;
        Ok(table)
    }

    /// Members may have the same place, so that a short file could be long to read.
    fn check_lengths(&self) -> Result<(), ReadError> {
        let lengths = self.members.values().map(|member| member.length);
        if lengths.fold(0, u64::saturating_add) > UNPACKED {
            return Err(ReadError::TooBig {
                part: PART,
                limit: UNPACKED,
                unit: "bytes of members",
            });
        }
        Ok(())
    }

    fn folder(&mut self, element: &Element, prefix: &str) -> Result<(), ReadError> {
        for file in element.all("file") {
            let path = format!("{prefix}{}", file.text_of("name"));
            if self.members.len() >= MAX_MEMBERS {
                let limit = MAX_MEMBERS as u64;
                return Err(ReadError::TooBig { part: PART, limit, unit: "members" });
            }
            if let Some(data) = file.child("data") {
                let member = member(data, self.heap)?;
                if self.members.insert(path.clone(), member).is_some() {
                    return Err(ReadError::damaged(PART, format!("`{path}` is there twice")));
                }
            }
            self.folder(file, &format!("{path}/"))?;
        }
        Ok(())
    }

    /// Compares the checksums of the table and of every member.
    pub(super) fn check(&self, file: &mut dyn ReadSeek) -> Result<Vec<Check>, ReadError> {
        const WHAT: &str = "checksum of the table";
        let (style, offset, size) = &self.checksum;
        let place = Member {
            at: self.heap.saturating_add(*offset),
            length: *size,
            style: String::new(),
            archived: Default::default(),
        };
        let table = match hasher(style) {
            Some(mut hasher) => {
                hasher.update(&self.squeezed);
                let recorded = exactly(&mut place.raw(file)?, PART, *size, 64)?;
                Check::same(WHAT, &hex::encode(recorded), &hex::encode(hasher.finalize()))
            }
            None => Check::new(WHAT, Outcome::Unchecked(format!("its kind is `{style}`"))),
        };
        let mut wrong = Vec::new();
        for (path, member) in &self.members {
            if let Some(reason) = member.check(file)? {
                wrong.push(format!("`{path}` {reason}"));
            }
        }
        Ok(vec![table, Check::of_many("checksums of members", &wrong)])
    }
}

fn signature(element: &Element) -> Option<(String, &'static str, u64)> {
    let scheme = match (element.name.as_str(), element.attribute("style")) {
        ("signature" | "x-signature", Some("CMS")) => "cms",
        ("signature" | "x-signature", _) => "rsa",
        _ => return None,
    };
    Some((element.name.clone(), scheme, whole(element, "size")))
}

fn member(data: &Element, heap: u64) -> Result<Member, ReadError> {
    let encoding = data.child("encoding").and_then(|it| it.attribute("style"));
    let archived = data.child("archived-checksum").map_or_else(Default::default, |it| {
        (it.attribute("style").unwrap_or_default().to_lowercase(), it.text.clone())
    });
    let at = heap.checked_add(whole(data, "offset"));
    let at = at.ok_or_else(|| ReadError::damaged(PART, "a member is beyond every file"))?;
    Ok(Member {
        at,
        length: whole(data, "length"),
        style: encoding.unwrap_or_default().to_owned(),
        archived,
    })
}

/// The number in the child called `name`; 0 if there is none.
fn whole(element: &Element, name: &str) -> u64 {
    element.text_of(name).parse().unwrap_or_default()
}

impl Member {
    /// What is in the file.
    fn raw<'a>(&self, file: &'a mut dyn ReadSeek) -> Result<Take<&'a mut dyn ReadSeek>, ReadError> {
        file.seek(SeekFrom::Start(self.at)).map_err(ReadError::at(PART))?;
        Ok(file.take(self.length))
    }

    /// The member's text.
    pub(super) fn open<'a>(
        &self,
        file: &'a mut dyn ReadSeek,
    ) -> Result<Box<dyn Read + 'a>, ReadError> {
        let raw = self.raw(file)?;
        match self.style.as_str() {
            // Of zlib, in spite of its name.
            "application/x-gzip" => Ok(Box::new(ZlibDecoder::new(raw))),
            "application/x-xz" | "application/x-lzma" => decoder(raw, "member", UNPACKED),
            "" | "application/octet-stream" => Ok(Box::new(raw)),
            other => {
                Err(ReadError::Unsupported { part: "member", what: format!("encoded as {other}") })
            }
        }
    }

    /// What is wrong with the member, if anything.
    fn check(&self, file: &mut dyn ReadSeek) -> Result<Option<String>, ReadError> {
        let (style, recorded) = &self.archived;
        let Some(mut hasher) = hasher(style) else {
            return Ok(Some(format!("has a checksum of the unknown kind `{style}`")));
        };
        let mut raw = self.raw(file)?;
        let mut hash = Watched { from: &mut raw, seen: &mut |bytes| hasher.update(bytes) };
        let length = io::copy(&mut hash, &mut io::sink()).map_err(ReadError::at(PART))?;
        if length < self.length {
            return Ok(Some("ends beyond the file".to_owned()));
        }
        let same = recorded.eq_ignore_ascii_case(&hex::encode(hasher.finalize()));
        Ok((!same).then(|| "has another checksum".to_owned()))
    }
}

fn hasher(style: &str) -> Option<Box<dyn DynDigest>> {
    Some(match style {
        "sha1" => Box::<Sha1>::default(),
        "sha256" | "sha-256" => Box::<Sha256>::default(),
        "sha512" | "sha-512" => Box::<Sha512>::default(),
        "md5" => Box::<Md5>::default(),
        _ => return None,
    })
}

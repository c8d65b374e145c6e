//! An rpm's archive, compared with what its header says of it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512, digest::DynDigest};

use super::{
    header::Header,
    listed::{File, Listed},
};
use crate::read::{
    Check, Outcome,
    cpio::{Cpio, Item},
    decode::{UNPACKED, Watched, decoder, exactly, skip},
    error::ReadError,
    files::{Files, FoundKind, absolute},
};

const PART: &str = "archive of files";
/// The longest target of a symlink, in bytes.
const MAX_TARGET: u64 = 64 << 10;

/// What was learnt of the archive.
pub(super) struct Archive {
    pub(super) checks: Vec<Check>,
    /// Its length in the file, in bytes.
    pub(super) squeezed: u64,
}

impl Archive {
    /// Reads the archive that `from` is until its end, and adds what is `listed` to `files`.
    pub(super) fn read(
        from: impl Read,
        header: &Header,
        listed: &Listed,
        files: &mut Files,
    ) -> Result<Self, ReadError> {
        let (mut squeezed, mut length) = (Sha256::new(), 0);
        let mut plain = Sha256::new();
        let mut reading = Reading::new(listed, files);
        {
            let mut count = |bytes: &[u8]| {
                Digest::update(&mut squeezed, bytes);
                length += bytes.len() as u64;
            };
            let mut from = Watched { from, seen: &mut count };
            {
                let text = decoder(&mut from, PART, UNPACKED)?;
                let mut hash = |bytes: &[u8]| Digest::update(&mut plain, bytes);
                let mut text = Watched { from: text, seen: &mut hash };
                reading.entries(&mut text)?;
                io::copy(&mut text, &mut io::sink()).map_err(ReadError::at(PART))?;
            }
            io::copy(&mut from, &mut io::sink()).map_err(ReadError::at(PART))?;
        }
        let mut checks =
            digests(header, [hex::encode(squeezed.finalize()), hex::encode(plain.finalize())])?;
        checks.extend(reading.checks()?);
        Ok(Self { checks, squeezed: length })
    }
}

/// The digests of the archive, squeezed and plain, that the header may have.
fn digests(header: &Header, found: [String; 2]) -> Result<Vec<Check>, ReadError> {
    const DIGEST: u32 = 5092;
    const ALGORITHM: u32 = 5093;
    const PLAIN: u32 = 5097;
    const SHA256: u64 = 8;
    let mut checks = Vec::new();
    let algorithm = header.numbers(ALGORITHM)?.first().copied().unwrap_or(SHA256);
    for ((tag, what), found) in
        [(DIGEST, "SHA-256 of the payload"), (PLAIN, "SHA-256 of the payload, unpacked")]
            .into_iter()
            .zip(found)
    {
        let recorded = header.string(tag)?;
        if recorded.is_empty() {
            continue;
        }
        checks.push(if algorithm == SHA256 {
            Check::same(what, &recorded, &found)
        } else {
            let reason = format!("its algorithm is number {algorithm}");
            Check::new("digest of the payload", Outcome::Unchecked(reason))
        });
    }
    Ok(checks)
}

struct Reading<'a> {
    listed: &'a Listed,
    by_path: BTreeMap<&'a str, usize>,
    /// Whether each listed file came by.
    seen: Vec<bool>,
    sha256: Vec<Option<String>>,
    files: &'a mut Files,
    wrong: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(listed: &'a Listed, files: &'a mut Files) -> Self {
        let paths = listed.files.iter().enumerate();
        let by_path = paths.map(|(index, file)| (file.path.as_str(), index)).collect();
        let count = listed.files.len();
        let (seen, sha256) = (vec![false; count], vec![None; count]);
        Self { listed, by_path, seen, sha256, files, wrong: Vec::new() }
    }

    fn entries(&mut self, from: &mut impl Read) -> Result<(), ReadError> {
        let mut cpio = Cpio::new(from);
        while let Some(item) = cpio.next()? {
            let (index, size) = match item {
                Item::Numbered(index) if index < self.listed.files.len() => {
                    (index, self.listed.files[index].found.size)
                }
                Item::Numbered(_) => {
                    return Err(ReadError::damaged(PART, "an entry is no file of the header"));
                }
                Item::Named { path, found } => {
                    let path = absolute(&path);
                    let Some(&index) = self.by_path.get(path.as_str()) else {
                        self.wrong.push(format!("`{path}` is in no list"));
                        skip(cpio.from(), PART, found.size)?;
                        cpio.end(found.size)?;
                        continue;
                    };
                    (index, found.size)
                }
            };
            self.seen[index] = true;
            self.entry(index, size, cpio.from())?;
            cpio.end(size)?;
        }
        Ok(())
    }

    /// An entry of `size` bytes that the header lists. Of files that share their bytes one has them.
    fn entry(&mut self, index: usize, size: u64, from: &mut impl Read) -> Result<(), ReadError> {
        let listed = self.listed;
        let File { path, found, digest, .. } = &listed.files[index];
        if found.kind == FoundKind::Symlink {
            let target = exactly(from, PART, size, MAX_TARGET)?;
            if Some(String::from_utf8_lossy(&target).as_ref()) != found.target.as_deref() {
                self.wrong.push(format!("`{path}` leads elsewhere"));
            }
            return Ok(());
        }
        let mut hasher = hasher(listed.algorithm);
        let mut also = |bytes: &[u8]| {
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
        };
        let sha256 = self.files.hash(path, from, size, &mut also)?;
        if found.kind != FoundKind::File || (size == 0 && found.size > 0) {
            return Ok(());
        }
        self.sha256[index] = Some(sha256);
        if size != found.size {
            self.wrong.push(format!("`{path}` has {size} bytes, {} were recorded", found.size));
        }
        if hasher.is_some_and(|hasher| hex::encode(hasher.finalize()) != *digest) {
            self.wrong.push(format!("`{path}` has another digest"));
        }
        Ok(())
    }

    /// Gives those files that came without bytes the digest of the one that has theirs.
    fn share(&mut self) {
        let files = &self.listed.files;
        let whole = files
            .iter()
            .zip(&self.sha256)
            .filter_map(|(file, digest)| Some((file.inode?, (file, digest.clone()?))));
        let whole: BTreeMap<_, _> = whole.collect();
        for (index, file) in files.iter().enumerate() {
            let came = self.seen[index] && file.found.kind == FoundKind::File;
            if !came || self.sha256[index].is_some() {
                continue;
            }
            let other = file.inode.and_then(|inode| whole.get(&inode));
            match other
                .filter(|(it, _)| it.digest == file.digest && it.found.size == file.found.size)
            {
                Some((_, digest)) => self.sha256[index] = Some(digest.clone()),
                None => self.wrong.push(format!("`{}` is there without its bytes", file.path)),
            }
        }
    }

    fn checks(mut self) -> Result<Vec<Check>, ReadError> {
        self.share();
        for (index, file) in self.listed.files.iter().enumerate() {
            if !self.seen[index] && !file.ghost {
                self.wrong.push(format!("`{}` is listed and not there", file.path));
            }
            let mut found = file.found.clone();
            found.sha256 = self.sha256[index].take();
            self.files.add(file.path.clone(), found)?;
        }
        let algorithm = self.listed.algorithm;
        let mut checks = vec![Check::of_many("files against the header's list", &self.wrong)];
        if hasher(algorithm).is_none() && !self.listed.files.is_empty() {
            let reason = format!("their algorithm is number {algorithm}");
            checks.push(Check::new("digests of files", Outcome::Unchecked(reason)));
        }
        Ok(checks)
    }
}

/// By OpenPGP's number. Source: RFC 9580, section 9.5.
fn hasher(algorithm: u64) -> Option<Box<dyn DynDigest>> {
    Some(match algorithm {
        1 => Box::new(Md5::new()),
        2 => Box::new(Sha1::new()),
        8 => Box::new(Sha256::new()),
        9 => Box::new(Sha384::new()),
        10 => Box::new(Sha512::new()),
        11 => Box::new(Sha224::new()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::files::Found;

    /// A file of five bytes.
    fn file(path: &str, inode: u64) -> File {
        let mut found = Found::new(FoundKind::File, 0o644, "root:root".to_owned());
        found.size = 5;
        let digest = hex::encode(Sha256::digest("hello"));
        File { path: path.to_owned(), found, digest, ghost: false, inode: Some(inode) }
    }

    fn entry(path: &str, text: &str) -> Vec<u8> {
        let mut head = format!("070701{:08x}{:08x}", 1, 0o100_644);
        head += &"00000000".repeat(4);
        head +=
            &format!("{:08x}{}{:08x}00000000", text.len(), "00000000".repeat(4), path.len() + 1);
        head += path;
        head.push('\0');
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(text.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// What is wrong with an archive of `entries`, and the digest of `/b`.
    fn read(listed: Vec<File>, entries: &[Vec<u8>]) -> (Vec<Outcome>, Option<String>) {
        let listed = Listed { files: listed, algorithm: 8 };
        let mut files = Files::default();
        let mut reading = Reading::new(&listed, &mut files);
        let archive = [entries.concat(), entry("TRAILER!!!", "")].concat();
        reading.entries(&mut archive.as_slice()).unwrap();
        let checks = reading.checks().unwrap();
        let outcomes = checks.into_iter().map(|check| check.outcome).collect();
        (outcomes, files.found["/b"].sha256.clone())
    }

    #[test]
    fn a_file_comes_without_its_bytes_only_if_another_name_of_it_has_them() {
        let digest = Some(hex::encode(Sha256::digest("hello")));
        let entries = [entry("/a", "hello"), entry("/b", "")];
        let (linked, apart) = ([file("/a", 1), file("/b", 1)], [file("/a", 1), file("/b", 2)]);
        assert_eq!(read(linked.into(), &entries), (vec![Outcome::Passed], digest));
        let wrong = vec![Outcome::Failed("`/b` is there without its bytes".to_owned())];
        assert_eq!(read(apart.into(), &entries), (wrong.clone(), None));
        let mut longer = file("/b", 1);
        longer.found.size = 6;
        assert_eq!(read(vec![file("/a", 1), longer], &entries), (wrong, None));
        let (outcomes, _) =
            read(vec![file("/a", 1), file("/b", 1)], &[entry("/a", ""), entry("/b", "")]);
        assert!(matches!(outcomes.as_slice(), [Outcome::Failed(_)]));
    }
}

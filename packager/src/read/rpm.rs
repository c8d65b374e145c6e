//! Reads an rpm, version 3 and 4 of the format. Source: the rpm reference manual, rpm's `rpmtag.h`.

mod archive;
mod header;
mod listed;

use std::{collections::BTreeMap, io::SeekFrom};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use self::{archive::Archive, header::Header, listed::Listed};
use super::{
    Check, Contents, Kind, Outcome, ReadSeek, Signature, decode::Watched, error::ReadError,
    files::Files, settings::Settings,
};

const LEAD: u64 = 96;

/// Tags of the signature header.
mod signature {
    pub(super) const SHA1: u32 = 269;
    pub(super) const SHA256: u32 = 273;
    pub(super) const SIZE: u32 = 1000;
    pub(super) const MD5: u32 = 1004;
    /// Signatures, and what they are called.
    pub(super) const SIGNATURES: [(u32, &str); 4] = [
        (267, "header (DSA, EdDSA)"),
        (268, "header (RSA)"),
        (1002, "header and payload (RSA)"),
        (1005, "header and payload (DSA, EdDSA)"),
    ];
}

/// Tags of texts that are told, as they are named here.
const TEXTS: [(u32, &str); 12] = [
    (1000, "name"),
    (1001, "version"),
    (1002, "release"),
    (1022, "architecture"),
    (1021, "os"),
    (1011, "vendor"),
    (1015, "packager"),
    (1014, "license"),
    (1020, "homepage"),
    (1016, "group"),
    (1004, "summary"),
    (1005, "description"),
];

const SCRIPTS: [(u32, &str); 7] = [
    (1023, "pre"),
    (1024, "post"),
    (1025, "preun"),
    (1026, "postun"),
    (1151, "pretrans"),
    (1152, "posttrans"),
    (1079, "verify"),
];

pub(super) fn read(file: &mut dyn ReadSeek) -> Result<Contents, ReadError> {
    const HEADER: &str = "header";
    file.seek(SeekFrom::Start(LEAD)).map_err(ReadError::Read)?;
    let signatures = Header::read(file, "signature header")?;
    let rest = signatures.bytes.len().next_multiple_of(8) - signatures.bytes.len();
    file.seek_relative(rest as i64).map_err(ReadError::Read)?;
    let header = Header::read(file, HEADER)?;
    let mut files = Files::default();
    let listed = Listed::read(&header)?;
    let mut md5 = Md5::new_with_prefix(&header.bytes);
    let read = {
        let from = Watched { from: file, seen: &mut |bytes: &[u8]| md5.update(bytes) };
        Archive::read(from, &header, &listed, &mut files)?
    };
    let mut checks = header_checks(&signatures, &header)?;
    let whole = hex::encode(md5.finalize());
    if signatures.has(signature::MD5) {
        let recorded = hex::encode(signatures.binary(signature::MD5)?);
        checks.push(Check::same("MD5 of header and payload", &recorded, &whole));
    }
    if let Some(size) = signatures.numbers(signature::SIZE)?.first() {
        let found = header.bytes.len() as u64 + read.squeezed;
        checks.push(Check::same(
            "size of header and payload",
            &size.to_string(),
            &found.to_string(),
        ));
    }
    checks.extend(read.checks);
    checks.push(Check::of_many("each path once", &files.twice));
    Ok(Contents {
        kind: Kind::Rpm,
        metadata: metadata(&header)?,
        scripts: scripts(&header)?,
        signatures: signed(&signatures)?,
        settings: Settings::of(&files.kept),
        files: files.found,
        checks,
    })
}

fn header_checks(signatures: &Header, header: &Header) -> Result<Vec<Check>, ReadError> {
    let digests = [
        (signature::SHA1, "SHA-1 of the header", hex::encode(Sha1::digest(&header.bytes))),
        (signature::SHA256, "SHA-256 of the header", hex::encode(Sha256::digest(&header.bytes))),
    ];
    let mut checks = Vec::new();
    for (tag, what, found) in digests {
        let recorded = signatures.string(tag)?;
        if !recorded.is_empty() {
            checks.push(Check::same(what, &recorded, &found));
        }
    }
    if checks.is_empty() {
        let reason = "the signature header has no digest of the header".to_owned();
        checks.push(Check::new("digest of the header", Outcome::Absent(reason)));
    }
    Ok(checks)
}

fn metadata(header: &Header) -> Result<Vec<(&'static str, String)>, ReadError> {
    const EPOCH: u32 = 1003;
    const BUILT: u32 = 1006;
    const RELATIONS: [(u32, u32, u32, &str); 4] = [
        (1049, 1048, 1050, "requires"),
        (1047, 1112, 1113, "provides"),
        (1054, 1053, 1055, "conflicts"),
        (1090, 1114, 1115, "obsoletes"),
    ];
    let mut metadata = Vec::new();
    for (tag, name) in TEXTS {
        metadata.push((name, header.string(tag)?));
    }
    let number = |tag| header.numbers(tag).map(|numbers| numbers.first().copied());
    metadata.push(("epoch", number(EPOCH)?.map_or(String::new(), |epoch| epoch.to_string())));
    let built = number(BUILT)?.and_then(|at| jiff::Timestamp::from_second(at.cast_signed()).ok());
    metadata.push(("built", built.map_or(String::new(), |at| at.to_string())));
    for (names, flags, versions, name) in RELATIONS {
        metadata.push((name, relations(header, [names, flags, versions])?));
    }
    metadata.retain(|(_, value)| !value.is_empty());
    Ok(metadata)
}

/// `libc.so.6, systemd >= 250`; what rpm itself has to understand is left out.
fn relations(header: &Header, [names, flags, versions]: [u32; 3]) -> Result<String, ReadError> {
    let (flags, versions) = (header.numbers(flags)?, header.strings(versions)?);
    let names = header.strings(names)?;
    let with_version = names.iter().enumerate().map(|(index, name)| {
        let flags = flags.get(index).copied().unwrap_or_default();
        let sense: String = [(2, '<'), (4, '>'), (8, '=')]
            .into_iter()
            .filter_map(|(bit, sign)| (flags & bit != 0).then_some(sign))
            .collect();
        match versions.get(index).filter(|version| !version.is_empty()) {
            Some(version) => format!("{name} {sense} {version}"),
            None => name.clone(),
        }
    });
    let kept = with_version.filter(|text| !text.starts_with("rpmlib("));
    Ok(kept.collect::<Vec<_>>().join(", "))
}

fn scripts(header: &Header) -> Result<BTreeMap<String, String>, ReadError> {
    let mut scripts = BTreeMap::new();
    for (tag, name) in SCRIPTS {
        if header.has(tag) {
            scripts.insert(name.to_owned(), header.string(tag)?);
        }
    }
    Ok(scripts)
}

fn signed(signatures: &Header) -> Result<Vec<Signature>, ReadError> {
    let mut found = Vec::new();
    for (tag, place) in signature::SIGNATURES {
        let size = signatures.binary(tag)?.len() as u64;
        if size > 0 {
            found.push(Signature { place: place.to_owned(), scheme: "openpgp", size });
        }
    }
    Ok(found)
}

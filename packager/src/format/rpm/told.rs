//! What the header of an rpm tells those who list it.

use super::{
    header::{Header, SignatureTag},
    signature::{Front, REGION},
};
use crate::{format::ReadSeek, sign::openpgp::VerifyError};

/// A package's header, and what is told of the file besides.
#[derive(Debug)]
pub(crate) struct Told {
    values: Header,
    /// Where in the file the header begins and ends.
    pub(crate) header: (u64, u64),
    /// Of the archive before it was squeezed, in bytes.
    pub(crate) archive: u64,
}

/// Reads the headers of the rpm `package`.
pub(crate) fn read_told(package: &mut dyn ReadSeek) -> Result<Told, VerifyError> {
    let front = Front::read(package)?;
    let values = Header::parse(&front.header, REGION).map_err(super::signature::damaged)?;
    let sizes = [SignatureTag::PAYLOAD_SIZE, SignatureTag::LONG_PAYLOAD_SIZE];
    let archive = sizes.iter().find_map(|tag| front.signatures.numbers(*tag).first().copied());
    Ok(Told {
        values,
        header: (front.at, front.at + front.header.len() as u64),
        archive: archive.unwrap_or(0),
    })
}

impl Told {
    /// The numbers under `tag`; none if it has none.
    pub(crate) fn numbers(&self, tag: u32) -> Vec<u64> {
        self.values.numbers(tag)
    }

    /// The texts under `tag`; none if it has none.
    pub(crate) fn strings(&self, tag: u32) -> Vec<String> {
        self.values.texts(tag)
    }

    /// The first text under `tag`; empty if it has none.
    pub(crate) fn string(&self, tag: u32) -> String {
        self.strings(tag).into_iter().next().unwrap_or_default()
    }
}

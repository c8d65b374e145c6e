//! Programs for one processor each as one for all.

use std::io::{self, Write};

use super::{
    image::{Extent, Image, Unreadable},
    slices::{Slice, Slices, fill},
};
use crate::format::ReadSeek;

/// What the places of programs are multiples of, as a power of two: the largest pages there are.
const ALIGNMENT: u32 = 14;

/// Why programs cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    #[error("could not read a program")]
    Read(#[source] io::Error),
    #[error("could not write the universal program")]
    Write(#[source] io::Error),
    #[error("one of the programs is none for a single processor of a Mac")]
    NotThin,
    #[error("two of the programs are for the same processor")]
    SameProcessor,
    #[error("the programs are too big together")]
    TooBig,
}

impl From<Unreadable> for JoinError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Read(error) => Self::Read(error),
            Unreadable::Malformed(_) => Self::NotThin,
        }
    }
}

/// Writes one program that has all of `parts`, in their order. Their signatures stay good.
pub fn join(parts: &mut [&mut dyn ReadSeek], out: &mut dyn Write) -> Result<(), JoinError> {
    let mut slices: Vec<Slice> = Vec::new();
    for part in parts.iter_mut() {
        let slice = slice(*part)?;
        if slices.iter().any(|other| other.cpu == slice.cpu) {
            return Err(JoinError::SameProcessor);
        }
        slices.push(slice);
    }
    let sizes: Vec<_> = slices.iter().map(|slice| slice.place.size).collect();
    let joined = Slices { all: slices, is_universal: true }.resized(&sizes);
    let header = joined.header().ok_or(JoinError::TooBig)?;
    out.write_all(&header).map_err(JoinError::Write)?;
    let mut end = header.len() as u64;
    for (part, slice) in parts.iter_mut().zip(&joined.all) {
        fill(out, slice.place.start - end).map_err(JoinError::Write)?;
        part.rewind().map_err(JoinError::Read)?;
        let copied = io::copy(&mut io::Read::take(&mut **part, slice.place.size), out);
        if copied.map_err(JoinError::Write)? != slice.place.size {
            return Err(JoinError::NotThin);
        }
        end = slice.place.end();
    }
    Ok(())
}

fn slice(part: &mut dyn ReadSeek) -> Result<Slice, JoinError> {
    let found = Slices::read(part)?.filter(|found| !found.is_universal);
    let Some([only]) = found.as_ref().map(|it| it.all.as_slice()) else {
        return Err(JoinError::NotThin);
    };
    let image = Image::read(part, only.place)?;
    if !image.is_for_mac() {
        return Err(JoinError::NotThin);
    }
    let head = Extent { start: 0, size: 12 }.read(part, 12)?;
    let [cpu, variant] = [4, 8]
        .map(|at| u32::from_le_bytes(*head[at..].first_chunk().expect("the head has 12 bytes")));
    Ok(Slice { cpu: [cpu, variant], place: only.place, alignment: ALIGNMENT })
}

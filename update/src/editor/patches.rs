//! Patches to publish: from what channels have to what is added.

use std::{collections::BTreeMap, fs, io};

use camino::Utf8Path;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::{
    Addition, AdditionProblem, ChangeError,
    add::published_as,
    published::Published,
    staging::{StagedCopy, StagedFile, keep_copy},
};
use crate::{
    names::{Channel, ProgramTarget},
    patch::{self, LONGEST},
};

/// What is published now, by its SHA-256 in hexadecimal.
type Present = BTreeMap<String, Vec<u8>>;

/// Makes the patches of each addition that is published compressed, beside its file.
pub(super) fn make_all(
    published: &Published,
    additions: &[Addition],
    files: &mut [StagedFile],
    staged: &Utf8Path,
) -> Result<(), ChangeError> {
    let mut problems = Vec::new();
    for (addition, file) in additions.iter().zip(files) {
        let made = match file.compressed {
            Some(_) if file.length <= LONGEST => make(published, addition, file, staged),
            Some(_) | None => Ok(()),
        };
        if let Err(source) = made {
            problems.push(AdditionProblem::Unreadable { file: addition.file.clone(), source });
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ChangeError::Unusable { problems }) }
}

fn make(
    published: &Published,
    addition: &Addition,
    file: &mut StagedFile,
    staged: &Utf8Path,
) -> io::Result<()> {
    let least = file.compressed.as_ref().map_or(file.length, |it| it.length);
    let mut present = present(published, addition);
    present.remove(&hex::encode(file.sha256));
    for (sha256, content) in present {
        let made = patch::make(&content, &file.path, NamedTempFile::new_in(staged)?)?;
        // A quarter less than what would be downloaded else is worth one more file.
        if made.as_file().metadata()?.len() <= least - least / 4 {
            let copy: StagedCopy = keep_copy(made, staged)?;
            file.patches.push((sha256, copy));
        }
    }
    Ok(())
}

/// What devices have that will be offered the addition: what its channels and the usual ones lead to.
/// A file that is not here, or is another one, is left out.
fn present(published: &Published, addition: &Addition) -> Present {
    let usual = ["stable", "edge"].into_iter().filter_map(|it| it.parse::<Channel>().ok());
    let channels = addition.tags.iter().cloned().chain(usual);
    let found = channels.filter_map(|channel| {
        let (program, platform) = (addition.program.clone(), addition.platform);
        let name = ProgramTarget { program, platform, channel }.to_string();
        let (_, target) = published.target(&name)?;
        let sha256 = &target.hashes.sha256;
        let path = published.targets_dir().join(published_as(&name, sha256));
        let content = fs::read(path).ok().filter(|_| target.length <= LONGEST)?;
        (Sha256::digest(&content)[..] == sha256[..]).then(|| (hex::encode(sha256), content))
    });
    found.collect()
}

//! The signature over the checksums, in minisign's format.

use std::{fs, path::Path};

use minisign_verify::{Error, PublicKey, Signature};

use super::{Check, sums};
use crate::exit::Stop;

/// What a good signature vouches for, besides the checksums.
#[derive(Debug)]
pub(super) struct Seal {
    pub(super) version: Option<String>,
    pub(super) commit: Option<String>,
}

/// Takes `text` for a key, else for the name of a file with one.
pub(super) fn public_key(text: &str) -> anyhow::Result<PublicKey> {
    if let Ok(key) = PublicKey::from_base64(text.trim()) {
        return Ok(key);
    }
    let problem = |what: String| {
        let help = "it is the second line of minisign's .pub file, or that file's name".to_owned();
        Stop::Usage { problems: vec![format!("--public-key {what}")], help: Some(help) }
    };
    let file = fs::read_to_string(text)
        .map_err(|error| problem(format!("`{text}` is no key, and no file to read: {error}")))?;
    let key = PublicKey::decode(&file).or_else(|_| PublicKey::from_base64(file.trim()));
    Ok(key.map_err(|_| problem(format!("`{text}` holds no key of minisign")))?)
}

/// Whether `SHA256SUMS` in `dir`, which reads `sums`, is signed by `key`.
pub(super) fn check(dir: &Path, sums: &[u8], key: &PublicKey) -> (Check, Option<Seal>) {
    let path = dir.join(format!("{}.minisig", sums::NAME));
    match verified(&path, sums, key) {
        Ok(comment) => {
            let check = Check::new("signature", Vec::new(), comment.replace('\t', "  "));
            (check, Some(Seal::of(&comment)))
        }
        Err(problem) => (Check::new("signature", vec![problem], ""), None),
    }
}

/// The comment that the signature covers.
fn verified(path: &Path, sums: &[u8], key: &PublicKey) -> Result<String, String> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| format!("could not read the signature `{shown}`: {error}"))?;
    let signature =
        Signature::decode(&text).map_err(|_| format!("`{shown}` is no signature of minisign"))?;
    match key.verify(sums, &signature, false) {
        Ok(()) => Ok(signature.trusted_comment().to_owned()),
        Err(Error::UnexpectedKeyId) => Err("it was made with another key".to_owned()),
        Err(Error::InvalidSignature) => {
            Err(format!("{} or its signature was changed after signing", sums::NAME))
        }
        Err(error) => Err(error.to_string()),
    }
}

impl Seal {
    /// Reads `timestamp:…\tfile:SHA256SUMS\tversion:…\tcommit:…`.
    fn of(comment: &str) -> Self {
        let field = |name: &str| {
            let found = comment.split('\t').find_map(|field| field.strip_prefix(name));
            found.map(str::to_owned)
        };
        Self { version: field("version:"), commit: field("commit:") }
    }

    /// Whether it is the version that was asked for, if one was.
    pub(super) fn check_version(&self, expected: Option<&str>) -> Option<Check> {
        let expected = expected?;
        let found = self.version.as_deref().unwrap_or("of no version");
        let problem = || format!("the release is {found}, not {expected}");
        let problems = if found == expected { Vec::new() } else { vec![problem()] };
        Some(Check::new("version", problems, found))
    }
}

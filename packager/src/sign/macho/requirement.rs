//! The designated requirement: what macOS takes for a later version of the same program. Source:
//! `requirement.h` and `drmaker.cpp` in Apple's Security, and what codesign writes.

use der::asn1::ObjectIdentifier;
use sha1::{Digest as _, Sha1};

use super::blob::{self, entries, length, number};
use crate::sign::{Certificate, oid};

/// Operations of an expression; operands follow.
mod op {
    pub(super) const IDENTIFIER: u32 = 2;
    pub(super) const ANCHOR_APPLE: u32 = 3;
    pub(super) const ANCHOR_HASH: u32 = 4;
    pub(super) const AND: u32 = 6;
    pub(super) const OR: u32 = 7;
    pub(super) const CODE_DIGEST: u32 = 8;
    pub(super) const CERTIFICATE_FIELD: u32 = 11;
    pub(super) const CERTIFICATE_EXTENSION: u32 = 14;
    pub(super) const ANCHOR_APPLE_GENERIC: u32 = 15;
    /// How a field is compared.
    pub(super) const EXISTS: u32 = 0;
    pub(super) const EQUALS: u32 = 1;
}

/// Which requirement of a list is the designated one, and how requirements are written.
const DESIGNATED: u32 = 3;
const EXPRESSION: u32 = 1;
const ROOT: u32 = u32::MAX;
/// Deepest expression that is read.
const MAX_DEPTH: u32 = 32;

/// The requirements of a program called `identifier` that is signed with the first of `chain`.
pub(super) fn designated(identifier: &str, chain: &[Certificate]) -> Vec<u8> {
    let mut expression = Expression(EXPRESSION.to_be_bytes().to_vec());
    expression.number(op::AND).number(op::IDENTIFIER).data(identifier.as_bytes());
    match team(chain) {
        Some(team) => expression.developer_id(&team),
        None => expression.anchor(chain),
    }
    let requirement = blob::blob(blob::REQUIREMENT, &expression.0);
    blob::list(blob::REQUIREMENTS, &[(DESIGNATED, &requirement)])
}

/// The team that a "Developer ID Application" is for. What Apple did not certify names none.
pub(super) fn team(chain: &[Certificate]) -> Option<String> {
    let [leaf, issuer, ..] = chain else { return None };
    let marked = leaf.has(oid::APPLE_DEVELOPER_ID) && issuer.has(oid::APPLE_DEVELOPER_ID_AUTHORITY);
    marked.then(|| leaf.unit()).flatten()
}

struct Expression(Vec<u8>);

impl Expression {
    fn number(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn data(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(length(bytes.len()));
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn extension(&mut self, certificate: u32, extension: ObjectIdentifier) -> &mut Self {
        self.number(op::CERTIFICATE_EXTENSION).number(certificate);
        self.data(extension.as_bytes()).number(op::EXISTS)
    }

    fn developer_id(&mut self, team: &str) {
        self.number(op::AND).number(op::ANCHOR_APPLE_GENERIC);
        self.number(op::AND).extension(1, oid::APPLE_DEVELOPER_ID_AUTHORITY);
        self.number(op::AND).extension(0, oid::APPLE_DEVELOPER_ID);
        self.number(op::CERTIFICATE_FIELD).number(0).data(b"subject.OU");
        self.number(op::EQUALS).data(team.as_bytes());
    }

    /// The last certificate of the chain that names the same organization as the first.
    fn anchor(&mut self, chain: &[Certificate]) {
        let name = chain[0].organization();
        let same = |it: &&Certificate| name.is_some() && it.organization() == name;
        let last = chain.iter().skip(1).take_while(same).count();
        let is_root = last == chain.len() - 1 && chain[last].is_signed_by(&chain[last]);
        let place = if is_root { ROOT } else { length(last) };
        self.number(op::ANCHOR_HASH).number(place);
        self.data(&Sha1::digest(chain[last].der()));
    }
}

/// The designated requirement in `requirements`, in Apple's language for them. None: there is none, or
/// it says something that is not understood.
pub(super) fn text(requirements: &[u8]) -> Option<String> {
    let all = entries(requirements, blob::REQUIREMENTS)?;
    let (_, requirement) = all.into_iter().find(|(kind, _)| *kind == DESIGNATED)?;
    let content = blob::content(requirement, blob::REQUIREMENT)?;
    let mut reader = Reader(content.get(4..).filter(|_| number(content, 0) == Some(EXPRESSION))?);
    let text = reader.expression(0)?;
    reader.0.is_empty().then_some(text)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    fn data(&mut self) -> Option<&'a [u8]> {
        let long = self.number()? as usize;
        let data = self.0.get(..long)?;
        self.0 = self.0.get(long.next_multiple_of(4)..)?;
        Some(data)
    }

    fn word(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.data()?).ok()
    }

    fn expression(&mut self, depth: u32) -> Option<String> {
        (depth < MAX_DEPTH).then_some(())?;
        Some(match self.number()? {
            op::IDENTIFIER => format!("identifier {}", quoted(self.word()?)),
            op::ANCHOR_APPLE => "anchor apple".to_owned(),
            op::ANCHOR_APPLE_GENERIC => "anchor apple generic".to_owned(),
            op::ANCHOR_HASH => {
                let place = certificate(self.number()?);
                format!("{place} = H\"{}\"", hex::encode(self.data()?))
            }
            op::CODE_DIGEST => format!("cdhash H\"{}\"", hex::encode(self.data()?)),
            op::AND => {
                let (one, other) = (self.expression(depth + 1)?, self.expression(depth + 1)?);
                format!("{one} and {other}")
            }
            op::OR => {
                let (one, other) = (self.expression(depth + 1)?, self.expression(depth + 1)?);
                format!("({one} or {other})")
            }
            op::CERTIFICATE_EXTENSION => {
                let place = certificate(self.number()?);
                let extension = ObjectIdentifier::from_bytes(self.data()?).ok()?;
                let compared = self.comparison()?;
                format!("{place}[field.{extension}]{compared}")
            }
            op::CERTIFICATE_FIELD => {
                let place = certificate(self.number()?);
                let field = self.word()?;
                let compared = self.comparison()?;
                format!("{place}[{field}]{compared}")
            }
            _ => return None,
        })
    }

    fn comparison(&mut self) -> Option<String> {
        match self.number()? {
            op::EXISTS => Some(" /* exists */".to_owned()),
            op::EQUALS => Some(format!(" = {}", quoted(self.word()?))),
            _ => None,
        }
    }
}

fn certificate(place: u32) -> String {
    match place {
        0 => "certificate leaf".to_owned(),
        ROOT => "certificate root".to_owned(),
        number => format!("certificate {number}"),
    }
}

/// What is no plain word is put between quotes.
fn quoted(word: &str) -> String {
    let plain = word.starts_with(|it: char| it.is_ascii_alphabetic())
        && word.chars().all(|it| it.is_ascii_alphanumeric());
    if plain {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

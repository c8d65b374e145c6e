//! Signatures of application bundles: the program's own, which covers the bundle's description and a list
//! with a digest of every other file. Source: Apple's technical note TN2206, `bundlediskrep.cpp` and
//! `resources.cpp` of Apple's Security, and what codesign writes.
//!
//! Code in a bundle is signed before the bundle: programs, libraries, and bundles in it.

mod list;
mod resources;
mod shape;
mod verify;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
};

use camino::Utf8Path;
use plist::Value;

pub use self::verify::{Judged, verify, verify_program};
use self::{
    list::dictionary,
    resources::{Resource, Rule, rule},
    shape::Shape,
};
use super::{
    CodeSigner, SignError, VerifyError,
    macho::{self, Details, Sealed},
};
use crate::tree::{Entry, Node, Role, Source};

/// Longest description, and list of files, that are read, in bytes.
const MAX_TEXT: u64 = 16 << 20;

/// Why a bundle could not be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    #[error("could not read `{path}`")]
    Read { path: String, source: io::Error },
    #[error("could not write a signed copy of `{path}`")]
    Write { path: String, source: io::Error },
    #[error("`{path}` does not tell its {what}")]
    Info { path: String, what: &'static str },
    #[error("`{path}` is missing")]
    Missing { path: String },
    #[error(
        "`{path}` is no program, and is where bundles have programs: put it into Contents/Resources"
    )]
    NoProgram { path: String },
    #[error("`{path}` is a framework without Versions/Current, or without Info.plist there")]
    Framework { path: String },
    #[error("`{path}` is where nothing is signed: put it among the bundle's resources")]
    Beside { path: String },
    #[error("the signature of `{path}` cannot be read")]
    Unreadable { path: String, source: VerifyError },
    #[error("could not sign `{path}`")]
    Sign { path: String, source: SignError },
}

/// With what a bundle is signed.
#[derive(Debug)]
pub struct Signing<'a> {
    pub by: &'a CodeSigner,
    /// What the bundle's program may do, as a property list in XML; without, what a signature of nobody's
    /// that it has says.
    pub entitlements: Option<Vec<u8>>,
    /// In seconds since 1970; see [`Details::signed_at`].
    pub signed_at: Option<u64>,
    /// A folder for signed copies of programs, which have to stay as long as what is made of them.
    pub scratch: &'a Utf8Path,
}

/// Whether somebody has signed the programs in `source`. None: it is no program for macOS.
pub fn is_signed(source: &Source) -> Result<Option<bool>, VerifyError> {
    let mut file = source.open().map_err(VerifyError::Read)?;
    let programs = macho::read(&mut file)?;
    Ok(programs.map(|all| all.iter().all(|it| it.as_ref().is_some_and(|it| it.seal.is_some()))))
}

/// The bundle with `entries`, which are paths below its folder, signed. What somebody has signed already
/// keeps its signature.
pub fn sign(
    entries: impl IntoIterator<Item = (String, Entry)>,
    signing: &Signing<'_>,
) -> Result<BTreeMap<String, Entry>, BundleError> {
    let mut signer = Signer { entries: with_folders(entries), signing, copies: 0 };
    signer.bundle("")?;
    Ok(signer.entries)
}

/// Archives need not have the folders that their files are in.
pub(crate) fn with_folders(
    entries: impl IntoIterator<Item = (String, Entry)>,
) -> BTreeMap<String, Entry> {
    let mut all: BTreeMap<_, _> = entries.into_iter().collect();
    let folders: Vec<_> = all
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(end, _)| path[..end].to_owned()))
        .collect();
    for folder in folders {
        all.entry(folder).or_insert_with(Entry::dir);
    }
    all
}

struct Signer<'a> {
    entries: BTreeMap<String, Entry>,
    signing: &'a Signing<'a>,
    /// Signed copies that were made.
    copies: usize,
}

impl Signer<'_> {
    /// Signs the bundle whose paths begin with `prefix`, and what is in it.
    fn bundle(&mut self, prefix: &str) -> Result<Sealed, BundleError> {
        let shape = Shape::of(&self.entries, prefix);
        let shape = shape.unwrap_or_else(|| Shape::application(prefix));
        let info = self.text(&shape.info)?;
        let about = About::read(&info, &shape.info)?;
        let program = shape.program(&about.executable);
        let entry = self.entries.get(&program);
        let Some(Entry { node: Node::File { source, .. }, .. }) = entry else {
            return Err(BundleError::Missing { path: program });
        };
        let source = source.clone();
        if self.is_signed(&program, &source)? {
            return self.sealed(&program);
        }
        if let Some(path) = shape.beside(&self.entries).into_iter().next() {
            return Err(BundleError::Beside { path });
        }
        let (old, ticket) = (shape.signature(), shape.ticket());
        self.entries.retain(|path, _| !is_within(path, &old) && *path != ticket);
        let resources = resources::render(&self.resources(&shape, &program)?);
        let entitlements = match prefix {
            "" => self.signing.entitlements.clone(),
            _ => None,
        };
        let details = Details {
            identifier: about.identifier,
            entitlements: entitlements.or(self.own_entitlements(&program, &source)?),
            info: Some(info),
            resources: Some(resources.clone()),
            signed_at: self.signing.signed_at,
        };
        self.program(&program, &source, &details)?;
        self.entries.insert(old, Entry::dir());
        let list = Entry::bytes(resources, Role::Data);
        self.entries.insert(shape.resources(), list);
        self.sealed(&program)
    }

    /// What the list of the bundle says: a resource for every path that it covers. Code is signed.
    fn resources(
        &mut self,
        shape: &Shape,
        program: &str,
    ) -> Result<BTreeMap<String, Resource>, BundleError> {
        let contents = &shape.contents;
        let within = self.entries.range(contents.clone()..);
        let within = within.take_while(|(path, _)| path.starts_with(contents));
        let paths: Vec<_> = within.map(|(path, _)| path.clone()).collect();
        let mut resources = BTreeMap::new();
        let mut done: Vec<String> = Vec::new();
        for path in paths {
            if path == *program || done.iter().any(|done| is_within(&path, done)) {
                continue;
            }
            let (inside, entry) =
                (path[contents.len()..].to_owned(), self.entries[&path].node.clone());
            let rule = rule(&inside);
            let resource = match (&entry, rule) {
                (_, Rule::Omitted) => continue,
                (Node::Dir, Rule::Nested) if self.is_bundle(&path) => {
                    let sealed = self.bundle(&format!("{path}/"))?;
                    done.push(path);
                    nested(&sealed)
                }
                (Node::Dir, Rule::Nested) if path.ends_with(".framework") => {
                    return Err(BundleError::Framework { path });
                }
                (Node::Dir, _) => continue,
                (Node::Symlink { target }, _) => Resource::Symlink(target.as_str().to_owned()),
                (Node::File { source, .. }, Rule::Nested) => self.nested_program(&path, source)?,
                (Node::File { source, .. }, Rule::File { optional }) => {
                    let digests = resources::digests(source);
                    let digests = digests.map_err(|source| BundleError::Read { path, source })?;
                    Resource::File { digests, optional }
                }
            };
            resources.insert(inside, resource);
        }
        Ok(resources)
    }

    fn is_bundle(&self, folder: &str) -> bool {
        Shape::of(&self.entries, &format!("{folder}/")).is_some()
    }

    fn nested_program(&mut self, path: &str, source: &Source) -> Result<Resource, BundleError> {
        let unreadable = |source| BundleError::Unreadable { path: path.to_owned(), source };
        match is_signed(source).map_err(unreadable)? {
            None => return Err(BundleError::NoProgram { path: path.to_owned() }),
            Some(true) => {}
            Some(false) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                let details = Details {
                    identifier: name.to_owned(),
                    entitlements: self.own_entitlements(path, source)?,
                    signed_at: self.signing.signed_at,
                    ..Details::default()
                };
                self.program(path, source, &details)?;
            }
        }
        Ok(nested(&self.sealed(path)?))
    }

    /// Puts a signed copy of the program `source` at `path`.
    fn program(
        &mut self,
        path: &str,
        source: &Source,
        details: &Details,
    ) -> Result<(), BundleError> {
        let write = |source| BundleError::Write { path: path.to_owned(), source };
        let mut file = open(path, source)?;
        let copy = self.signing.scratch.join(format!("signed-{}", self.copies));
        self.copies += 1;
        let mut out = File::create_new(&copy).map_err(write)?;
        macho::sign(&mut file, details, self.signing.by, &mut out)
            .map_err(|source| BundleError::Sign { path: path.to_owned(), source })?;
        let size = out.metadata().map_err(write)?.len();
        let source = Source::Path { path: copy, size };
        self.entries.insert(path.to_owned(), Entry::file(source, Role::Program));
        Ok(())
    }

    fn is_signed(&self, path: &str, source: &Source) -> Result<bool, BundleError> {
        let signed = is_signed(source)
            .map_err(|source| BundleError::Unreadable { path: path.to_owned(), source })?;
        signed.ok_or_else(|| BundleError::NoProgram { path: path.to_owned() })
    }

    /// What the signature of the program at `path` says.
    fn sealed(&self, path: &str) -> Result<Sealed, BundleError> {
        let found = self.entries.get(path).and_then(|entry| match &entry.node {
            Node::File { source, .. } => Some(source),
            Node::Dir | Node::Symlink { .. } => None,
        });
        let source = found.ok_or_else(|| BundleError::Missing { path: path.to_owned() })?;
        last_sealed(path, source)?.ok_or_else(|| BundleError::NoProgram { path: path.to_owned() })
    }

    fn own_entitlements(
        &self,
        path: &str,
        source: &Source,
    ) -> Result<Option<Vec<u8>>, BundleError> {
        Ok(last_sealed(path, source)?.and_then(|sealed| sealed.entitlements))
    }

    fn text(&self, path: &str) -> Result<Vec<u8>, BundleError> {
        text(&self.entries, path)
    }
}

/// What the last signature of a program says, that of arm64 in a universal one.
fn last_sealed(path: &str, source: &Source) -> Result<Option<Sealed>, BundleError> {
    let programs = macho::read(&mut open(path, source)?);
    let programs =
        programs.map_err(|source| BundleError::Unreadable { path: path.to_owned(), source })?;
    Ok(programs.into_iter().flatten().next_back().flatten())
}

fn nested(sealed: &Sealed) -> Resource {
    Resource::Nested {
        code_digest: sealed.code_digest.to_vec(),
        requirement: sealed.requirement.clone().unwrap_or_default(),
    }
}

fn open(path: &str, source: &Source) -> Result<crate::tree::Part, BundleError> {
    source.open().map_err(|source| BundleError::Read { path: path.to_owned(), source })
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn text(entries: &BTreeMap<String, Entry>, path: &str) -> Result<Vec<u8>, BundleError> {
    let entry = entries.get(path);
    let Some(Entry { node: Node::File { source, .. }, .. }) = entry else {
        return Err(BundleError::Missing { path: path.to_owned() });
    };
    let mut text = Vec::new();
    let read = open(path, source)?.take(MAX_TEXT).read_to_end(&mut text);
    read.map_err(|source| BundleError::Read { path: path.to_owned(), source })?;
    Ok(text)
}

/// What a bundle's description tells.
struct About {
    identifier: String,
    executable: String,
}

impl About {
    fn read(info: &[u8], path: &str) -> Result<Self, BundleError> {
        let missing = |what| BundleError::Info { path: path.to_owned(), what };
        let dictionary = dictionary(info);
        let text = |key: &str| {
            let value = dictionary.as_ref().and_then(|it| it.get(key)).and_then(Value::as_string);
            value.filter(|it| !it.is_empty() && !it.contains(['/', '\0'])).map(str::to_owned)
        };
        Ok(Self {
            identifier: text("CFBundleIdentifier").ok_or_else(|| missing("identifier"))?,
            executable: text("CFBundleExecutable").ok_or_else(|| missing("program"))?,
        })
    }
}

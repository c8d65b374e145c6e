//! The list of a bundle's files, and the rules by which codesign makes it.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
};

use plist::{Dictionary, Value};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::tree::Source;

const CHUNK: usize = 256 << 10;

/// How something in `Contents` is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// By its digest; what is optional may be deleted.
    File { optional: bool },
    /// By a signature of its own.
    Nested,
    /// Not at all, or by the program's signature.
    Omitted,
}

/// Folders with code.
const CODE: [&str; 10] = [
    "Frameworks/",
    "SharedFrameworks/",
    "PlugIns/",
    "Plug-ins/",
    "XPCServices/",
    "Helpers/",
    "MacOS/",
    "Library/Automator/",
    "Library/Spotlight/",
    "Library/LoginItems/",
];

/// The rule for `path`, which is below `Contents`: the one of [`rules2`] that weighs most.
pub(super) fn rule(path: &str) -> Rule {
    const FILE: Rule = Rule::File { optional: false };
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == ".DS_Store" || path.starts_with("_CodeSignature/") || path == "_CodeSignature" {
        return Rule::Omitted;
    }
    if let Some(resource) = path.strip_prefix("Resources/") {
        let localized = resource.contains(".lproj/");
        return match resource {
            _ if localized && path.ends_with(".lproj/locversion.plist") => Rule::Omitted,
            _ if resource.starts_with("Base.lproj/") => FILE,
            _ => Rule::File { optional: localized },
        };
    }
    match path {
        "Info.plist" | "PkgInfo" | "CodeResources" | "_MASReceipt" => return Rule::Omitted,
        "version.plist" | "embedded.provisionprofile" => return FILE,
        _ => {}
    }
    let is_symbols = path.split('/').any(|part| part.ends_with(".dSYM"));
    let is_code = CODE.iter().any(|folder| path.starts_with(folder));
    if !is_symbols && (is_code || !path.contains('/')) { Rule::Nested } else { FILE }
}

/// What the list says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    File { digests: Digests, optional: bool },
    Symlink(String),
    Nested { code_digest: Vec<u8>, requirement: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) sha1: Vec<u8>,
    pub(super) sha256: Vec<u8>,
}

pub(super) fn digests(source: &Source) -> io::Result<Digests> {
    let mut file = source.open()?;
    let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digests {
                sha1: sha1.finalize().to_vec(),
                sha256: sha256.finalize().to_vec(),
            });
        }
        sha1.update(&buffer[..read]);
        sha256.update(&buffer[..read]);
    }
}

/// The list, as a property list in XML.
pub(super) fn render(resources: &BTreeMap<String, Resource>) -> Vec<u8> {
    let old = resources.iter().filter_map(|(path, resource)| Some((path, old(path, resource)?)));
    let new = resources.iter().map(|(path, resource)| (path, new(resource)));
    let list = dictionary(
        [
            ("files", old.map(|(path, value)| (path.clone(), value)).collect()),
            ("files2", new.map(|(path, value)| (path.clone(), value)).collect()),
            ("rules", rules()),
            ("rules2", rules2()),
        ]
        .map(|(key, value)| (key, Value::Dictionary(value))),
    );
    let mut xml = Vec::new();
    Value::Dictionary(list).to_writer_xml(&mut xml).expect("writing to memory does not fail");
    xml
}

/// What systems before OS X 10.9.5 look at: files in few places.
fn old(path: &str, resource: &Resource) -> Option<Value> {
    let covered = path.starts_with("Resources/") || path == "version.plist";
    let Resource::File { digests, optional } = resource else { return None };
    let digest = Value::Data(digests.sha1.clone());
    covered.then(|| {
        if !optional {
            return digest;
        }
        Value::Dictionary(dictionary([("hash", digest), ("optional", Value::Boolean(true))]))
    })
}

fn new(resource: &Resource) -> Value {
    Value::Dictionary(match resource {
        Resource::File { digests, optional } => {
            let mut file = dictionary([("hash2", Value::Data(digests.sha256.clone()))]);
            if *optional {
                file.insert("optional".to_owned(), Value::Boolean(true));
            }
            file
        }
        Resource::Symlink(target) => dictionary([("symlink", Value::String(target.clone()))]),
        Resource::Nested { code_digest, requirement } => dictionary([
            ("cdhash", Value::Data(code_digest.clone())),
            ("requirement", Value::String(requirement.clone())),
        ]),
    })
}

fn dictionary<const N: usize>(pairs: [(&str, Value); N]) -> Dictionary {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A rule: whether it says something beside its weight, and that.
fn weighed(word: Option<&str>, weight: f64) -> Value {
    let weight = ("weight", Value::Real(weight));
    Value::Dictionary(match word {
        Some(word) => dictionary([(word, Value::Boolean(true)), weight]),
        None => dictionary([weight]),
    })
}

const OPTIONAL: Option<&str> = Some("optional");
const OMIT: Option<&str> = Some("omit");
const NESTED: Option<&str> = Some("nested");

/// codesign's rules for [`old`].
fn rules() -> Dictionary {
    dictionary([
        ("^Resources/", Value::Boolean(true)),
        ("^Resources/.*\\.lproj/", weighed(OPTIONAL, 1000.0)),
        ("^Resources/.*\\.lproj/locversion.plist$", weighed(OMIT, 1100.0)),
        ("^Resources/Base\\.lproj/", weighed(None, 1010.0)),
        ("^version.plist$", Value::Boolean(true)),
    ])
}

/// codesign's rules for [`new`]; [`rule`] goes by them.
pub(super) fn rules2() -> Dictionary {
    const FOLDERS: &str = "^(Frameworks|SharedFrameworks|PlugIns|Plug-ins|XPCServices|Helpers|MacOS|\
        Library/(Automator|Spotlight|LoginItems))/";
    dictionary([
        (".*\\.dSYM($|/)", weighed(None, 11.0)),
        ("^(.*/)?\\.DS_Store$", weighed(OMIT, 2000.0)),
        (FOLDERS, weighed(NESTED, 10.0)),
        ("^.*", Value::Boolean(true)),
        ("^Info\\.plist$", weighed(OMIT, 20.0)),
        ("^PkgInfo$", weighed(OMIT, 20.0)),
        ("^Resources/", weighed(None, 20.0)),
        ("^Resources/.*\\.lproj/", weighed(OPTIONAL, 1000.0)),
        ("^Resources/.*\\.lproj/locversion.plist$", weighed(OMIT, 1100.0)),
        ("^Resources/Base\\.lproj/", weighed(None, 1010.0)),
        ("^[^/]+$", weighed(NESTED, 10.0)),
        ("^embedded\\.provisionprofile$", weighed(None, 20.0)),
        ("^version\\.plist$", weighed(None, 20.0)),
    ])
}

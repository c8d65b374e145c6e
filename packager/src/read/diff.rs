//! What is different between two packages.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Contents, Found};

/// Something that one package has and the other has not, or has otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub part: Part,
    /// Of the field, the path, the script, the variable.
    pub name: String,
    /// What of a file is different; none where all of it is there or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    /// In the first package; none if it is not there.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

/// Where a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Metadata,
    File,
    Script,
    Setting,
    Signature,
}

/// All differences between `one` and `other`, part by part, by name. The secret is compared and not shown.
#[must_use]
pub fn between(one: &Contents, other: &Contents) -> Vec<Difference> {
    let mut differences = maps(Part::Metadata, &metadata(one), &metadata(other));
    differences.extend(files(one, other));
    differences.extend(maps(Part::Script, &one.scripts, &other.scripts));
    differences.extend(maps(Part::Setting, &one.settings.vars, &other.settings.vars));
    differences.extend(secret(one, other));
    differences.extend(maps(Part::Signature, &signatures(one), &signatures(other)));
    differences
}

fn metadata(contents: &Contents) -> BTreeMap<String, String> {
    let kind = ("type", contents.kind.to_string());
    let all = contents.metadata.iter().cloned().chain([kind]);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn signatures(contents: &Contents) -> BTreeMap<String, String> {
    let signatures = contents.signatures.iter();
    signatures.map(|it| (it.place.clone(), format!("{}, {} bytes", it.scheme, it.size))).collect()
}

fn maps(
    part: Part,
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let changed = names.into_iter().filter(|name| one.get(*name) != other.get(*name));
    changed
        .map(|name| Difference {
            part,
            name: name.clone(),
            field: None,
            before: one.get(name).cloned(),
            after: other.get(name).cloned(),
        })
        .collect()
}

fn secret(one: &Contents, other: &Contents) -> Option<Difference> {
    let told =
        |contents: &Contents| contents.settings.secret.as_ref().map(|_| "[hidden]".to_owned());
    (one.settings.secret != other.settings.secret).then(|| Difference {
        part: Part::Setting,
        name: "enroll secret".to_owned(),
        field: None,
        before: told(one),
        after: told(other),
    })
}

fn files(one: &Contents, other: &Contents) -> Vec<Difference> {
    let paths: BTreeSet<_> = one.files.keys().chain(other.files.keys()).collect();
    let hidden = |path: &str| one.settings.is_secret(path) || other.settings.is_secret(path);
    let mut differences = Vec::new();
    for path in paths {
        let difference = |field, before, after| Difference {
            part: Part::File,
            name: path.clone(),
            field,
            before,
            after,
        };
        match (one.files.get(path), other.files.get(path)) {
            (Some(before), Some(after)) => {
                for (field, before, after) in fields(before, after, hidden(path)) {
                    differences.push(difference(Some(field), Some(before), Some(after)));
                }
            }
            (before, after) => {
                let told = |found: Option<&Found>| found.map(told);
                differences.push(difference(None, told(before), told(after)));
            }
        }
    }
    differences
}

/// The fields that are different. Of what is `hidden`, the digest is not told.
fn fields(one: &Found, other: &Found, hidden: bool) -> Vec<(&'static str, String, String)> {
    let kind = |found: &Found| format!("{:?}", found.kind).to_lowercase();
    let mode = |found: &Found| found.mode.map_or(String::new(), |mode| format!("{mode:04o}"));
    let mut fields = vec![
        ("kind", kind(one), kind(other)),
        ("mode", mode(one), mode(other)),
        ("owner", one.owner.clone(), other.owner.clone()),
        ("size", one.size.to_string(), other.size.to_string()),
        (
            "target",
            one.target.clone().unwrap_or_default(),
            other.target.clone().unwrap_or_default(),
        ),
        ("config", one.config.to_string(), other.config.to_string()),
    ];
    fields.retain(|(_, one, other)| one != other);
    if one.sha256 != other.sha256 {
        let digest = |found: &Found| match hidden {
            true => "[hidden]".to_owned(),
            false => found.sha256.clone().unwrap_or_default(),
        };
        fields.push(("sha256", digest(one), digest(other)));
    }
    fields
}

/// A file in a line.
fn told(found: &Found) -> String {
    let kind = format!("{:?}", found.kind).to_lowercase();
    let mode = found.mode.map_or(String::new(), |mode| format!(" {mode:04o}"));
    format!("{kind}{mode} {} {} bytes", found.owner, found.size)
}

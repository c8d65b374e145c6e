//! What is different between two states of a repository's metadata.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use serde::Serialize;
use serde_json::Value;

use super::{OpenError, listing::Listing, published::Published};

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In which role's metadata.
    pub role: String,
    /// What, e.g. `orbit/linux/stable/orbit`, `keys of timestamp`.
    pub subject: String,
    /// How it was; none: it was not there.
    pub before: Option<String>,
    /// How it is; none: it is gone.
    pub after: Option<String>,
}

/// The differences between the signed parts of one role's metadata, sorted. Versions and expiry
/// dates, which are always others, come first.
pub(super) fn differences(
    role: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Vec<Difference> {
    let before = before.map(facts).unwrap_or_default();
    let mut after = after.map(facts).unwrap_or_default();
    let mut found = Vec::new();
    for ((order, subject), was) in before {
        let is = after.remove(&(order, subject.clone()));
        if is.as_ref() != Some(&was) {
            found.push(((order, subject), Some(was), is));
        }
    }
    found.extend(after.into_iter().map(|(key, is)| (key, None, Some(is))));
    found.sort();
    let told = found.into_iter().map(|((_, subject), before, after)| Difference {
        role: role.to_owned(),
        subject,
        before,
        after,
    });
    told.collect()
}

type Facts = BTreeMap<(u8, String), String>;

/// Everything that metadata says, one by one.
fn facts(signed: &Value) -> Facts {
    let mut facts = Facts::new();
    for plain in ["version", "expires", "consistent_snapshot", "spec_version"] {
        if let Some(value) = signed.get(plain) {
            facts.insert((0, plain.to_owned()), text(value));
        }
    }
    for (name, role) in fields(&signed["roles"]) {
        add_role(&mut facts, name, role);
    }
    for role in signed["delegations"]["roles"].as_array().into_iter().flatten() {
        let name = text(&role["name"]);
        add_role(&mut facts, &name, role);
        facts.insert((1, format!("paths of {name}")), text(&role["paths"]));
        facts.insert((1, format!("terminating {name}")), text(&role["terminating"]));
    }
    for (name, target) in fields(&signed["targets"]) {
        let version = target["custom"].get("version").map(|it| format!("version {}, ", text(it)));
        let hash = text(&target["hashes"]["sha256"]);
        let told =
            format!("{}{} bytes, sha256 {hash}", version.unwrap_or_default(), target["length"]);
        facts.insert((2, name.clone()), told);
    }
    for (name, listed) in fields(&signed["meta"]) {
        facts.insert((2, name.clone()), format!("version {}", listed["version"]));
    }
    facts
}

fn add_role(facts: &mut Facts, name: &str, role: &Value) {
    facts.insert((1, format!("keys of {name}")), text(&role["keyids"]));
    facts.insert((1, format!("threshold of {name}")), text(&role["threshold"]));
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(serde_json::Map::iter)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(text).collect();
            items.sort();
            items.join(", ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// The differences between two folders of published files, whose metadata is verified from the
/// newest root of each.
pub fn differences_between(
    before: &Utf8Path,
    after: &Utf8Path,
) -> Result<Vec<Difference>, OpenError> {
    let (before, after) = (documents(before)?, documents(after)?);
    let roles: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let found = roles.into_iter().flat_map(|role| {
        let signed = |side: &BTreeMap<String, Value>| side.get(role).cloned();
        differences(role, signed(&before).as_ref(), signed(&after).as_ref())
    });
    Ok(found.collect())
}

/// The signed parts of the newest metadata in a folder, by role.
fn documents(dir: &Utf8Path) -> Result<BTreeMap<String, Value>, OpenError> {
    let published = Published::read(dir)?;
    let text = |targets: &Listing| targets.text().and_then(|it| serde_json::from_str(&it));
    let roles = published.roles().map(|(name, targets)| {
        (name.to_owned(), text(targets).expect("metadata that was read can be written"))
    });
    let mut documents: BTreeMap<_, _> = roles.collect();
    documents.insert("root".to_owned(), json(&published.root));
    documents.insert("snapshot".to_owned(), json(&published.snapshot));
    documents.insert("timestamp".to_owned(), json(&published.timestamp));
    Ok(documents)
}

fn json(content: &impl Serialize) -> Value {
    serde_json::to_value(content).expect("metadata that was read can be written")
}

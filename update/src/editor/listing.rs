//! What a role lists, as text.
//!
//! Of ten thousands of targets a change touches a few. The others are carried over as they were read:
//! nobody looks into them, and what is signed is put together from pieces of what was signed before.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
    ops::Range,
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::{Value, value::RawValue};
use tough::schema::{Delegations, Target, Targets};

use super::document::SPEC_VERSION;

/// The metadata of `targets` or of a delegated role.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    pub(super) version: NonZeroU64,
    pub(super) expires: Timestamp,
    pub(super) delegations: Option<Delegations>,
    spec_version: String,
    extra: HashMap<String, Value>,
    /// The targets that were read as text.
    kept: Arc<Kept>,
    /// All others by their names, as members of a JSON object; none: one that was read and is gone.
    changed: BTreeMap<String, Option<String>>,
}

impl Listing {
    /// What `fields`, the signed part of a file, say, if they are written as they are here: in the
    /// order of their names, without blanks, and with nothing that JSON escapes and TUF does not.
    pub(super) fn as_written(fields: &BTreeMap<&str, &RawValue>) -> Option<Self> {
        if fields.values().any(|it| it.get().contains('\\')) {
            return None;
        }
        let kept = Kept::of(fields.get("targets")?.get())?;
        let head = fields.iter().map(|(name, field)| (*name, field.get()));
        let head = object(head.map(|(name, it)| (name, if name == "targets" { "{}" } else { it })));
        let head: Targets = serde_json::from_str(&head).ok()?;
        let is_ours = head.spec_version == SPEC_VERSION;
        is_ours.then(|| Self { kept: Arc::new(kept), ..Self::from(head) })
    }

    /// The target that is listed as `name`.
    pub(super) fn get(&self, name: &str) -> Option<Target> {
        let value = match self.changed.get(name) {
            Some(member) => value_of(name, member.as_deref()?),
            None => self.kept.get(name)?,
        };
        serde_json::from_str(value).ok()
    }

    /// The names of all targets, in no order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let kept = self.kept.places.iter().map(move |place| self.kept.name(place));
        let kept = kept.filter(move |name| !self.changed.contains_key(*name));
        let changed = self.changed.iter().filter(|(_, member)| member.is_some());
        kept.chain(changed.map(|(name, _)| name.as_str()))
    }

    /// Lists `target` as `name`.
    pub(super) fn insert(&mut self, name: &str, target: &Target) {
        let mut value = serde_json::to_value(target).expect("a target is plain data");
        value.sort_all_objects();
        let member = format!("{}:{value}", Value::from(name));
        self.changed.insert(name.to_owned(), Some(member));
    }

    /// Lists nothing as `name` any more.
    pub(super) fn remove(&mut self, name: &str) {
        if self.kept.get(name).is_some() {
            self.changed.insert(name.to_owned(), None);
        } else {
            self.changed.remove(name);
        }
    }

    /// All of it as JSON, without blanks and in the order of names.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        let (mut members, mut next) = (Vec::new(), 0);
        for (name, member) in &self.changed {
            let at = self.kept.places.partition_point(|it| self.kept.name(it) < name.as_str());
            members.extend(self.kept.run(next..at));
            let is_replaced = |it| self.kept.name(it) == name;
            next = at + usize::from(self.kept.places.get(at).is_some_and(is_replaced));
            members.extend(member.as_deref());
        }
        members.extend(self.kept.run(next..self.kept.places.len()));
        self.with_targets(&members)
    }

    /// The same with those targets alone that were not read as text.
    pub(super) fn news(&self) -> serde_json::Result<String> {
        let members: Vec<_> = self.changed.values().flatten().map(String::as_str).collect();
        self.with_targets(&members)
    }

    /// The targets that were read as text, if there are any.
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        (!self.kept.places.is_empty()).then(|| Arc::clone(&self.kept))
    }

    fn with_targets(&self, members: &[&str]) -> serde_json::Result<String> {
        let mut head = serde_json::to_value(Targets {
            spec_version: self.spec_version.clone(),
            version: self.version,
            expires: self.expires,
            targets: HashMap::new(),
            delegations: self.delegations.clone(),
            _extra: self.extra.clone(),
        })?;
        head.sort_all_objects();
        let mut text = String::with_capacity(members.iter().map(|it| it.len() + 1).sum());
        for (name, field) in head.as_object().into_iter().flatten() {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            if name == "targets" {
                text.push('{');
                for (index, member) in members.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    text.push_str(member);
                }
                text.push('}');
            } else {
                text.push_str(&field.to_string());
            }
        }
        text.push('}');
        Ok(text)
    }
}

impl From<Targets> for Listing {
    fn from(targets: Targets) -> Self {
        let Targets { spec_version, version, expires, targets, delegations, _extra: extra } =
            targets;
        let (kept, changed) = (Arc::default(), BTreeMap::new());
        let mut listing =
            Self { version, expires, delegations, spec_version, extra, kept, changed };
        for (name, target) in &targets {
            listing.insert(name.raw(), target);
        }
        listing
    }
}

/// The JSON object with these members, whose names need no escapes.
pub(super) fn object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (name, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        for part in ["\"", name, "\":", value] {
            text.push_str(part);
        }
    }
    text.push('}');
    text
}

/// The value in `member`, which begins with `name`.
fn value_of<'a>(name: &str, member: &'a str) -> &'a str {
    let written = Value::from(name).to_string();
    member.strip_prefix(&written).and_then(|it| it.strip_prefix(':')).unwrap_or_default()
}

/// Targets in the text that they were read from.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The JSON object of them all.
    text: String,
    /// In the order of their names.
    places: Vec<Place>,
}

/// Where a target is in the text: `"name":{…}`.
#[derive(Debug)]
struct Place {
    member: Range<usize>,
    name_end: usize,
}

impl Kept {
    /// The targets in `text`, if there are no blanks between them and they are in order.
    fn of(text: &str) -> Option<Self> {
        let listed: BTreeMap<&str, &RawValue> = serde_json::from_str(text).ok()?;
        let mut places = Vec::with_capacity(listed.len());
        let mut end = 0;
        for (name, value) in listed {
            // After the brace, or the comma.
            let start = end + 1;
            let name_end = start + 1 + name.len();
            end = name_end + 2 + value.get().len();
            let is_there = text.get(start + 1..name_end) == Some(name)
                && text.get(name_end + 2..end) == Some(value.get());
            if !is_there {
                return None;
            }
            places.push(Place { member: start..end, name_end });
        }
        (end.max(1) + 1 == text.len()).then(|| Self { text: text.to_owned(), places })
    }

    /// Whether `value` is what was read as the target `name`.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    fn get(&self, name: &str) -> Option<&str> {
        let at = self.places.binary_search_by(|it| self.name(it).cmp(name)).ok()?;
        let place = &self.places[at];
        Some(&self.text[place.name_end + 2..place.member.end])
    }

    fn name(&self, place: &Place) -> &str {
        &self.text[place.member.start + 1..place.name_end]
    }

    /// The members of these places, as they are; none, if there are no places.
    fn run(&self, places: Range<usize>) -> Option<&str> {
        let places = &self.places[places];
        let (first, last) = (places.first()?, places.last()?);
        Some(&self.text[first.member.start..last.member.end])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Model = BTreeMap<String, u64>;

    fn target(length: u64) -> Target {
        let hashes = json!({ "sha256": format!("{length:064}") });
        let custom = json!({ "version": format!("1.{length}"), "modified": "now" });
        let target = json!({ "length": length, "hashes": hashes, "custom": custom });
        serde_json::from_value(target).unwrap()
    }

    /// Of these targets, none of which was read as text.
    fn new(targets: &Model) -> Listing {
        let mut listing = Listing::from(crate::editor::init::no_targets());
        for (name, length) in targets {
            listing.insert(name, &target(*length));
        }
        listing
    }

    fn read(text: &str) -> Option<Listing> {
        Listing::as_written(&serde_json::from_str(text).ok()?)
    }

    /// What `tough` writes of the same.
    fn in_full(targets: &Model) -> String {
        let mut all = crate::editor::init::no_targets();
        for (name, length) in targets {
            all.add_target(tough::TargetName::new(name.as_str()).unwrap(), target(*length));
        }
        let mut value = serde_json::to_value(all).unwrap();
        value.sort_all_objects();
        value.to_string()
    }

    proptest! {
        #[test]
        fn text_put_together_from_pieces_is_that_of_the_whole(
            before in prop::collection::btree_map("[a-c]{1,2}(/[a-c!é-]{1,2})?", 0..9_u64, 0..12),
            removed in prop::collection::vec("[a-c]{1,2}(/[a-c!é-]{1,2})?", 0..6),
            added in prop::collection::btree_map("[a-c\"\\\\]{1,2}(/[a-c!]{1,2})?", 0..9_u64, 0..6),
        ) {
            let text = new(&before).text().unwrap();
            prop_assert_eq!(&text, &in_full(&before));
            let mut listing = read(&text).expect("it is as written here");
            prop_assert_eq!(listing.kept().is_some(), !before.is_empty());
            let mut after = before.clone();
            for name in removed.iter().chain(before.keys().take(2)) {
                listing.remove(name);
                after.remove(name);
            }
            for (name, length) in &added {
                listing.insert(name, &target(*length));
                after.insert(name.clone(), *length);
            }
            prop_assert_eq!(listing.text().unwrap(), in_full(&after));
            let mut names: Vec<_> = listing.names().collect();
            names.sort_unstable();
            prop_assert_eq!(names, after.keys().collect::<Vec<_>>());
            for (name, length) in &after {
                prop_assert_eq!(listing.get(name), Some(target(*length)));
            }
            prop_assert_eq!(listing.get("absent"), None);
            prop_assert_eq!(listing.news().unwrap(), in_full(&added));
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_not_kept_as_text() {
        let text = new(&Model::from([("a".to_owned(), 1), ("b".to_owned(), 2)])).text().unwrap();
        assert!(read(&text).is_some());
        let turned = text.replacen("\"a\":", "\"z\":", 1);
        let escaped = text.replacen("\"a\":", "\"\\u0061\":", 1);
        let twice = text.replacen("\"a\":", "\"b\":", 1);
        let spaced = text.replacen("},\"b\"", "}, \"b\"", 1);
        let other = text.replacen(SPEC_VERSION, "1.0.0", 1);
        for text in [turned, escaped, twice, spaced, other] {
            assert!(read(&text).is_none(), "{text}");
        }
    }
}

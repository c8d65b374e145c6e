//! Where things are in a bundle: an application has them in `Contents`, a framework in a folder of its version.
//! Source: Apple's "Bundle Programming Guide".

use std::collections::BTreeMap;

use super::is_within;
use crate::tree::{Entry, Node};

/// A bundle's places.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Path of its folder with the slash behind it; empty for the outermost.
    prefix: String,
    /// The folder that its signature covers, with the slash behind it.
    pub(super) contents: String,
    /// The description.
    pub(super) info: String,
    /// The folder with its program, with the slash behind it.
    programs: String,
}

impl Shape {
    /// That of the bundle whose paths begin with `prefix`. None: it is no bundle, or a framework that lacks a
    /// current version.
    pub(super) fn of(entries: &BTreeMap<String, Entry>, prefix: &str) -> Option<Self> {
        let application = Self::application(prefix);
        if entries.contains_key(&application.info) {
            return Some(application);
        }
        let current = &entries.get(&format!("{prefix}Versions/Current"))?.node;
        let Node::Symlink { target } = current else { return None };
        let version = target.as_str().trim_end_matches('/');
        let contents = format!("{prefix}Versions/{version}/");
        let info = format!("{contents}Resources/Info.plist");
        let fits = !version.contains('/') && entries.contains_key(&info);
        fits.then(|| Self { prefix: prefix.to_owned(), programs: contents.clone(), contents, info })
    }

    /// That of an application, whether it is there or not.
    pub(super) fn application(prefix: &str) -> Self {
        let contents = format!("{prefix}Contents/");
        Self {
            prefix: prefix.to_owned(),
            info: format!("{contents}Info.plist"),
            programs: format!("{contents}MacOS/"),
            contents,
        }
    }

    pub(super) fn program(&self, name: &str) -> String {
        format!("{}{name}", self.programs)
    }

    /// Where its signature is.
    pub(super) fn signature(&self) -> String {
        format!("{}_CodeSignature", self.contents)
    }

    /// The list of its files.
    pub(super) fn resources(&self) -> String {
        format!("{}_CodeSignature/CodeResources", self.contents)
    }

    /// Where Apple's word on it is kept, which ends with its signature.
    pub(super) fn ticket(&self) -> String {
        format!("{}CodeResources", self.contents)
    }

    /// What is in the bundle, and beside the folder that its signature covers. The links of a framework to
    /// its current version may be there.
    pub(super) fn beside(&self, entries: &BTreeMap<String, Entry>) -> Vec<String> {
        let within = entries.range(self.prefix.clone()..);
        let within = within.take_while(|(path, _)| path.starts_with(&self.prefix));
        let covered = self.contents.trim_end_matches('/');
        let others = within.filter(|(path, entry)| {
            let may_be = match &entry.node {
                Node::Dir => is_within(covered, path),
                Node::Symlink { target } => self.leads_inside(path, target.as_str()),
                Node::File { .. } => false,
            };
            !may_be && !is_within(path, covered)
        });
        others.map(|(path, _)| path.clone()).collect()
    }

    fn leads_inside(&self, path: &str, target: &str) -> bool {
        let inside = &path[self.prefix.len()..];
        let version = self.contents[self.prefix.len()..].trim_end_matches('/');
        let Some(version) = version.strip_prefix("Versions/") else { return false };
        if inside == "Versions/Current" {
            return target.trim_end_matches('/') == version;
        }
        let ends = target.strip_prefix("Versions/Current/");
        !inside.contains('/') && ends.is_some_and(|rest| !rest.split('/').any(|part| part == ".."))
    }
}

//! What a Rust file mentions: every path in it, written out from its crate's root.

use std::collections::BTreeMap;

use anyhow::Context as _;
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Attribute, ItemMod, ItemUse, Meta, UseTree,
    visit::{self, Visit},
};

/// A path that a file mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    /// Segments from the crate's root (`crate`, `format`, `deb`) or another crate's (`std`, `fs`).
    /// A macro's last segment ends in `!`.
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

impl Mention {
    /// Tells whether the path is `prefix` (`std::fs`) or lies in it.
    pub(super) fn is_in(&self, prefix: &str) -> bool {
        let mut own = self.path.iter();
        prefix.split("::").all(|segment| own.next().is_some_and(|mine| mine == segment))
    }

    pub(super) fn text(&self) -> String {
        self.path.join("::")
    }
}

/// Reads `text`, the module `module` of its crate. Code that only tests see is left out.
pub(super) fn mentions(text: &str, module: &[String]) -> anyhow::Result<Vec<Mention>> {
    let file = syn::parse_file(text).context("it is no Rust")?;
    let mut reader = Reader { module: module.to_vec(), ..Reader::default() };
    reader.visit_file(&file);
    let aliases = reader.aliases;
    let expand = |mut mention: Mention| {
        if let Some(full) = aliases.get(&mention.path[0]) {
            mention.path.splice(..1, full.iter().cloned());
        }
        mention
    };
    Ok(reader.imports.into_iter().chain(reader.used.into_iter().map(expand)).collect())
}

/// The modules that `text` declares with `mod name;`.
pub(super) fn declared_modules(text: &str) -> anyhow::Result<Vec<String>> {
    let file = syn::parse_file(text).context("it is no Rust")?;
    let mut modules = Vec::new();
    for item in file.items {
        if let syn::Item::Mod(module) = item {
            modules.push(module.ident.to_string());
        }
    }
    Ok(modules)
}

#[derive(Default)]
struct Reader {
    /// The module being read, from the crate's root.
    module: Vec<String>,
    /// What a name stands for, by the `use` that brought it in.
    aliases: BTreeMap<String, Vec<String>>,
    imports: Vec<Mention>,
    used: Vec<Mention>,
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if is_test(&item.attrs) {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.mention(segments, path.segments[0].ident.span());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut segments: Vec<_> =
            call.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(last) = segments.last_mut() {
            last.push('!');
        }
        self.mention(segments, call.path.segments[0].ident.span());
        self.tokens(call.tokens.clone());
    }
}

impl Reader {
    fn mention(&mut self, segments: Vec<String>, span: Span) {
        let path = self.full_path(segments);
        self.used.push(Mention { path, line: span.start().line });
    }

    /// Records every leaf of a `use` tree.
    fn import(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.import(&part.tree, path);
                path.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path);
                }
            }
            UseTree::Name(leaf) => self.leaf(path, &leaf.ident, &leaf.ident.to_string()),
            UseTree::Rename(leaf) => self.leaf(path, &leaf.ident, &leaf.rename.to_string()),
            UseTree::Glob(glob) => {
                let path = self.full_path(path.clone());
                self.imports.push(Mention { path, line: glob.star_token.spans[0].start().line });
            }
        }
    }

    fn leaf(&mut self, path: &[String], name: &proc_macro2::Ident, alias: &str) {
        let mut full = path.to_vec();
        if name != "self" {
            full.push(name.to_string());
        }
        let alias = if alias == "self" { full.last().cloned() } else { Some(alias.to_owned()) };
        let full = self.full_path(full);
        self.imports.push(Mention { path: full.clone(), line: name.span().start().line });
        if let Some(alias) = alias {
            self.aliases.insert(alias, full);
        }
    }

    /// Writes out `self` and `super`.
    fn full_path(&self, segments: Vec<String>) -> Vec<String> {
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        let relative = ups > 0 || segments.first().is_some_and(|first| first == "self");
        if !relative || (ups == 0 && segments.len() == 1) {
            return segments;
        }
        let depth = self.module.len().saturating_sub(ups);
        let skipped = ups.max(1);
        let parent = self.module[..depth].iter().cloned();
        ["crate".to_owned()]
            .into_iter()
            .chain(parent)
            .chain(segments.into_iter().skip(skipped))
            .collect()
    }

    /// Finds paths in what a macro is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut start = Span::call_site();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_path(&mut path, start);
                        start = ident.span();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1
                }
                TokenTree::Group(group) => {
                    self.end_path(&mut path, start);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end_path(&mut path, start);
                    colons = 0;
                }
            }
        }
        self.end_path(&mut path, start);
    }

    fn end_path(&mut self, path: &mut Vec<String>, start: Span) {
        if !path.is_empty() {
            self.mention(std::mem::take(path), start);
        }
    }
}

/// Tells whether `#[cfg(test)]` or `#[test]` is among `attrs`.
fn is_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::NameValue(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let module = ["format".to_owned(), "deb".to_owned()];
        mentions(text, &module).unwrap().iter().map(Mention::text).collect()
    }

    #[test]
    fn nested_imports_are_written_out() {
        let found = paths("use crate::{tree::{FileTree, self}, spec as s}; use super::rpm::*;");
        assert_eq!(
            found,
            ["crate::tree::FileTree", "crate::tree", "crate::spec", "crate::format::rpm"]
        );
    }

    #[test]
    fn names_are_followed_to_their_import() {
        let found = paths("use std::{fs, time::Instant}; fn f() { fs::read(p); Instant::now(); }");
        assert!(found.contains(&"std::fs::read".to_owned()), "{found:?}");
        assert!(found.contains(&"std::time::Instant::now".to_owned()), "{found:?}");
    }

    #[test]
    fn what_a_macro_is_given_is_read() {
        let found = paths("fn f() { println!(\"{}\", super::rpm::LEAD[std::env::args().len()]); }");
        assert!(found.contains(&"println!".to_owned()), "{found:?}");
        assert!(found.contains(&"crate::format::rpm::LEAD".to_owned()), "{found:?}");
        assert!(found.contains(&"std::env::args".to_owned()), "{found:?}");
    }

    #[test]
    fn tests_may_mention_anything() {
        assert!(paths("#[cfg(test)] mod tests { use crate::archive; }").is_empty());
    }
}

//! A file tree as a tar archive: what a deb has for its files, and an image for a layer.

use std::io::Write;

use crate::{
    archive::tar::{Item, TarWriter},
    error::BuildError,
    feed::Feed,
    tree::{Entry, FileTree, Node, Owner},
};

/// The number of an owner, for readers that do not go by names.
pub(crate) type Numbers = fn(Owner) -> u32;

/// Writes the root folder, the folders that `tree` is in, and `tree`.
pub(crate) fn add_files(
    tar: &mut TarWriter<impl Write>,
    tree: &FileTree,
    numbers: Numbers,
    feed: &mut Feed<'_>,
) -> Result<(), BuildError> {
    tar.dir(&item("/", &Entry::dir(), numbers)).map_err(BuildError::Write)?;
    for (path, entry) in tree.with_ancestors() {
        add(tar, &item(path.as_str(), entry.as_ref(), numbers), &entry.node, feed)?;
    }
    Ok(())
}

fn add(
    tar: &mut TarWriter<impl Write>,
    item: &Item<'_>,
    node: &Node,
    feed: &mut Feed<'_>,
) -> Result<(), BuildError> {
    match node {
        Node::Dir => tar.dir(item).map_err(BuildError::Write),
        Node::Symlink { target } => tar.symlink(item, target.as_str()).map_err(BuildError::Write),
        Node::File { source, .. } => {
            tar.file(item, source.size()).map_err(BuildError::Write)?;
            feed.copy(source, tar.out())?;
            tar.pad(source.size()).map_err(BuildError::Write)
        }
    }
}

fn item<'a>(path: &'a str, entry: &Entry, numbers: Numbers) -> Item<'a> {
    let Entry { mode, owner, .. } = entry;
    let Owner { user, group } = *owner;
    Item { path, mode: mode.bits(), user, group, number: numbers(*owner) }
}

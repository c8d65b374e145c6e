//! What of a folder is on its medium, and what a power cut takes because nobody has synced it.
//!
//! Taken at its word, a system promises no more than this: what is in a file lasts once the file is
//! synced, and what a folder lists once the folder is. Most keep more, and some in another order.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry::Vacant},
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

/// What becomes of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it is gone.
    Everything,
    /// What folders list is there. What is in files is not: they have their length, and zeros.
    Contents,
    /// What is in files is there, what folders list is not.
    Names,
    /// Of what folders list the last change is there, and those before it are not.
    Order,
}

/// A folder with all that is in it, as it is and as it was synced.
#[derive(Debug)]
pub struct Medium {
    dir: PathBuf,
    number: u64,
    /// Files and folders, also those that are gone. They are held, so that none gets their number.
    nodes: BTreeMap<u64, Node>,
    names: Names,
    synced: Names,
    /// What was changed of the names and not synced, oldest first. Each change happens whole.
    changes: Vec<BTreeMap<Place, Option<Entry>>>,
}

/// The number of a folder, and a name in it.
type Place = (u64, OsString);
type Names = BTreeMap<Place, Entry>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Node(u64),
    Link(PathBuf),
}

#[derive(Debug)]
struct Node {
    held: File,
    is_dir: bool,
    synced: Vec<u8>,
}

impl Medium {
    /// The folder `dir`. What is there lasts.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let number = dir.metadata()?.ino();
        let (nodes, names, synced) = (BTreeMap::new(), Names::new(), Names::new());
        let mut medium =
            Self { dir: dir.to_owned(), number, nodes, names, synced, changes: Vec::new() };
        medium.observe()?;
        medium.changes.clear();
        medium.synced = medium.names.clone();
        for node in medium.nodes.values_mut() {
            node.synced = node.content()?;
        }
        Ok(medium)
    }

    /// Notes what one operation has changed.
    pub fn observe(&mut self) -> io::Result<()> {
        let mut names = Names::new();
        self.list(&self.dir.clone(), self.number, &mut names)?;
        let places: BTreeSet<_> = names.keys().chain(self.names.keys()).collect();
        let changed = places.into_iter().filter(|it| names.get(*it) != self.names.get(*it));
        let change: BTreeMap<_, _> =
            changed.map(|it| (it.clone(), names.get(it).cloned())).collect();
        self.names = names;
        self.changes.extend(Some(change).filter(|it| !it.is_empty()));
        Ok(())
    }

    /// Notes that the file or folder at `path` was synced.
    pub fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.observe()?;
        let number = path.metadata()?.ino();
        if let Some(node) = self.nodes.get_mut(&number).filter(|it| !it.is_dir) {
            node.synced = node.content()?;
            return Ok(());
        }
        let is_elsewhere = |place: &Place| place.0 != number;
        self.synced.retain(|place, _| is_elsewhere(place));
        let there = self.names.iter().filter(|it| !is_elsewhere(it.0));
        self.synced.extend(there.map(|(place, entry)| (place.clone(), entry.clone())));
        for change in &mut self.changes {
            change.retain(|place, _| is_elsewhere(place));
        }
        self.changes.retain(|change| !change.is_empty());
        Ok(())
    }

    /// The ways in which something can be lost now, each another.
    pub fn losses(&mut self) -> io::Result<Vec<Loss>> {
        self.observe()?;
        let mut has_contents = false;
        for entry in self.names.values() {
            if let Entry::Node(number) = entry
                && let Some(node) = self.nodes.get(number)
            {
                has_contents |= node.content()? != node.synced;
            }
        }
        let has_names = !self.changes.is_empty();
        let possible = [
            (Loss::Everything, has_names || has_contents),
            (Loss::Contents, has_contents),
            (Loss::Names, has_names && has_contents),
            (Loss::Order, self.changes.len() > 1),
        ];
        Ok(possible.into_iter().filter_map(|(loss, is)| is.then_some(loss)).collect())
    }

    /// Makes the folder `to`, with what is left after `loss`.
    pub fn leave(&mut self, loss: Loss, to: &Path) -> io::Result<()> {
        self.observe()?;
        let mut names = if loss == Loss::Contents { &self.names } else { &self.synced }.clone();
        let last = self.changes.last().filter(|_| loss == Loss::Order);
        for (place, entry) in last.into_iter().flatten() {
            match entry {
                Some(entry) => drop(names.insert(place.clone(), entry.clone())),
                None => drop(names.remove(place)),
            }
        }
        self.lay(to, self.number, (&names, loss))
    }

    /// What is in the folder `dir`, with all that is below it.
    fn list(&mut self, dir: &Path, number: u64, names: &mut Names) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, about) = (entry.path(), entry.metadata()?);
            let found = if about.is_symlink() {
                Entry::Link(fs::read_link(&path)?)
            } else {
                if let Vacant(place) = self.nodes.entry(about.ino()) {
                    let held = File::open(&path)?;
                    place.insert(Node { held, is_dir: about.is_dir(), synced: Vec::new() });
                }
                if about.is_dir() {
                    self.list(&path, about.ino(), names)?;
                }
                Entry::Node(about.ino())
            };
            names.insert((number, entry.file_name()), found);
        }
        Ok(())
    }

    fn lay(&self, dir: &Path, number: u64, left: (&Names, Loss)) -> io::Result<()> {
        let (names, loss) = left;
        fs::create_dir(dir)?;
        for ((_, name), entry) in names.iter().filter(|it| it.0.0 == number) {
            let path = dir.join(name);
            match entry {
                Entry::Link(target) => symlink(target, path)?,
                Entry::Node(number) => match self.nodes.get(number) {
                    Some(node) if node.is_dir => self.lay(&path, *number, left)?,
                    Some(node) => fs::write(path, node.left(loss)?)?,
                    None => {}
                },
            }
        }
        Ok(())
    }
}

impl Node {
    fn content(&self) -> io::Result<Vec<u8>> {
        if self.is_dir {
            return Ok(Vec::new());
        }
        let length = usize::try_from(self.held.metadata()?.len()).map_err(io::Error::other)?;
        let mut content = vec![0; length];
        self.held.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    fn left(&self, loss: Loss) -> io::Result<Vec<u8>> {
        let mut content = self.content()?;
        match loss {
            Loss::Names | Loss::Order => {}
            Loss::Everything => content.clone_from(&self.synced),
            Loss::Contents => {
                let length = content.len();
                content.clone_from(&self.synced);
                content.resize(length, 0);
            }
        }
        Ok(content)
    }
}

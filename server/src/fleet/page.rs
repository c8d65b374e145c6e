//! Lists by pages: each begins after an id, so that what is added meanwhile shifts nothing.

use uuid::Uuid;

use super::store::Keyset;

/// Which page of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many items, 1 to [`MAX_PAGE`](wire::api::MAX_PAGE).
    pub limit: u32,
    /// The id after which it begins.
    pub after: Option<Uuid>,
}

/// A page of a list.
pub type Listed<T> = wire::api::Page<T>;

impl Page {
    /// One row more than the page has, to see whether another page follows.
    pub(super) fn keyset(&self) -> Keyset {
        Keyset {
            after: self.after.map(|id| id.to_string()).unwrap_or_default(),
            limit: i64::from(self.limit) + 1,
        }
    }

    /// Makes a page of the rows that [`Page::keyset`] found.
    pub(super) fn list<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> String) -> Listed<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(id) } else { None };
        Listed { items, next }
    }
}

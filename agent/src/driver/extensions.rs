//! The driver's part in osquery's extensions: it has those that the server lists brought, and osqueryd
//! started again with them.

use std::{collections::BTreeMap, sync::Arc};

use wire::orbit::Extension;

use super::{Driver, Outcome, now};
use crate::{
    complaints::{Complaint, explain},
    identity::FileError,
    machine::Event,
    tasks::{
        osqueryd::extensions::{Shelf, Wish},
        updates::{
            Updates,
            extensions::{Brought, platform},
        },
    },
    updater::clock::Judged,
};

/// What the driver knows of extensions.
#[derive(Default)]
pub(super) struct Extending {
    /// What the server has told; none: it has yet to speak.
    told: Option<BTreeMap<String, Extension>>,
    wishes: Vec<Wish>,
    /// What is under way is not what was told last.
    is_late: bool,
    tending: bool,
    complaint: Complaint,
    /// What was complained of last.
    trouble: String,
}

/// What has come of tending them.
#[derive(Debug)]
pub(super) struct Tended {
    changed: Result<bool, FileError>,
    troubles: Vec<String>,
}

impl Driver {
    /// The server lists the extensions that it wants here.
    pub(super) fn hear_of_extensions(&mut self, told: &BTreeMap<String, Extension>) {
        if self.extending.told.as_ref() == Some(told) {
            return;
        }
        self.extending.told = Some(told.clone());
        self.extending.wishes = Wish::all(told, platform());
        self.tend_extensions();
    }

    /// Sees to it that there is what the server wants. To be called whenever there may be others in the
    /// repository, too.
    pub(super) fn tend_extensions(&mut self) {
        let extending = &mut self.extending;
        if extending.told.is_none() {
            return;
        }
        if extending.tending {
            extending.is_late = true;
            return;
        }
        (extending.tending, extending.is_late) = (true, false);
        let (wishes, shelf) = (extending.wishes.clone(), Shelf::below(&self.config.root));
        let source = self.updating.source();
        let now = self.updating.judged_time(&self.server);
        self.tasks.spawn(async move {
            Outcome::ExtensionsTended(tend(source, &wishes, (&shelf, now)).await)
        });
    }

    pub(super) fn extensions_tended(&mut self, tended: Tended) -> Option<Event> {
        self.extending.tending = false;
        if self.extending.is_late {
            self.tend_extensions();
        }
        let mut troubles = tended.troubles;
        let changed = tended.changed.unwrap_or_else(|error| {
            troubles.push(explain(&error));
            false
        });
        let extending = &mut self.extending;
        let trouble = troubles.join("; ");
        if trouble != extending.trouble {
            extending.complaint.settle();
            extending.trouble.clone_from(&trouble);
        }
        if trouble.is_empty() {
            extending.complaint.settle();
        } else if extending.complaint.raise("extensions", now()) {
            tracing::warn!("{trouble}; will try again");
        } else {
            tracing::debug!("{trouble}; will try again");
        }
        if changed {
            tracing::info!("extensions have changed: osqueryd is started again");
        }
        changed.then_some(Event::OsquerydOutdated)
    }
}

async fn tend(
    source: Option<Arc<Updates>>,
    wishes: &[Wish],
    (shelf, now): (&Shelf, Option<Judged>),
) -> Tended {
    let brought = match (source, wishes) {
        (_, []) => Ok(Brought::default()),
        (Some(source), _) => source.bring_extensions(wishes, (shelf, now)).await,
        (None, _) => {
            let trouble = "the server wants extensions, and this device has no updates".to_owned();
            Ok(Brought { troubles: vec![trouble], ..Brought::default() })
        }
    };
    let missing = |error| Brought { troubles: vec![explain(&error)], ..Brought::default() };
    let Brought { places, is_new, troubles } = brought.unwrap_or_else(missing);
    let changed = shelf.settle(wishes, &places).map(|changed| changed || is_new);
    Tended { changed, troubles }
}

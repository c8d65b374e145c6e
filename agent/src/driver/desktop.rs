//! The driver's part in `fleet-desktop`: its token, and how it fares.

use std::{future::pending, sync::Arc};

use update::Component;
use wire::NodeKey;

use super::{Driver, Outcome, timestamp};
use crate::tasks::tray::{Tray, Word};

impl Driver {
    /// The server has accepted `key`: it may be told another desktop token with it.
    pub(super) fn tend_desktop(&mut self, key: NodeKey) {
        let Some(desktop) = self.desktop.clone().filter(|_| !self.tending_desktop) else { return };
        let server = Arc::clone(&self.server);
        self.tending_desktop = true;
        self.tasks.spawn(async move {
            desktop.tend(&server, &key, timestamp()).await;
            Outcome::DesktopTended
        });
    }

    pub(super) fn desktop_fares(&mut self, word: Word) {
        match word {
            Word::Well => self.report_well(Component::Desktop),
            Word::Looping(how) => self.report_loop(Component::Desktop, how),
        }
    }
}

/// The next word of the icon, if there is one; never comes back where there is none.
pub(super) async fn hear(tray: Option<&mut Tray>) -> Option<Word> {
    match tray {
        Some(tray) => tray.word().await,
        None => pending().await,
    }
}

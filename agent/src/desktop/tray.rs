//! The icon beside the clock: how the device stands, and the way to its page. What it shows and does
//! is decided here; the system draws it, in `platform`.

pub mod picture;

use std::{sync::Arc, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};
use wire::{api::DeviceStatus, orbit::DeviceSummary};

use super::{DesktopError, Link};
use crate::{VERSION, complaints::explain, server::RequestError};

/// What the icon is called.
pub const TITLE: &str = "Fleet";

/// How long an answer of the server is shown.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// How long something else is: it may take little for it to pass.
const BAD_FOR: Duration = Duration::from_secs(30);

/// What the icon shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Face {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    Online,
    Offline,
    /// The agent has not set the device up for this yet.
    NotReady,
    /// Somebody else sits at the device.
    NotYours,
    /// What the agent has written down is of no use.
    Unreadable,
    /// The server does not take the token; the agent makes another.
    Refused,
    Unreachable,
}

/// A line of the icon's menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Opens the device's page.
    Page {
        enabled: bool,
    },
    Separator,
    /// Only says something.
    Note(String),
}

/// What the icon is told by whoever sees it, and by the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Open the device's page.
    Open,
    /// Somebody looks: ask how the device stands.
    Look,
    /// Nobody can see the icon: ask no more.
    Rest,
}

impl Face {
    fn of(outcome: &Result<DeviceSummary, DesktopError>) -> Self {
        match outcome {
            Ok(summary) => match summary.status {
                DeviceStatus::Online => Self::Online,
                DeviceStatus::Offline => Self::Offline,
            },
            Err(error) => match error {
                DesktopError::Missing { .. } => Self::NotReady,
                DesktopError::Private { .. } => Self::NotYours,
                DesktopError::Read { .. }
                | DesktopError::Senseless { .. }
                | DesktopError::BrowserHost { .. } => Self::Unreadable,
                DesktopError::Request(RequestError::Unauthenticated) => Self::Refused,
                DesktopError::Request(_) => Self::Unreachable,
            },
        }
    }

    /// For people, in a few words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "asking the server",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::NotReady => "not set up yet",
            Self::NotYours => "in use by somebody else",
            Self::Unreadable => "not readable",
            Self::Refused => "being renewed",
            Self::Unreachable => "server not reached",
        }
    }

    /// What is told of the icon without a click.
    #[must_use]
    pub fn status(self) -> String {
        format!("Status: {}", self.words())
    }

    /// The menu, from top to bottom.
    #[must_use]
    pub fn entries(self) -> [Entry; 4] {
        let page = Entry::Page { enabled: self.has_page() };
        let version = Entry::Note(format!("Version {VERSION}"));
        [page, Entry::Separator, Entry::Note(self.status()), version]
    }

    /// Whether there is an address to open, be it one that the server does not answer at.
    const fn has_page(self) -> bool {
        match self {
            Self::Online | Self::Offline | Self::Refused | Self::Unreachable => true,
            Self::Unknown | Self::NotReady | Self::NotYours | Self::Unreadable => false,
        }
    }

    const fn good_for(self) -> Duration {
        if matches!(self, Self::Online) { GOOD_FOR } else { BAD_FOR }
    }
}

/// What the entry that opens the device's page is called.
pub const PAGE: &str = "My device";

/// Shows how the device of the agent below `root` stands and does what is wished, for as long as
/// somebody may wish something. Asks nothing until somebody looks. Needs a tokio runtime.
pub async fn tend(
    root: Utf8PathBuf,
    faces: watch::Sender<Face>,
    mut wishes: mpsc::UnboundedReceiver<Wish>,
) {
    let root: Arc<Utf8Path> = root.into();
    // At most one of each: what is being asked, and the pause until the next time.
    let (mut asking, mut pausing) = (JoinSet::new(), JoinSet::new());
    let mut opening = JoinSet::new();
    loop {
        let look = tokio::select! {
            wish = wishes.recv() => match wish {
                None => return,
                Some(Wish::Look) => true,
                Some(Wish::Rest) => {
                    pausing = JoinSet::new();
                    asking = JoinSet::new();
                    false
                }
                Some(Wish::Open) => {
                    opening.spawn(open(Arc::clone(&root)));
                    false
                }
            },
            Some(Ok(face)) = asking.join_next() => {
                faces.send_if_modified(|shown| std::mem::replace(shown, face) != face);
                pausing.spawn(time::sleep(jittered(face.good_for())));
                false
            }
            Some(_) = pausing.join_next() => true,
            Some(_) = opening.join_next() => false,
        };
        if look && asking.is_empty() {
            pausing = JoinSet::new();
            asking.spawn(ask(Arc::clone(&root)));
        }
    }
}

async fn ask(root: Arc<Utf8Path>) -> Face {
    let outcome = summary(&root).await;
    if let Err(error) = &outcome {
        tracing::debug!("{}", explain(error));
    }
    Face::of(&outcome)
}

async fn summary(root: &Utf8Path) -> Result<DeviceSummary, DesktopError> {
    let (link, token) = (Link::load(root)?, super::token(root)?);
    link.summary(&token).await
}

async fn open(root: Arc<Utf8Path>) {
    if let Err(error) = super::open(&root).await {
        tracing::warn!("{}", explain(&error));
    }
}

/// Up to a tenth longer, so that devices that were started together do not ask together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + fastrand::f64() / 10.0)
}

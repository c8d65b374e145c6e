//! Where the agent starts no programs in people's sessions yet.

use camino::Utf8Path;
use tokio::process::Command;

/// There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {}

/// None.
#[expect(clippy::unused_async, reason = "it takes time where there are sessions")]
pub async fn session() -> Option<Session> {
    None
}

impl Session {
    #[must_use]
    pub fn show_icon(&self, _program: &Utf8Path, _root: &Utf8Path) -> Command {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "it takes time where there are sessions")]
    pub async fn hide_icon(&self) {
        match *self {}
    }
}

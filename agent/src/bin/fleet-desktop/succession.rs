//! Which version shows the icon, where the system starts one at sign-in and no agent watches it: an icon
//! gives way to the version that is installed.

use std::{
    process::{self, ExitCode},
    time::Duration,
};

use agent::{config, platform};
use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use tokio::time;
use wire::settings::files;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(20);

/// The version that this process is of.
pub(crate) struct Version {
    root: Utf8PathBuf,
    program: Utf8PathBuf,
}

impl Version {
    /// To be asked at the start: a symlink that the process was started by leads elsewhere later.
    pub(crate) fn own(root: Utf8PathBuf) -> anyhow::Result<Self> {
        let program = config::own_program().context("could not find out which program this is")?;
        let program = program.canonicalize_utf8().unwrap_or(program);
        Ok(Self { root, program })
    }

    /// Waits until the agent has something to show. Gives another version that is to show it.
    pub(crate) async fn wait_for_use(&self) -> Option<Utf8PathBuf> {
        while !self.is_of_use() {
            time::sleep(LOOK).await;
        }
        self.successor()
    }

    /// Ends this process once another version is to show the icon, or nothing is to be shown any more:
    /// then this version waits anew.
    pub(crate) async fn watch(self) {
        loop {
            time::sleep(LOOK).await;
            let next = match self.successor() {
                Some(successor) => successor,
                None if self.is_of_use() => continue,
                None => self.program.clone(),
            };
            match hand_over(&next) {
                Ok(_) => process::exit(0),
                Err(error) => tracing::warn!("{error:#}"),
            }
        }
    }

    fn is_of_use(&self) -> bool {
        self.root.join(files::DESKTOP_LINK).exists()
    }

    /// The installed version, if this one has been installed and is another.
    fn successor(&self) -> Option<Utf8PathBuf> {
        let installed = platform::program(&self.root, "desktop", "fleet-desktop");
        let installed = installed.canonicalize_utf8().ok()?;
        let folder = self.root.join("bin").join("desktop").canonicalize_utf8().ok()?;
        (self.program.starts_with(folder) && self.program != installed).then_some(installed)
    }
}

/// Has `program` show the icon in place of this process, which is to end. launchd starts it by itself.
pub(crate) fn hand_over(program: &Utf8Path) -> anyhow::Result<ExitCode> {
    #[cfg(windows)]
    platform::start_instead(program).with_context(|| format!("could not start `{program}`"))?;
    #[cfg(not(windows))]
    tracing::debug!("`{program}` is to be started");
    Ok(ExitCode::SUCCESS)
}

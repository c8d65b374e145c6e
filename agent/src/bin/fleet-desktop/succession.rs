//! Which version shows the icon, where the system starts one at sign-in and no agent watches it: an icon
//! gives way to the version that is installed.

use std::{
    process::{self, ExitCode},
    time::Duration,
};

use agent::{config, platform};
use camino::{Utf8Path, Utf8PathBuf};
use tokio::time;
use wire::settings::files;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(20);

/// Waits until the agent below `root` has something to show. Gives another version that is to show it.
pub(crate) async fn wait_for_use(root: &Utf8Path) -> Option<Utf8PathBuf> {
    while !root.join(files::DESKTOP_LINK).exists() {
        time::sleep(LOOK).await;
    }
    successor(root)
}

/// Ends this process once another version is to show the icon, or nothing is to be shown any more.
pub(crate) async fn watch(root: Utf8PathBuf) {
    loop {
        time::sleep(LOOK).await;
        let next = successor(&root);
        if next.is_none() && root.join(files::DESKTOP_LINK).exists() {
            continue;
        }
        if let Err(error) = hand_over(&next.unwrap_or_else(own_program)) {
            tracing::warn!("{error:#}");
            continue;
        }
        process::exit(0);
    }
}

/// This version waits anew until there is something to show.
fn own_program() -> Utf8PathBuf {
    config::own_program().unwrap_or_default()
}

/// The installed version, if this one has been installed and is another.
fn successor(root: &Utf8Path) -> Option<Utf8PathBuf> {
    let own = config::own_program()?.canonicalize_utf8().ok()?;
    let installed = platform::program(root, "desktop", "fleet-desktop").canonicalize_utf8().ok()?;
    let folder = root.join("bin").join("desktop").canonicalize_utf8().ok()?;
    (own.starts_with(folder) && own != installed).then_some(installed)
}

/// Has `program` show the icon in place of this process, which is to end: launchd starts it.
#[cfg(target_os = "macos")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(crate) fn hand_over(_program: &Utf8Path) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}

/// Has `program` show the icon in place of this process, which is to end.
#[cfg(windows)]
pub(crate) fn hand_over(program: &Utf8Path) -> anyhow::Result<ExitCode> {
    use std::os::windows::process::CommandExt as _;

    use anyhow::Context as _;

    /// No window of its own (`CREATE_NO_WINDOW`).
    const NO_WINDOW: u32 = 0x0800_0000;

    #[expect(clippy::disallowed_methods, reason = "a version starts the one that replaces it")]
    let mut command = process::Command::new(program);
    command.args(std::env::args_os().skip(1)).creation_flags(NO_WINDOW);
    command.spawn().with_context(|| format!("could not start `{program}`"))?;
    Ok(ExitCode::SUCCESS)
}

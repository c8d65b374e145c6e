//! The icon in the taskbar's corner. Where there is no taskbar, one is looked for again and again.

use std::{io, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{mpsc::UnboundedSender, watch},
    time,
};

use crate::{
    desktop::tray::{Face, Wish},
    platform::tray::{Icon, tell},
};

/// The first and the longest pause between two looks for a taskbar.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Closes the console's window if it is this program's alone: who signs in is to see an icon. Without a
/// window there is nothing to close.
pub fn leave_console() {
    let _ = winsafe::FreeConsole();
}

/// Shows the icon with the face that it is to have, for good, and tells what is wished.
pub fn show_icon(
    runtime: &Handle,
    mut faces: watch::Receiver<Face>,
    wishes: UnboundedSender<Wish>,
) -> io::Result<()> {
    tell(&wishes);
    // Sleep is the runtime's, on a thread of its own; this one is for messages.
    let _entered = runtime.enter();
    winmsg_executor::block_on(async move {
        let mut pause = PAUSES.0;
        let icon = loop {
            match Icon::show(*faces.borrow_and_update()) {
                Ok(icon) => break icon,
                Err(error) => tracing::debug!("there is no icon: {error}"),
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        };
        // Whoever tends the icon outlives it.
        let _ = wishes.send(Wish::Look);
        while faces.changed().await.is_ok() {
            if let Err(error) = icon.turn(*faces.borrow_and_update()) {
                tracing::debug!("the icon is not up to date: {error}");
            }
        }
    });
    Ok(())
}

//! The icon in the menu bar. AppKit's loop has the main thread for good; faces are handed to it.

use std::{cell::RefCell, io};

use dispatch2::DispatchQueue;
use objc2::MainThreadMarker;
use objc2_app_kit::{NSApplication, NSApplicationActivationPolicy};
use tokio::{
    runtime::Handle,
    sync::{mpsc::UnboundedSender, watch},
};

use crate::{
    desktop::tray::{Face, Wish},
    platform::tray::{Icon, tell},
};

thread_local! {
    /// The main thread's.
    static ICON: RefCell<Option<Icon>> = const { RefCell::new(None) };
}

/// Shows the icon with the face that it is to have, for good, and tells what is wished.
pub fn show_icon(
    runtime: &Handle,
    mut faces: watch::Receiver<Face>,
    wishes: UnboundedSender<Wish>,
) -> io::Result<()> {
    let main = MainThreadMarker::new()
        .ok_or_else(|| io::Error::other("the icon belongs to the main thread"))?;
    let app = NSApplication::sharedApplication(main);
    // No place in the Dock, no menu bar of its own.
    app.setActivationPolicy(NSApplicationActivationPolicy::Accessory);
    tell(&wishes);
    runtime.spawn(async move {
        // Whoever tends the icon outlives it.
        let _ = wishes.send(Wish::Look);
        loop {
            let face = *faces.borrow_and_update();
            // What waits there is done once the loop turns.
            DispatchQueue::main().exec_async(move || draw(face));
            if faces.changed().await.is_err() {
                return;
            }
        }
    });
    app.run();
    Ok(())
}

fn draw(face: Face) {
    let outcome = ICON.with_borrow_mut(|shown| match shown {
        Some(icon) => icon.turn(face),
        None => Icon::show(face).map(|icon| *shown = Some(icon)),
    });
    if let Err(error) = outcome {
        tracing::debug!("the icon is not up to date: {error}");
    }
}

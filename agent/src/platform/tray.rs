//! The icon beside the clock on systems where it belongs to one thread: what is common to both.

use std::io;

use tokio::sync::mpsc::UnboundedSender;
use tray_icon::{
    TrayIcon, TrayIconBuilder, TrayIconEvent,
    menu::{IsMenuItem, Menu, MenuEvent, MenuItem, PredefinedMenuItem},
};

use crate::desktop::tray::{Entry, Face, PAGE, TITLE, Wish, picture::Picture};

/// Pixels of the picture, which the system scales.
const SIDE: u16 = 64;

/// What the entry that opens the device's page is known by.
const PAGE_ID: &str = "page";

/// An icon that is shown until it is dropped, by the thread that has made it.
pub(super) struct Icon {
    tray: TrayIcon,
    /// The menu's, in the order of [`Face::entries`]; none: a separator.
    items: Vec<Option<MenuItem>>,
}

impl Icon {
    /// Needs the thread's loop of messages or events to go on.
    pub(super) fn show(face: Face) -> io::Result<Self> {
        let menu = Menu::new();
        let mut items = Vec::new();
        for entry in face.entries() {
            let item = match entry {
                Entry::Page { enabled } => Some(MenuItem::with_id(PAGE_ID, PAGE, enabled, None)),
                Entry::Note(text) => Some(MenuItem::new(text, false, None)),
                Entry::Separator => None,
            };
            let separator = PredefinedMenuItem::separator();
            let shown: &dyn IsMenuItem = item.as_ref().map_or(&separator, |item| item);
            menu.append(shown).map_err(io::Error::other)?;
            items.push(item);
        }
        let tray = TrayIconBuilder::new()
            .with_menu(Box::new(menu))
            .with_tooltip(tip(face))
            .with_icon(picture(face)?)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { tray, items })
    }

    /// Shows how the device stands now. A menu that is open stays.
    pub(super) fn turn(&self, face: Face) -> io::Result<()> {
        for (item, entry) in self.items.iter().zip(face.entries()) {
            match (item, entry) {
                (Some(item), Entry::Page { enabled }) => item.set_enabled(enabled),
                (Some(item), Entry::Note(text)) => item.set_text(text),
                (Some(_) | None, _) => {}
            }
        }
        self.tray.set_tooltip(Some(tip(face))).map_err(io::Error::other)?;
        self.tray.set_icon(Some(picture(face)?)).map_err(io::Error::other)
    }
}

/// Has every icon of this process tell what is wished.
pub(super) fn tell(wishes: &UnboundedSender<Wish>) {
    // Nobody listens once the program ends.
    let to_open = wishes.clone();
    MenuEvent::set_event_handler(Some(move |event: MenuEvent| {
        if event.id == PAGE_ID {
            let _ = to_open.send(Wish::Open);
        }
    }));
    let to_look = wishes.clone();
    TrayIconEvent::set_event_handler(Some(move |event| {
        if matches!(event, TrayIconEvent::Click { .. }) {
            let _ = to_look.send(Wish::Look);
        }
    }));
}

fn tip(face: Face) -> String {
    format!("{TITLE}\n{}", face.status())
}

fn picture(face: Face) -> io::Result<tray_icon::Icon> {
    let Picture { side, rgba } = Picture::of(face, SIDE);
    tray_icon::Icon::from_rgba(rgba, side.into(), side.into()).map_err(io::Error::other)
}

//! The icon as a StatusNotifierItem: an object on the session's bus, which the desktop's watcher is
//! told of and draws. Where there is no bus or no watcher nobody sees it, and nothing fails: a bus is
//! looked for again and again, and of a watcher the bus tells.

use std::{io, time::Duration};

use futures_util::StreamExt as _;
use ksni::{
    Category, OfflineReason, ToolTip, TrayMethods as _,
    menu::{MenuItem, StandardItem},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc::UnboundedSender, watch},
    time,
};
use zbus::{Connection, fdo::DBusProxy};

use crate::desktop::tray::{Entry, Face, PAGE, TITLE, Wish, picture::Picture};

/// Pixels of the pictures that are offered; desktops take what suits their screens.
const SIDES: [u16; 3] = [22, 32, 48];

/// The name of whatever draws the icons of a desktop.
const WATCHER: &str = "org.kde.StatusNotifierWatcher";

/// The first and the longest pause between two looks for a bus.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Shows the icon with the face that it is to have, for good, and tells what is wished.
pub fn show_icon(
    runtime: &Handle,
    mut faces: watch::Receiver<Face>,
    wishes: UnboundedSender<Wish>,
) -> io::Result<()> {
    runtime.block_on(async {
        let mut pause = PAUSES.0;
        loop {
            match show_on_bus(&mut faces, &wishes).await {
                Ok(()) => pause = PAUSES.0,
                Err(error) => tracing::debug!("there is no icon: {error}"),
            }
            // Whoever tends the icon outlives it.
            let _ = wishes.send(Wish::Rest);
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    })
}

/// Shows the icon to every watcher that comes, until the bus ends.
async fn show_on_bus(
    faces: &mut watch::Receiver<Face>,
    wishes: &UnboundedSender<Wish>,
) -> Result<(), ksni::Error> {
    let bus = Connection::session().await.map_err(ksni::Error::Dbus)?;
    // ksni asks to be told of watchers only after it has found none, and never hears of one that
    // comes in between. Here the order is the other way round.
    let names = DBusProxy::new(&bus).await.map_err(ksni::Error::Dbus)?;
    let owners = names.receive_name_owner_changed_with_args(&[(0, WATCHER)]);
    let mut owners = owners.await.map_err(ksni::Error::Dbus)?;
    let watcher = WATCHER.try_into().expect("the name is well-formed");
    let mut is_seen = names.name_has_owner(watcher).await.map_err(ksni::Error::Watcher)?;
    loop {
        let item = if is_seen {
            let icon = Icon { face: *faces.borrow_and_update(), wishes: wishes.clone() };
            icon.wish(Wish::Look);
            // One that has gone meanwhile is no error: the next is told of.
            Some(icon.assume_sni_available(true).spawn().await?)
        } else {
            // Whoever tends the icon outlives it.
            let _ = wishes.send(Wish::Rest);
            None
        };
        let change = loop {
            tokio::select! {
                changed = faces.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let face = *faces.borrow_and_update();
                    if let Some(item) = &item {
                        item.update(|icon| icon.face = face).await;
                    }
                }
                change = owners.next() => break change,
                () = bus.closed() => break None,
            }
        };
        if let Some(item) = item {
            item.shutdown().await;
        }
        let Some(change) = change else { return Ok(()) };
        is_seen = change.args().map_err(ksni::Error::Dbus)?.new_owner.is_some();
    }
}

#[derive(Debug)]
struct Icon {
    face: Face,
    wishes: UnboundedSender<Wish>,
}

impl Icon {
    fn wish(&self, wish: Wish) {
        // Nobody listens once the program ends.
        let _ = self.wishes.send(wish);
    }

    fn entry(entry: Entry) -> MenuItem<Self> {
        let (label, enabled) = match entry {
            Entry::Separator => return MenuItem::Separator,
            Entry::Page { enabled } => (PAGE.to_owned(), enabled),
            Entry::Note(text) => (text, false),
        };
        StandardItem {
            label,
            enabled,
            // What is not enabled cannot be clicked.
            activate: Box::new(|icon: &mut Self| icon.wish(Wish::Open)),
            ..StandardItem::default()
        }
        .into()
    }
}

impl ksni::Tray for Icon {
    const MENU_ON_ACTIVATE: bool = true;

    fn id(&self) -> String {
        "fleet-desktop".to_owned()
    }

    fn category(&self) -> Category {
        Category::SystemServices
    }

    fn title(&self) -> String {
        TITLE.to_owned()
    }

    fn icon_pixmap(&self) -> Vec<ksni::Icon> {
        SIDES.map(|side| pixmap(&Picture::of(self.face, side))).into()
    }

    fn tool_tip(&self) -> ToolTip {
        ToolTip { title: TITLE.to_owned(), description: self.face.status(), ..ToolTip::default() }
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        self.face.entries().map(Self::entry).into()
    }

    fn menu_about_to_show(&mut self) {
        self.wish(Wish::Look);
    }

    fn watcher_offline(&self, _reason: OfflineReason) -> bool {
        false
    }
}

/// ksni wants alpha first.
fn pixmap(picture: &Picture) -> ksni::Icon {
    let argb = picture.rgba.as_chunks().0.iter().flat_map(|&[r, g, b, a]: &[u8; 4]| [a, r, g, b]);
    let side = i32::from(picture.side);
    ksni::Icon { width: side, height: side, data: argb.collect() }
}

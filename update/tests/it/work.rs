//! How much work changes are: what is read, and what is looked into.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use update::{Edit, Editor};

use crate::fixture::{Fixture, now, terms};

/// Listens to what the editor says of files.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<Heard>>>);

/// What is done, and to which file.
#[derive(Default)]
struct Heard {
    message: String,
    file: String,
}

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message = value,
            "path" => self.file = value.rsplit('/').next().unwrap().to_owned(),
            _ => {}
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("update::editor")
    }

    fn event(&self, event: &Event<'_>) {
        let mut heard = Heard::default();
        event.record(&mut heard);
        self.0.lock().unwrap().push(heard);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Listener {
    /// The files to which that was done since the last call, in order.
    fn take(&self, message: &str) -> Vec<String> {
        let mut heard = self.0.lock().unwrap();
        let all: Vec<Heard> = heard.drain(..).collect();
        let (found, rest): (Vec<_>, _) = all.into_iter().partition(|it| it.message == message);
        *heard = rest;
        found.into_iter().map(|it| it.file).collect()
    }

    fn looked_into(&self) -> Vec<String> {
        self.take("metadata is looked into")
    }

    fn read(&self) -> Vec<String> {
        self.take("metadata is read")
    }
}

fn of_targets(files: Vec<String>) -> Vec<String> {
    files.into_iter().filter(|it| it.ends_with("targets.json")).collect()
}

#[tokio::test]
async fn a_timestamp_is_renewed_without_a_look_into_what_it_does_not_sign() {
    let fixture = Fixture::with_orbit().await;
    let (keys, listener) = (fixture.keys(), Listener::default());
    let _listening = tracing::subscriber::set_default(listener.clone());
    let mut editor = Editor::open(&fixture.path("tuf")).unwrap();
    let timestamp = Edit::Renew("timestamp".to_owned());
    editor.check(&timestamp).unwrap();
    editor.apply(&timestamp, &terms(&keys)).await.unwrap();
    let expiry = editor.expiry("timestamp").unwrap();
    assert_eq!(expiry, Some("2026-03-08T12:00:00Z".parse().unwrap()));
    assert_eq!(listener.looked_into(), ["timestamp.json", "2.snapshot.json", "timestamp.json"]);
    assert_eq!(
        of_targets(listener.read()),
        ["2.targets.json"],
        "it is held against its hash, once"
    );
}

#[tokio::test]
async fn what_a_change_is_made_of_is_read_and_looked_into_once() {
    let fixture = Fixture::with_orbit().await;
    let (keys, listener) = (fixture.keys(), Listener::default());
    let _listening = tracing::subscriber::set_default(listener.clone());
    let mut editor = Editor::open(&fixture.path("tuf")).unwrap();
    let add = Edit::Add(vec![fixture.orbit("1.1.0", b"orbit, the second")]);
    editor.check(&add).unwrap();
    editor.apply(&add, &terms(&keys)).await.unwrap();
    assert_eq!(of_targets(listener.looked_into()), ["2.targets.json"]);
    assert_eq!(listener.take("every target is looked into"), [""; 0], "it is carried over");
    assert_eq!(of_targets(listener.read()), ["2.targets.json", "3.targets.json"]);
    // What was published is looked into when somebody asks for it.
    assert_eq!(editor.status(now()).unwrap().targets.len(), 3);
    assert_eq!(editor.status(now()).unwrap().targets.len(), 3);
    assert_eq!(of_targets(listener.looked_into()), ["3.targets.json"]);
}

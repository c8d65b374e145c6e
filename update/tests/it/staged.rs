//! Changes that wait for signatures: what a copy can show, and what they outlive.

use std::{fs, num::NonZeroU64};

use update::{
    Edit, PublicKey,
    editor::{ChangeError, KeyChange, Pending, PendingError},
    keys::Algorithm,
};

use crate::{
    fixture::{Fixture, fetch_stable, terms},
    roles::{all_keys, delegation, key, key_ids, replace, set_keys},
};

/// A copy that shows its signers less than they sign is another change for those who made it.
#[tokio::test]
async fn a_copy_cannot_hide_what_is_signed() {
    let fixture = Fixture::with_own_keys().await;
    let keys = fixture.keys();
    let edit = Edit::Add(vec![fixture.orbit("1.1.0", b"orbit, the second")]);
    fixture.editor.begin(&edit, &terms(&keys)).await.unwrap();
    let id = fixture.editor.pending().unwrap().summary().id;
    let usb = fixture.path("usb");
    fixture.editor.pending().unwrap().export(&usb).unwrap();
    assert_eq!(Pending::open(&usb).unwrap().summary().id, id);

    // What is to be signed, said to be in force already: by the right key, and by nobody.
    let (new, trusted) = (usb.join("new.targets.json"), usb.join("trusted.targets.json"));
    let real = fs::read(&trusted).unwrap();
    fs::copy(&new, &trusted).unwrap();
    let copy = Pending::open(&usb).unwrap();
    assert_eq!(copy.summary().differences, []);
    assert_ne!(copy.summary().id, id);
    let error = fixture.editor.pending().unwrap().import(&copy);
    assert!(matches!(error, Err(PendingError::AnotherChange { .. })), "{error:?}");
    let text = fs::read_to_string(&trusted).unwrap();
    fs::write(&trusted, text.replace("1.1.0", "1.0.9")).unwrap();
    let error = Pending::open(&usb).unwrap_err();
    assert!(matches!(&error, PendingError::Unsigned { path } if *path == trusted), "{error:?}");
    fs::write(&trusted, real).unwrap();

    let (about, root) = (usb.join("change.json"), usb.join("trusted.root.json"));
    let text = fs::read_to_string(&root).unwrap();
    fs::write(&root, text.replace("\"threshold\": 1", "\"threshold\": 2")).unwrap();
    let error = Pending::open(&usb).unwrap_err();
    assert!(matches!(error, PendingError::Unsigned { .. }), "{error:?}");
    fs::write(&root, text).unwrap();
    let text = fs::read_to_string(&about).unwrap();
    let outside = usb.join("new.x");
    fs::create_dir(&outside).unwrap();
    fs::copy(&new, fixture.path("stolen.json")).unwrap();
    for role in ["x/../../stolen", "timestamp", ""] {
        let list = format!("\"roles\": [\n    \"{role}\",");
        fs::write(&about, text.replace("\"roles\": [", &list)).unwrap();
        let error = Pending::open(&usb).unwrap_err();
        assert!(matches!(&error, PendingError::Malformed { path } if *path == about), "{error:?}");
    }
}

/// New keys wait for weeks; files come daily.
#[tokio::test]
async fn a_waiting_change_outlives_what_does_not_touch_it() {
    let mut fixture = Fixture::with_own_keys().await;
    let new = key(&fixture, "timestamp-2", Algorithm::Ed25519).public();
    let old = key_ids(&fixture, "timestamp")[0].clone();
    let edit = set_keys(vec![replace("timestamp", &old, new.clone())]);
    fixture.editor.begin(&edit, &terms(&fixture.keys())).await.unwrap();
    fixture.publish_orbit("1.1.0", b"orbit, the second").await;
    fixture.editor.apply_pending(&terms(&all_keys(&fixture))).await.unwrap();
    assert_eq!(key_ids(&fixture, "timestamp"), [new.id()]);
    let mut reader = fixture.reader(fixture.published());
    assert_eq!(fetch_stable(&mut reader).await.unwrap().version, "1.1.0");
}

/// A delegated role's change is held to the delegation in force when it is applied.
#[tokio::test]
async fn a_waiting_change_of_a_role_is_held_to_what_is_in_force() {
    let mut fixture = Fixture::with_own_keys().await;
    let orbit = delegation(&fixture, "orbit", "orbit/*/*/*");
    fixture.apply(&orbit).await.unwrap();
    let edit = Edit::Add(vec![fixture.orbit("1.1.0", b"orbit, the second")]);
    fixture.editor.begin(&edit, &terms(&fixture.keys())).await.unwrap();
    let other = fixture.keys()[1].public();
    let keys = KeyChange { threshold: NonZeroU64::new(2), ..add_key("orbit", other) };
    let error = fixture.apply(&set_keys(vec![keys])).await.unwrap_err();
    assert!(matches!(&error, ChangeError::Waiting { role } if role == "orbit"), "{error:?}");
    let again = fixture.editor.check(&Edit::Renew("orbit".to_owned())).unwrap_err();
    assert!(matches!(again, ChangeError::Waiting { .. }), "before anybody types: {again:?}");
    fixture.apply(&Edit::Revoke("orbit".to_owned())).await.unwrap();
    let error = fixture.editor.apply_pending(&terms(&fixture.keys())).await.unwrap_err();
    assert!(matches!(&error, ChangeError::Pending(PendingError::Overtaken)), "{error:?}");
}

fn add_key(role: &str, key: PublicKey) -> KeyChange {
    KeyChange { role: role.to_owned(), add: vec![key], remove: Vec::new(), threshold: None }
}

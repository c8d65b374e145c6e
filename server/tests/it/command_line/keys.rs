//! `fleetctl api-keys`, as scripts use it.

use serde_json::json;

use super::{Home, each, fields, on_both, parsed};
use crate::harness::text;

/// What there is of every key that was not used yet.
const FIELDS: [&str; 8] =
    ["created_at", "created_by", "id", "kind", "last4", "name", "prefix", "scopes"];

fn is_key(printed: &str, prefix: &str) -> bool {
    let random = printed.strip_prefix(prefix);
    random.is_some_and(|it| it.len() == 32 && it.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn without<'a>(names: &[&'a str], name: &str) -> Vec<&'a str> {
    names.iter().copied().filter(|it| *it != name).collect()
}

/// Rows in part: K2
#[test]
fn a_key_is_made_once_and_told_once() {
    on_both(false, |site| {
        let ann = &site.ann;
        let create = ["api-keys", "create", "--name", "ci", "--scope", "devices:read"];
        let if_absent = [&create[..], &["--if-absent"]].concat();
        let made = ann.json(&if_absent);
        assert_eq!(without(&fields(&made), "key"), FIELDS);
        assert!(is_key(&text(&made, "key"), "fleetd_pk_live_"), "{made}");
        let again = ann.json(&if_absent);
        assert_eq!(fields(&again), FIELDS, "no value is told again");
        assert_eq!(again["id"], made["id"]);
        assert_eq!(ann.run(&[&if_absent[..], &["--quiet"]].concat()).ok(), "");
        assert_eq!(ann.json(&["api-keys", "list"]).as_array().unwrap().len(), 1);

        let create = ["api-keys", "create", "--name", "nightly", "--role", "viewer", "--service"];
        let key = ann.run(&[&create[..], &["--expires-in", "90d", "--quiet"]].concat()).line();
        assert!(is_key(&key, "fleetd_sk_live_"), "{key}");
        let listed = ann.run(&["api-keys", "list", "--output", "json"]).ok();
        assert!(!listed.contains(&key) && !listed.contains(&text(&made, "key")));
        let listed = parsed(&listed);
        assert_eq!(each(&listed, "name"), ["ci", "nightly"]);
        assert_eq!(each(&listed, "kind"), ["person", "service"]);
        assert_eq!(without(&fields(&listed[1]), "expires_at"), FIELDS);
        assert_eq!(listed[0]["scopes"], json!(["devices:read"]));

        for (scope, code) in [("api_keys:write", 1), ("devices:fly", 2)] {
            ann.run(&["api-keys", "create", "--name", "no", "--scope", scope]).fails(code);
        }
        ann.run(&["api-keys", "create", "--name", "no"]).fails(2);
        Home::new().run(&["api-keys", "list"]).fails(4);
    });
}

/// Rows in part: K3, K4, K12, K14
#[test]
fn a_key_works_until_it_is_rotated_or_revoked() {
    on_both(false, |site| {
        let ann = &site.ann;
        let create = ["api-keys", "create", "--name", "ci", "--scope", "devices:read"];
        let first = site.script(&ann.run(&[&create[..], &["--quiet"]].concat()).line());
        let works = |script: &Home| script.run(&["devices", "list", "--output", "json"]).code;
        assert_eq!(first.json(&["devices", "list"]), json!([]));
        let said = first.run(&["api-keys", "list"]).fails(1);
        assert!(said.contains("sign in as a person"), "{said}");
        let said = first.run(&["teams", "list"]).fails(1);
        assert!(said.contains("`teams:read`"), "{said}");

        let overlap = ["api-keys", "rotate", "ci", "--overlap", "1h", "--quiet"];
        let second = site.script(&ann.run(&overlap).line());
        assert_eq!((works(&first), works(&second)), (0, 0));
        let rotated = ann.json(&["api-keys", "rotate", "ci"]);
        let third = site.script(&text(&rotated, "key"));
        assert_eq!((works(&second), works(&third)), (4, 0));
        let listed = ann.json(&["api-keys", "list"]);
        assert_eq!(each(&listed, "id"), [text(&rotated, "id")], "it is the same key");
        ann.run(&["api-keys", "rotate", "ci", "--overlap", "25h"]).fails(2);
        ann.run(&["api-keys", "rotate", "nightly"]).fails(1);

        ann.run(&["api-keys", "revoke", "ci"]).ok();
        let said = third.run(&["devices", "list"]).fails(4);
        assert!(said.contains("the server refused the API key"), "{said}");
        let said = ann.run(&["api-keys", "revoke", "ci"]).fails(1);
        assert!(said.contains("there is no API key `ci`"), "{said}");
        let said = ann.run(&["api-keys", "rotate", &text(&rotated, "id")]).fails(1);
        assert!(said.contains("revoked API key cannot be rotated"), "{said}");
        let listed = ann.json(&["api-keys", "list"]);
        assert!(listed[0]["revoked_at"].is_string(), "{listed}");
        let if_absent = [&create[..], &["--if-absent"]].concat();
        let anew = ann.json(&if_absent);
        assert_ne!(anew["id"], rotated["id"], "a revoked key is as good as none");
    });
}

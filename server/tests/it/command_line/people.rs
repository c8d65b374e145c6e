//! `fleetctl users`, `teams`, `roles` and `sessions`.

use serde_json::json;

use super::{Home, each, fields, on_both, parsed};
use crate::harness::{PASSWORD, text};

#[test]
fn people_are_added_changed_shut_out_and_deleted() {
    on_both(false, |site| {
        let (ann, url) = (&site.ann, site.server.url.as_str());
        let create = |email: &str, role: &str| {
            let new = ["users", "create", "--email", email, "--name", "Bob", "--role", role];
            let more = ["--password-stdin", "--output", "json"];
            ann.reading(PASSWORD, &[&new[..], &more[..]].concat())
        };
        let bob = parsed(&create("bob@example.com", "viewer").ok());
        assert_eq!(fields(&bob), ["created_at", "email", "id", "name", "role"]);
        let said = create("bob@example.com", "viewer").fails(1);
        assert!(said.contains("there is such a user with this e-mail address already"), "{said}");
        assert!(create("eve@example.com", "emperor").fails(1).contains("/role"));
        ann.run(&["users", "create", "--email", "eve@example.com", "--name", "Eve"]).fails(2);
        let listed = ann.json(&["users", "list"]);
        assert_eq!(each(&listed, "email"), ["ann@example.com", "bob@example.com"]);
        assert_eq!(each(&listed, "role"), ["owner", "viewer"]);

        ann.run(&["users", "set-role", "bob@example.com", "operator"]).ok();
        ann.run(&["users", "set-role", &text(&bob, "id"), "admin"]).ok();
        assert_eq!(each(&ann.json(&["users", "list"]), "role"), ["owner", "admin"]);
        let said = ann.run(&["users", "set-role", "nobody@example.com", "viewer"]).fails(1);
        assert!(said.contains("there is no user `nobody@example.com`"), "{said}");
        let said = ann.run(&["users", "set-role", "ann@example.com", "viewer"]).fails(1);
        assert!(said.contains("at least one owner"), "{said}");

        let bob = site.sign_in("bob@example.com");
        assert_eq!(bob.json(&["account", "show"])["role"], "admin");
        bob.run(&["users", "set-role", "bob@example.com", "owner"]).fails(1);
        ann.run(&["users", "disable", "bob@example.com"]).ok();
        bob.run(&["account", "show"]).fails(4);
        bob.sign_in(url, "bob@example.com").fails(4);
        assert!(ann.json(&["users", "list"])[1]["disabled_at"].is_string());
        ann.run(&["users", "enable", "bob@example.com"]).ok();
        bob.sign_in(url, "bob@example.com").ok();

        ann.run(&["users", "delete", "bob@example.com"]).fails(2);
        ann.run(&["users", "delete", "bob@example.com", "--yes"]).ok();
        bob.run(&["account", "show"]).fails(4);
        ann.run(&["users", "delete", "bob@example.com", "--yes"]).fails(1);
        assert_eq!(each(&ann.json(&["users", "list"]), "email"), ["ann@example.com"]);
        Home::new().run(&["users", "list"]).fails(4);
    });
}

#[test]
fn people_are_invited_and_join() {
    on_both(false, |site| {
        let (ann, url) = (&site.ann, site.server.url.as_str());
        let invite = |email| ann.run(&["users", "invite", email, "--role", "viewer", "--quiet"]);
        invite("carol@example.com").line();
        let open = ann.json(&["users", "invitations"]);
        assert_eq!(each(&open, "email"), ["carol@example.com"]);
        ann.run(&["users", "uninvite", "carol@example.com"]).ok();
        assert_eq!(ann.json(&["users", "invitations"]), json!([]));
        let token = invite("dora@example.com").line();
        let accept = ["account", "accept-invitation", "--url", url, "--name", "Dora", "--stdin"];
        let given = format!("{token}\n{PASSWORD}\n");
        let dora = Home::new();
        assert!(dora.reading(&format!("wrong\n{PASSWORD}\n"), &accept).fails(1).contains("token"));
        dora.reading(&given, &accept).ok();
        dora.reading(&given, &accept).fails(1);
        dora.sign_in(url, "dora@example.com").ok();
        assert_eq!(dora.json(&["account", "show"])["organization"], "Example");
    });
}

/// Rows in part: R14
#[test]
fn teams_are_made_given_members_renamed_and_deleted() {
    on_both(false, |site| {
        let ann = &site.ann;
        site.person("bob", "viewer");
        let lab = ann.json(&["teams", "create", "Lab"]);
        assert_eq!(fields(&lab), ["created_at", "device_count", "id", "name"]);
        let said = ann.run(&["teams", "create", "Lab"]).fails(1);
        assert!(said.contains("there is such a team with this name already"), "{said}");
        let id = ann.run(&["teams", "create", "Kiosks", "--quiet"]).line();
        let teams = ann.json(&["teams", "list"]);
        assert_eq!(each(&teams, "name"), ["Lab", "Kiosks"]);
        assert_eq!(text(&teams[1], "id"), id);

        ann.run(&["teams", "set-role", "Lab", "bob@example.com", "operator"]).ok();
        let members = ann.json(&["teams", "members", "Lab"]);
        assert_eq!(fields(&members[0]), ["email", "name", "role", "user_id"]);
        assert_eq!(each(&members, "role"), ["operator"]);
        assert_eq!(ann.json(&["teams", "members", "Kiosks"]), json!([]));
        ann.run(&["teams", "remove-role", "Lab", "bob@example.com"]).ok();
        ann.run(&["teams", "remove-role", "Lab", "bob@example.com"]).fails(1);
        assert_eq!(ann.json(&["teams", "members", "Lab"]), json!([]));
        let said = ann.run(&["teams", "set-role", "Attic", "bob@example.com", "viewer"]).fails(1);
        assert!(said.contains("there is no team `Attic`"), "{said}");

        ann.run(&["teams", "rename", "Kiosks", "Lab"]).fails(1);
        ann.run(&["teams", "rename", "Kiosks", "Tills"]).ok();
        ann.run(&["teams", "rename", "Kiosks", "Tills"]).fails(1);
        assert_eq!(each(&ann.json(&["teams", "list"]), "name"), ["Lab", "Tills"]);
        ann.run(&["teams", "delete", "Tills"]).fails(2);
        ann.run(&["teams", "delete", "Tills", "--yes"]).ok();
        assert_eq!(each(&ann.json(&["teams", "list"]), "name"), ["Lab"]);
        let bob = site.sign_in("bob@example.com");
        let said = bob.run(&["teams", "create", "Bob's"]).fails(1);
        assert!(said.contains("`teams:write`"), "{said}");
    });
}

fn update<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["roles", "update", "help-desk"][..], more].concat()
}

#[test]
fn roles_are_made_listed_changed_and_deleted_once_nobody_has_them() {
    on_both(false, |site| {
        let ann = &site.ann;
        let bob = site.person("bob", "viewer");
        let create = ["roles", "create", "help-desk", "--permission", "users:read,devices:read"];
        let made = ann.json(&create);
        let permissions = json!(["devices:read", "users:read"]);
        let expected = json!({"name": "help-desk", "permissions": permissions, "built_in": false});
        assert_eq!(made, expected);
        ann.run(&create).fails(1);
        ann.run(&["roles", "create", "pilot", "--permission", "devices:fly"]).fails(2);
        ann.run(&["roles", "create", "Help Desk"]).fails(2);
        let listed = ann.json(&["roles", "list"]);
        assert_eq!(each(&listed, "name"), ["viewer", "operator", "admin", "owner", "help-desk"]);

        ann.run(&["users", "set-role", "bob@example.com", "help-desk"]).ok();
        assert_eq!(each(&bob.json(&["users", "list"]), "role"), ["owner", "help-desk"]);
        let about = ["--description", "First line", "--add-permission", "teams:read,audit:read"];
        let changed = ann.json(&update(&about));
        assert_eq!(changed["description"], "First line");
        let all = json!(["audit:read", "devices:read", "teams:read", "users:read"]);
        assert_eq!(changed["permissions"], all);
        assert_eq!(bob.json(&["teams", "list"]), json!([]));
        ann.run(&update(&["--remove-permission", "teams:read"])).ok();
        assert!(bob.run(&["teams", "list"]).fails(1).contains("`teams:read`"));
        let none = ann.json(&update(&["--permissions", "--description", ""]));
        assert_eq!(none, json!({"name": "help-desk", "permissions": [], "built_in": false}));
        bob.run(&["users", "list"]).fails(1);
        ann.run(&update(&["--permissions", "users:read,devices:read"])).ok();
        bob.run(&["users", "list"]).ok();
        ann.run(&update(&[])).fails(2);
        ann.run(&update(&["--permissions", "users:read", "--add-permission", "teams:read"]))
            .fails(2);
        let viewer = ["roles", "update", "viewer", "--add-permission", "users:read"];
        assert!(ann.run(&viewer).fails(1).contains("every organization has this role"));
        bob.run(&update(&["--add-permission", "teams:read"])).fails(1);
        ann.run(&["roles", "update", "nobodys", "--description", "x"]).fails(1);
        let said = ann.run(&["roles", "delete", "help-desk", "--yes"]).fails(1);
        assert!(said.contains("give them another first"), "{said}");
        ann.run(&["roles", "delete", "viewer", "--yes"]).fails(1);
        ann.run(&["users", "set-role", "bob@example.com", "viewer"]).ok();
        bob.run(&["users", "list"]).fails(1);
        ann.run(&["roles", "delete", "help-desk"]).fails(2);
        ann.run(&["roles", "delete", "help-desk", "--yes"]).ok();
        ann.run(&["roles", "delete", "help-desk", "--yes"]).fails(1);
        assert_eq!(ann.json(&["roles", "list"]).as_array().unwrap().len(), 4);
    });
}

/// Rows in part: E13
#[test]
fn sessions_are_listed_and_revoked() {
    on_both(false, |site| {
        let ann = &site.ann;
        let elsewhere = site.sign_in("ann@example.com");
        let listed = ann.json(&["sessions", "list"]);
        let current = |is: bool| {
            let listed = listed.as_array().unwrap().iter();
            listed.filter(|it| it["current"] == is).collect::<Vec<_>>()
        };
        assert_eq!((current(true).len(), current(false).len()), (1, 1), "{listed}");
        assert_eq!(
            fields(&listed[0]),
            [
                "address",
                "client",
                "created_at",
                "current",
                "device",
                "expires_at",
                "id",
                "last_action_at",
                "state",
                "user_agent",
            ]
        );
        assert_eq!(each(&listed, "client"), ["cli", "cli"]);
        let other = text(current(false)[0], "id");
        assert_eq!(text(&ann.json(&["sessions", "show", &other]), "id"), other);
        ann.run(&["sessions", "revoke", &other]).ok();
        let said = elsewhere.run(&["account", "show"]).fails(4);
        assert!(said.contains("the session has ended"), "{said}");
        ann.run(&["sessions", "revoke", &other]).fails(1);
        ann.run(&["sessions", "revoke", "laptop"]).fails(2);
        assert_eq!(ann.json(&["sessions", "list"]).as_array().unwrap().len(), 1);

        let bob = site.person("bob", "viewer");
        let bobs = ann.json(&["sessions", "list", "--user", "bob@example.com"]);
        assert_eq!(bobs.as_array().unwrap().len(), 1);
        bob.run(&["sessions", "list", "--user", "ann@example.com"]).fails(1);
        let one = text(&bobs[0], "id");
        ann.run(&["sessions", "revoke", &one, "--user", "bob@example.com"]).ok();
        bob.run(&["account", "show"]).fails(4);
        bob.sign_in(&site.server.url, "bob@example.com").ok();
        ann.run(&["sessions", "revoke", "--user", "bob@example.com", "--all"]).fails(2);
        ann.run(&["sessions", "revoke", "--user", "bob@example.com", "--all", "--yes"]).ok();
        bob.run(&["account", "show"]).fails(4);
        ann.run(&["sessions", "revoke", "--all", "--yes"]).ok();
        ann.run(&["account", "show"]).fails(4);
    });
}

//! `fleetctl orgs`, of somebody who belongs to two.

use super::{Home, each, fields, on_both};
use crate::harness::{PASSWORD, text};

/// Rows: O7
#[test]
fn a_person_of_two_organizations_switches_between_them() {
    on_both(true, |site| {
        let (ann, url) = (&site.ann, site.server.url.as_str());
        let cat = Home::new();
        let who = ["--email", "cat@example.org", "--name", "Cat", "--organization", "Other"];
        let register = ["account", "register", "--url", url, "--password-stdin"];
        cat.reading(PASSWORD, &[&register[..], &who[..]].concat()).ok();
        cat.sign_in(url, "cat@example.org").fails(4);
        let given = format!("{}\n", site.mailed_token());
        cat.reading(&given, &["account", "verify-email", "--url", url, "--stdin"]).ok();
        cat.sign_in(url, "cat@example.org").ok();
        let own = cat.json(&["orgs", "list"]);
        assert_eq!(fields(&own[0]), ["current", "org_id", "organization", "role"]);
        assert_eq!(each(&own, "organization"), ["Other"]);
        cat.run(&["orgs", "switch", "Example"]).fails(1);

        let invited = ann.run(&["users", "invite", "cat@example.org", "--role", "viewer"]);
        assert_eq!(invited.ok(), "", "the mail has the token");
        let given = format!("{}\n{PASSWORD}\n", site.mailed_token());
        let accept = ["account", "accept-invitation", "--url", url, "--have-account", "--stdin"];
        cat.reading(&given, &accept).ok();
        assert_eq!(each(&cat.json(&["orgs", "list"]), "role"), ["owner", "viewer"]);
        cat.run(&["teams", "create", "Cats"]).ok();

        let there = cat.run(&["orgs", "switch", "Example"]);
        let told = "signed in to Example as cat@example.org (viewer)";
        assert!(there.stderr.contains(told), "{there:?}");
        there.ok();
        let shown = cat.json(&["orgs", "show"]);
        assert_eq!(text(&shown, "name"), "Example");
        assert_eq!(shown["id"], ann.json(&["orgs", "show"])["id"]);
        assert_eq!(cat.json(&["teams", "list"]).as_array().unwrap().len(), 0);
        let said = cat.run(&["orgs", "rename", "Cat's"]).fails(1);
        assert!(said.contains("`organization:write`"), "{said}");
        cat.run(&["orgs", "switch", "Example"]).fails(1);
        cat.run(&["orgs", "switch", &text(&own[0], "org_id")]).ok();
        assert_eq!(each(&cat.json(&["teams", "list"]), "name"), ["Cats"]);
        ann.run(&["orgs", "rename", "Example Ltd"]).ok();
        assert_eq!(each(&cat.json(&["orgs", "list"]), "organization"), ["Other", "Example Ltd"]);
        ann.run(&["orgs", "switch", "Other"]).fails(1);
    });
}

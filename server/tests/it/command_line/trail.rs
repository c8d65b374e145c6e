//! `fleetctl audit`, and somebody who writes to the database behind the server's back.

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use wire::audit::{AuditEvent, TrailCheck};

use super::{Site, each, on_both};
use crate::harness::runtime;

fn sql(site: &Site, sql: String) {
    sqlx::any::install_default_drivers();
    let rows = runtime().block_on(async {
        let mut connection = AnyConnection::connect(&site.database).await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap().rows_affected()
    });
    assert_eq!(rows, 1);
}

/// Rows: A7
#[test]
fn the_trail_is_listed_exported_and_verified_and_an_edited_row_is_found() {
    on_both(false, |site| {
        let ann = &site.ann;
        for name in ["Lab", "Kiosks", "Attic"] {
            ann.run(&["teams", "create", name]).ok();
        }
        let listed = ann.json(&["audit", "list", "--event", "team.created"]);
        let listed: Vec<AuditEvent> = serde_json::from_value(listed).unwrap();
        let names: Vec<_> = listed.iter().map(|event| &event.changes["name"]).collect();
        assert_eq!(names, ["Lab", "Kiosks", "Attic"]);
        assert!(listed.iter().all(|event| event.route == "POST /teams"), "{listed:?}");
        let whole = ann.run(&["audit", "export"]).ok();
        let mut check = TrailCheck::default();
        for line in whole.lines() {
            check.take(&serde_json::from_str(line).unwrap()).unwrap();
        }
        let second = &listed[1];
        let after = second.seq.to_string();
        let rest = ann.run(&["audit", "export", "--after", &after]).ok();
        assert!(whole.ends_with(&rest) && !rest.contains("Kiosks"), "{rest}");

        let head = ann.run(&["audit", "verify", "--quiet"]).line();
        assert_eq!(head, format!("{}:{}", check.end().seq, check.end().hash));
        let bob = site.person("bob", "viewer");
        let said = bob.run(&["audit", "verify"]).fails(1);
        assert!(said.contains("`audit:read`"), "{said}");
        ann.run(&["audit", "verify", "--head", &head]).ok();
        let refused = ann.json(&["audit", "list", "--event", "access.refused"]);
        assert_eq!(each(&refused, "outcome"), ["this needs the permission `audit:read`"]);

        let actor = second.actor.replace('\'', "''");
        let edit = |actor: &str| {
            format!("UPDATE audit_events SET actor = '{actor}' WHERE hash = '{}'", second.hash)
        };
        sql(site, edit("user nobody"));
        for args in [vec!["audit", "verify"], vec!["audit", "verify", "--quiet"]] {
            let said = ann.run(&args).fails(1);
            let told = format!("the audit trail is broken: event {} was changed", second.seq);
            assert!(said.contains(&told), "{said}");
        }
        sql(site, edit(&actor));
        ann.run(&["audit", "verify", "--head", &head]).ok();
        sql(site, format!("DELETE FROM audit_events WHERE hash = '{}'", second.hash));
        let said = ann.run(&["audit", "verify"]).fails(1);
        assert!(said.contains("does not follow event"), "{said}");
    });
}

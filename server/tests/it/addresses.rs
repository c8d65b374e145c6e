//! Addresses that were stored before they were compared as they are today, once a server starts.

use serde_json::{Value, json};
use sqlx::Row as _;
use wire::Role;

use crate::{
    accounts::{mailing, mails, token},
    binary::fleet_server,
    harness::{PASSWORD, Person, TestServer},
};

crate::on_both_databases! {
    an_old_address_is_brought_into_its_form_of_today_once,
    accounts_with_one_address_stay_as_they_are_until_one_of_them_goes,
    what_was_sent_to_an_old_address_is_asked_for_again,
    a_reset_that_was_mailed_to_an_old_address_ends_with_it,
}

/// As it was stored once: decomposed.
const OLD: &str = "rene\u{301}e@example.com";
const TODAY: &str = "ren\u{e9}e@example.com";

/// Puts an address in the place of another, as if no server had looked through them yet.
pub(crate) async fn store(server: &TestServer, before: &str, after: &str) {
    server.sql(&format!("UPDATE users SET email = '{after}' WHERE email = '{before}'")).await;
    server.sql("DELETE FROM address_folding").await;
}

async fn stored(server: &TestServer) -> Vec<String> {
    let rows = server.sql("SELECT email FROM users").await;
    let mut stored: Vec<String> = rows.iter().map(|row| row.get("email")).collect();
    stored.sort();
    stored
}

async fn refolded(server: &TestServer, by: &Person) -> Vec<Value> {
    let events = server.get("/audit?event=account.email_refolded").by(by).await.expect(200).json();
    events["items"].as_array().unwrap().clone()
}

async fn an_old_address_is_brought_into_its_form_of_today_once(server: TestServer) {
    let owner = server.owner().await;
    server.add_user(&owner, "ann@example.com", Role::Viewer).await;
    server.other_organization().await;
    server.sql("UPDATE users SET email_verified_at = 1").await;
    store(&server, "ann@example.com", OLD).await;
    // Of full width, and in another organization.
    store(&server, "other@example.org", "\u{ff4f}ther@example.org").await;
    let login = json!({"email": TODAY, "password": PASSWORD, "client": "cli"});
    server.post("/auth/login").json(login).await.expect(401);

    let today = server.second_node().await;
    let ann = today.login(TODAY).await;
    assert_eq!(today.login(OLD).await.id, ann.id);
    let theirs = today.login("other@example.org").await;
    assert_eq!(stored(&server).await, ["other@example.org", "owner@example.com", TODAY]);
    let shown = "SELECT email FROM users WHERE email_verified_at IS NOT NULL";
    assert_eq!(server.sql(shown).await.len(), 1, "nobody has answered a mail to what is new");
    let events = refolded(&server, &owner).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["changes"], json!({"before": OLD, "after": TODAY}));
    assert_eq!(events[0]["subject"], format!("user {}", ann.id));
    assert_eq!((&events[0]["actor"], &events[0]["outcome"]), (&json!("server"), &json!("ok")));
    assert_eq!(refolded(&today, &theirs).await.len(), 1);

    // It is done, and no start looks again.
    let again = format!("UPDATE users SET email = '{OLD}' WHERE email = '{TODAY}'");
    server.sql(&again).await;
    server.second_node().await;
    assert!(stored(&server).await.contains(&OLD.to_owned()));
    assert_eq!(refolded(&server, &owner).await.len(), 1);
}

/// What the program says when it opens the server's database.
fn warned(server: &TestServer) -> Vec<String> {
    let data = server.dir.path().join("data");
    let mut list = fleet_server();
    list.args(["audit", "list", "--database", &server.database, "--data-dir"]).arg(data);
    let output = list.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
}

async fn accounts_with_one_address_stay_as_they_are_until_one_of_them_goes(server: TestServer) {
    let owner = server.owner().await;
    let mut ids = Vec::new();
    for name in ["ann", "bob", "carl", "dora"] {
        let email = format!("{name}@example.com");
        server.add_user(&owner, &email, Role::Viewer).await;
        ids.push(server.login(&email).await.id);
    }
    // One stored as it would be today and one as it was once, and two as they were.
    let (carls, doras) = ("zoe\u{301}@example.com", "z\u{ff4f}\u{e9}@example.com");
    for (before, after) in [("ann", OLD), ("bob", TODAY), ("carl", carls), ("dora", doras)] {
        store(&server, &format!("{before}@example.com"), after).await;
    }
    let before = stored(&server).await;
    for _ in 0..2 {
        let started = server.second_node().await;
        assert_eq!(stored(&server).await, before);
        let events = refolded(&started, &owner).await;
        let subjects: Vec<_> = events.iter().map(|event| &event["subject"]).collect();
        let [ann, bob, carl, dora] = &ids[..] else { panic!("four people: {ids:?}") };
        assert_eq!(
            subjects,
            [&format!("users {ann} and {bob}"), &format!("users {carl} and {dora}")]
        );
        assert!(events.iter().all(|event| event["outcome"] == "taken"), "{events:?}");
    }
    server.login(TODAY).await;

    let gone = server.delete(&format!("/users/{}", ids[1])).by(&owner).await;
    gone.expect(204);
    let started = server.second_node().await;
    assert_eq!(started.login(TODAY).await.id, ids[0]);
    let warned_of = warned(&server);
    assert_eq!(warned_of.len(), 1, "{warned_of:?}");
    assert!(warned_of[0].contains(&ids[2]) && warned_of[0].contains(&ids[3]), "{warned_of:?}");
    assert!(!warned_of[0].contains("example.com"), "{warned_of:?}");
    server.sql(&format!("DELETE FROM users WHERE id = '{}'", ids[3])).await;
    assert!(warned(&server).is_empty());
    let expected = ["owner@example.com", TODAY, "zo\u{e9}@example.com"];
    assert_eq!(stored(&server).await, expected);
}

async fn what_was_sent_to_an_old_address_is_asked_for_again(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    let invite = async || {
        let invitation = json!({"email": TODAY, "role": "viewer"});
        server.post("/invitations").by(&owner).json(invitation).await.expect(201);
        let token = token(mails(&server).await.last().unwrap());
        json!({"token": token, "name": "Ren", "password": PASSWORD})
    };
    let accept = invite().await;
    server.sql(&format!("UPDATE invitations SET email = '{OLD}'")).await;
    let refused = server.post("/auth/accept-invitation").json(accept).await;
    refused.expect(400).problem("token-invalid");
    let accept = invite().await;
    server.post("/auth/accept-invitation").json(accept).await.expect(204);

    let wish = json!({"email": "zo\u{e9}@example.com", "name": "Z", "password": PASSWORD,
                      "organization": "Ours"});
    server.post("/auth/register").json(wish).await.expect(202);
    let registered = json!({"token": token(mails(&server).await.last().unwrap())});
    server.sql("UPDATE registrations SET email = 'zoe\u{301}@example.com'").await;
    let change = json!({"email": "zo\u{eb}@example.com", "current_password": PASSWORD});
    server.post("/auth/email").by(&owner).json(change).await.expect(202);
    let changed = json!({"token": token(mails(&server).await.last().unwrap())});
    server.sql("UPDATE one_time_tokens SET email = 'zoe\u{308}@example.com'").await;
    for token in [registered, changed] {
        let refused = server.post("/auth/verify-email").json(token).await;
        refused.expect(400).problem("token-invalid");
    }
    assert_eq!(stored(&server).await, ["owner@example.com", TODAY]);
}

async fn a_reset_that_was_mailed_to_an_old_address_ends_with_it(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    server.add_user(&owner, TODAY, Role::Viewer).await;
    let forgotten = json!({"email": TODAY});
    server.post("/auth/forgot-password").json(forgotten).await.expect(202);
    let token = token(mails(&server).await.last().unwrap());
    store(&server, TODAY, OLD).await;
    server.sql(&format!("UPDATE one_time_tokens SET email = '{OLD}'")).await;
    let today = server.second_node().await;
    assert_eq!(stored(&today).await, ["owner@example.com", TODAY]);
    let reset = json!({"token": token, "new_password": "Quartz heron, 9 lanterns"});
    let refused = today.post("/auth/reset-password").json(reset).await;
    refused.expect(400).problem("token-invalid");
    assert_eq!(stored(&today).await, ["owner@example.com", TODAY]);
    today.login(TODAY).await;
}

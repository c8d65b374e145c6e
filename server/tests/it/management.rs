//! People and teams.

use futures_util::future::join_all;
use serde_json::json;
use wire::Role;

use crate::harness::{PASSWORD, Person, TestServer, machine};

crate::on_both_databases! {
    nobody_grants_a_role_above_their_own,
    the_last_owner_stays,
    two_owners_who_delete_each_other_leave_one,
    addresses_are_unique_in_any_case,
    weak_or_endless_passwords_are_refused,
    team_names_are_unique,
    a_team_is_renamed_and_keeps_what_it_has,
}

fn new_user(email: &str, role: &str) -> serde_json::Value {
    json!({"email": email, "name": "New", "role": role, "password": PASSWORD})
}

async fn nobody_grants_a_role_above_their_own(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let add = async |by: &Person, email: &str, role: &str| {
        server.post("/users").by(by).json(new_user(email, role)).await
    };
    add(&admin, "a@x.org", "owner").await.expect(403).problem("forbidden");
    add(&admin, "b@x.org", "admin").await.expect(201);
    add(&owner, "c@x.org", "owner").await.expect(201);
    add(&owner, "d@x.org", "emperor").await.expect(422);
    server.delete(&format!("/users/{}", owner.id)).by(&admin).await.expect(403);
}

async fn the_last_owner_stays(server: TestServer) {
    let owner = server.owner().await;
    let path = format!("/users/{}", owner.id);
    server.delete(&path).by(&owner).await.expect(409).problem("last-owner");
    let second = server.person(&owner, Role::Owner).await;
    server.delete(&path).by(&second).await.expect(204);
    server.get("/auth/user").by(&owner).await.expect(401);
}

async fn two_owners_who_delete_each_other_leave_one(server: TestServer) {
    let one = server.owner().await;
    let two = server.person(&one, Role::Owner).await;
    let [a, b] = [(&one, &two), (&two, &one)]
        .map(|(by, whom)| server.delete(&format!("/users/{}", whom.id)).by(by).into_future());
    let replies = join_all([a, b]).await;
    let deleted = replies.iter().filter(|reply| reply.status == 204).count();
    assert_eq!(deleted, 1, "{replies:?}");
}

async fn addresses_are_unique_in_any_case(server: TestServer) {
    let owner = server.owner().await;
    server.post("/users").by(&owner).json(new_user("Ann@X.org", "viewer")).await.expect(201);
    let reply = server.post("/users").by(&owner).json(new_user("ann@x.ORG", "viewer")).await;
    reply.expect(409).problem("conflict");
    for bad in ["ann", "@x", "ann@", "a b@x", "a@b@c", "a\u{0}@x.org", &"x".repeat(300)] {
        server.post("/users").by(&owner).json(new_user(bad, "viewer")).await.expect(422);
    }
}

async fn weak_or_endless_passwords_are_refused(server: TestServer) {
    let owner = server.owner().await;
    let add = async |email: &str, password: String| {
        let new = json!({"email": email, "name": "N", "role": "viewer", "password": password});
        server.post("/users").by(&owner).json(new).await
    };
    add("a@x.org", format!("Aa1!{}", "x".repeat(7))).await.expect(422);
    add("a@x.org", format!("Aa1!{}", "x".repeat(125))).await.expect(422);
    add("a@x.org", format!("Aa1!{}", "x".repeat(10_000))).await.expect(422);
    add("a@x.org", format!("Aa1!{}", "🦀".repeat(8))).await.expect(201);
    let longest = format!("Aa1!{}", "ä".repeat(124));
    add("b@x.org", longest.clone()).await.expect(201);
    let almost = longest.trim_end_matches('ä').to_owned() + &"ä".repeat(123);
    let almost = json!({"email": "b@x.org", "password": almost});
    server.post("/auth/login").json(almost).await.expect(401);
    let login = json!({"email": "b@x.org", "password": longest});
    server.post("/auth/login").json(login).await.expect(200);
}

async fn team_names_are_unique(server: TestServer) {
    let owner = server.owner().await;
    server.post("/teams").by(&owner).json(json!({"name": "Lab"})).await.expect(201);
    let reply = server.post("/teams").by(&owner).json(json!({"name": "Lab"})).await;
    reply.expect(409).problem("conflict");
    for bad in ["", "   ", "a\nb", &"x".repeat(101)] {
        server.post("/teams").by(&owner).json(json!({"name": bad})).await.expect(422);
    }
}

/// Rows: R14
async fn a_team_is_renamed_and_keeps_what_it_has(server: TestServer) {
    let owner = server.owner().await;
    let make = async |name: &str| {
        let made = server.post("/teams").by(&owner).json(json!({"name": name})).await;
        made.expect(201).text("id")
    };
    let (lab, attic) = (make("Lab").await, make("Attic").await);
    let (_, secret) = server.secret(&owner, json!({"team_id": lab})).await;
    server.enroll(&secret, machine("a")).await.expect(200);
    let rename = async |by: &Person, id: &str, change: serde_json::Value| {
        server.call("PATCH", &format!("/teams/{id}")).by(by).json(change).await
    };
    let renamed = rename(&owner, &lab, json!({"name": "Workshop"})).await.expect(200).json();
    assert_eq!((&renamed["name"], &renamed["device_count"]), (&json!("Workshop"), &json!(1)));
    assert_eq!(server.get(&format!("/teams/{lab}")).by(&owner).await.json(), renamed);
    server.enroll(&secret, machine("b")).await.expect(200);
    let devices = server.get(&format!("/devices?team_id={lab}")).by(&owner).await.json();
    assert_eq!(devices["items"].as_array().unwrap().len(), 2);
    let events = server.get("/audit?event=team.renamed").by(&owner).await.json();
    assert_eq!(events["items"][0]["changes"], json!({"before": "Lab", "after": "Workshop"}));

    let taken = rename(&owner, &attic, json!({"name": "Workshop"})).await;
    taken.expect(409).problem("conflict");
    rename(&owner, &attic, json!({"name": "Lab"})).await.expect(200);
    rename(&owner, &attic, json!({"name": "Lab"})).await.expect(200);
    rename(&owner, &attic, json!({})).await.expect(200);
    for bad in ["", "   ", "a\nb", &"x".repeat(101)] {
        rename(&owner, &attic, json!({"name": bad})).await.expect(422);
    }
    rename(&owner, &attic, json!({"colour": "red"})).await.expect(422);
    let events = server.get("/audit?event=team.renamed").by(&owner).await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2, "what changes nothing is no event");
    let admin = server.person(&owner, Role::Admin).await;
    rename(&admin, &attic, json!({"name": "Loft"})).await.expect(200);
    for role in [Role::Operator, Role::Viewer] {
        let person = server.person(&owner, role).await;
        // A role in the team does not do, as for making one.
        let member = format!("/teams/{attic}/members/{}", person.id);
        let of_team = json!({"role": "admin"});
        server.call("PUT", &member).by(&owner).json(of_team).await.expect(200);
        let refused = rename(&person, &attic, json!({"name": "Mine"})).await;
        refused.expect(403).problem("forbidden");
    }
}

//! People and teams.

use futures_util::future::join_all;
use serde_json::json;
use wire::Role;

use crate::harness::{PASSWORD, Person, TestServer};

crate::on_both_databases! {
    nobody_grants_a_role_above_their_own,
    the_last_owner_stays,
    two_owners_who_delete_each_other_leave_one,
    addresses_are_unique_in_any_case,
    weak_or_endless_passwords_are_refused,
    team_names_are_unique,
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

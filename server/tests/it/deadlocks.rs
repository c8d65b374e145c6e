//! What PostgreSQL does at the same moment waits for one another, and never in a circle.

use futures_util::future::join_all;
use serde_json::json;
use wire::Role;

use crate::harness::{Engine, PASSWORD, Person, TestServer, runtime};

/// Two organizations' trails are written to in one transaction, in either direction.
#[test]
fn people_who_switch_between_two_organizations_in_both_directions_all_arrive() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let owner = server.owner().await;
        let other = server.other_organization().await;
        let ours = server.get("/organization").by(&owner).await.text("id");
        let theirs = server.get("/organization").by(&other).await.text("id");
        let mut travellers = Vec::new();
        for n in 0..6 {
            let person = server.person(&owner, Role::Viewer).await;
            let join = format!(
                "INSERT INTO memberships (org_id, user_id, role, created_at)
                 VALUES ('{theirs}', '{}', 'viewer', 9999999999999)",
                person.id
            );
            server.sql(&join).await;
            let there = n % 2 == 0;
            let at = if there { switch(&server, &person, &theirs).await } else { person };
            travellers.push((at, there));
        }
        for _ in 0..20 {
            let switches = travellers.iter().map(async |(person, there)| {
                let target = if *there { &ours } else { &theirs };
                (switch(&server, person, target).await, !there)
            });
            travellers = join_all(switches).await;
        }
    });
}

async fn switch(server: &TestServer, person: &Person, org_id: &str) -> Person {
    let switch = json!({"org_id": org_id});
    let reply = server.post("/auth/org/switch").by(person).json(switch).await;
    Person::from(&reply.expect(200).json())
}

/// A sign-in writes to the person's row and to the trail, and so does a change of the person.
#[test]
fn people_sign_in_while_their_role_is_changed() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let owner = server.owner().await;
        let person = server.person(&owner, Role::Viewer).await;
        let login = async |network: usize| {
            let login = json!({"email": person.email, "password": PASSWORD, "client": "cli"});
            let address = format!("192.0.2.{network}");
            server.post("/auth/login").from(&address).json(login).await.expect(200);
        };
        let change = async |n: usize| {
            let role = json!({"role": if n.is_multiple_of(2) { "operator" } else { "viewer" }});
            let path = format!("/users/{}", person.id);
            server.call("PATCH", &path).by(&owner).json(role).await.expect(200);
        };
        // From networks that nobody knows, so many at once would be taken for guesses.
        for network in 0..40 {
            login(network).await;
        }
        tokio::join!(join_all((0..40).map(login)), join_all((0..40).map(change)));
    });
}

/// Groups that share devices, and devices that enroll meanwhile.
#[test]
fn groups_of_devices_are_decommissioned_while_others_enroll() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let owner = server.owner().await;
        let (_, secret) = server.secret(&owner, json!({})).await;
        let machines: Vec<_> = (0..20).map(|n| format!("m{n}")).collect();
        for round in 0..4 {
            let enrolled = join_all(machines.iter().map(async |name| {
                server.enroll(&secret, crate::harness::machine(name)).await.status.as_u16()
            }));
            let groups = (0..6).map(async |n| {
                let which = json!({"tag": if n % 2 == 0 { "even" } else { "all" }});
                server.post("/devices/decommission").by(&owner).json(which).await.expect(200);
            });
            let (enrolled, _) = tokio::join!(enrolled, join_all(groups));
            assert!(enrolled.iter().all(|status| [200, 401].contains(status)), "{enrolled:?}");
            if round == 0 {
                server.sql("UPDATE devices SET tags = ',all,even,'").await;
            }
            server.sql("UPDATE devices SET state = 'accepted'").await;
        }
    });
}

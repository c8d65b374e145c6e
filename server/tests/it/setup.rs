//! The first owner: a code that works once, and nothing else.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestServer};

crate::on_both_databases! {
    a_setup_code_makes_one_owner_even_when_fifty_race,
    without_the_code_nobody_registers,
    a_restart_makes_a_fresh_code,
    a_code_ends_after_a_day,
    once_somebody_exists_the_route_is_gone,
    guesses_are_limited,
    wrong_fields_do_not_use_the_code_up,
}

fn registration(code: &str) -> Value {
    json!({"setup_code": code, "email": "Owner@Example.com", "name": "Owner", "password": PASSWORD,
           "organization": "Acme", "client": "cli"})
}

async fn a_setup_code_makes_one_owner_even_when_fifty_race(server: TestServer) {
    let code = server.fleet.new_setup_code().await.unwrap().unwrap();
    let replies = join_all((0..50).map(|n| {
        let mut request = registration(&code.0);
        request["email"] = format!("owner{n}@example.com").into();
        let from = format!("192.0.2.{n}");
        server.post("/auth/register").json(request).from(&from).into_future()
    }))
    .await;
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, 1);
    assert!(replies.iter().all(|reply| [201, 403, 404, 503].contains(&reply.status.as_u16())));
    assert_eq!(server.fleet.new_setup_code().await.unwrap().map(|code| code.0.clone()), None);
}

async fn without_the_code_nobody_registers(server: TestServer) {
    server.fleet.new_setup_code().await.unwrap().unwrap();
    for code in ["", "AAAA-BBBB-CCCC", "\u{0}", "💥💥💥💥💥💥💥💥"] {
        let reply = server.post("/auth/register").json(registration(code)).await;
        reply.expect(403).problem("wrong-setup-code");
    }
}

async fn a_restart_makes_a_fresh_code(server: TestServer) {
    let old = server.fleet.new_setup_code().await.unwrap().unwrap();
    let new = server.fleet.new_setup_code().await.unwrap().unwrap();
    let reply = server.post("/auth/register").json(registration(&old.0)).await;
    reply.expect(403);
    let typed = new.0.to_lowercase().replace('-', " ");
    let reply = server.post("/auth/register").json(registration(&typed)).await;
    let made = reply.expect(201).json();
    assert_eq!(made["user"]["role"], "owner");
    assert_eq!(made["user"]["email"], "owner@example.com");
    assert_eq!(made["user"]["organization"], "Acme");
}

async fn a_code_ends_after_a_day(server: TestServer) {
    let code = server.fleet.new_setup_code().await.unwrap().unwrap();
    server.pass(24 * 60 * 60);
    let reply = server.post("/auth/register").json(registration(&code.0)).await;
    reply.expect(403).problem("wrong-setup-code");
    let fresh = server.fleet.new_setup_code().await.unwrap().unwrap();
    server.pass(24 * 60 * 60 - 1);
    server.post("/auth/register").json(registration(&fresh.0)).await.expect(201);
}

async fn once_somebody_exists_the_route_is_gone(server: TestServer) {
    server.owner().await;
    let reply = server.post("/auth/register").json(registration("AAAA-BBBB-CCCC")).await;
    reply.expect(404).problem("not-found");
}

async fn guesses_are_limited(server: TestServer) {
    let code = server.fleet.new_setup_code().await.unwrap().unwrap();
    for _ in 0..10 {
        server.post("/auth/register").json(registration("AAAA-BBBB-CCCC")).await.expect(403);
    }
    let reply = server.post("/auth/register").json(registration(&code.0)).await;
    assert_eq!(reply.expect(429).problem("too-many-attempts").header("retry-after"), Some("900"));
    server.pass(900);
    server.post("/auth/register").json(registration(&code.0)).await.expect(201);
}

async fn wrong_fields_do_not_use_the_code_up(server: TestServer) {
    let code = server.fleet.new_setup_code().await.unwrap().unwrap();
    let mut bad = registration(&code.0);
    bad["email"] = "nobody".into();
    bad["password"] = "Short-1".into();
    bad["name"] = "\u{0}".into();
    let reply = server.post("/auth/register").json(bad).await;
    let problem = reply.expect(422).problem("invalid-fields").json();
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/email", "/name", "/password"]);
    server.post("/auth/register").json(registration(&code.0)).await.expect(201);
}

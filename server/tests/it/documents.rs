//! What the server says about itself: OpenAPI, the pages of problems, health.

use std::collections::BTreeSet;

use axum::body::Body;
use serde_json::{Value, json};
use server::{
    Config,
    config::Period,
    http::{openapi, problems},
};
use snapbox::{Data, assert_data_eq};
use wire::Role;

use crate::harness::{Call, Reply, TestServer, machine, text};

crate::on_both_databases! {
    readiness_follows_the_database,
    every_problem_has_a_page,
    openapi_is_served_to_anybody,
    every_refusal_is_a_problem_that_says_all_of_it,
}

/// Rows in part: E16
async fn readiness_follows_the_database(server: TestServer) {
    server.get("/health/live").await.expect(200);
    server.get("/health/ready").await.expect(200);
    server.fleet.close().await;
    server.get("/health/live").await.expect(200);
    let reply = server.get("/health/ready").await;
    assert_eq!(reply.expect(503).problem("unavailable").header("retry-after"), Some("1"));
    let login = json!({"email": "a@x.org", "password": "x"});
    server.post("/auth/login").json(login).await.expect(503);
}

async fn every_problem_has_a_page(server: TestServer) {
    for kind in problems::ALL {
        let page = server.get(&kind.uri()).await;
        assert_eq!(page.expect(200).header("content-type"), Some("text/markdown; charset=utf-8"));
        assert!(String::from_utf8_lossy(&page.body).contains(kind.title));
    }
    server.get("/problems/none-such").await.expect(404).problem("not-found");
}

/// Rows in part: E16
async fn openapi_is_served_to_anybody(server: TestServer) {
    let served = server.get("/openapi.json").await.expect(200).json();
    assert_eq!(served, serde_json::to_value(openapi::document()).unwrap());
}

/// Rows in part: E17
async fn every_refusal_is_a_problem_that_says_all_of_it(server: TestServer) {
    let strict = |config: &mut Config| {
        config.limits.login_attempts = 1;
        config.limits.body_timeout = Period::seconds(1);
    };
    let server = TestServer::start_with(server.engine, strict).await;
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    server.enroll(&secret, machine("a")).await.expect(200);
    let team = json!({"name": "T"});
    server.post("/teams").by(&owner).json(team.clone()).await.expect(201);
    let wrong = || json!({"email": owner.email, "password": "wrong"});
    let large = vec![b' '; (64 << 10) + 1];
    let never =
        Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let json_body = |call: Call| call.header("content-type", "application/json");
    let mut calls = vec![
        (400, server.get("/devices?limit=0").by(&owner)),
        (400, json_body(server.post("/teams").by(&owner)).bytes("{")),
        (401, server.get("/devices")),
        (401, server.get("/devices").bearer("x")),
        (401, server.post("/auth/login").json(wrong())),
        (403, server.post("/teams").by(&viewer).json(team.clone())),
        (404, server.get("/nothing")),
        (404, server.get("/devices/x").by(&owner)),
        (405, server.call("PUT", "/devices").by(&owner)),
        (408, json_body(server.post("/teams").by(&owner)).bytes(never)),
        (409, server.post("/teams").by(&owner).json(team)),
        (413, json_body(server.post("/teams").by(&owner)).bytes(large)),
        (415, server.post("/teams").by(&owner).bytes("x")),
        (422, server.post("/teams").by(&owner).json(json!({"name": ""}))),
        (429, server.post("/auth/login").json(wrong())),
    ];
    server.sql("UPDATE devices SET updates = 'broken'").await;
    calls.push((500, server.get("/devices").by(&owner)));
    for (status, call) in calls {
        is_whole_problem(&server, &call.await, status).await;
    }
    server.fleet.close().await;
    is_whole_problem(&server, &server.get("/health/ready").await, 503).await;
}

async fn is_whole_problem(server: &TestServer, reply: &Reply, status: u16) {
    assert_eq!(reply.expect(status).header("content-type"), Some("application/problem+json"));
    let problem = reply.json();
    let known = problems::ALL.iter().find(|kind| kind.uri() == problem["type"]).unwrap();
    assert_eq!((&problem["status"], &problem["title"]), (&json!(status), &json!(known.title)));
    assert_eq!(known.status, status, "{problem}");
    assert!(!text(&problem, "detail").is_empty(), "{problem}");
    let request = reply.header("x-request-id").unwrap();
    assert_eq!(problem["instance"], format!("/requests/{request}"));
    server.get(&known.uri()).await.expect(200);
}

#[test]
fn the_page_of_problems_is_the_table() {
    let names: BTreeSet<_> = problems::ALL.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), problems::ALL.len(), "names are unique");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/problems.md");
    assert_data_eq!(problems::markdown(), Data::read_from(path.as_ref(), None).raw());
}

#[test]
fn openapi_documents_every_status_and_names_each_operation_once() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} twice");
            check_operation(&format!("{method} {path}"), operation);
        }
    }
}

fn check_operation(name: &str, operation: &Value) {
    let responses = operation["responses"].as_object().unwrap();
    let has = |status: &str| assert!(responses.contains_key(status), "{name} lacks {status}");
    ["500", "503"].iter().for_each(|status| has(status));
    if operation.get("requestBody").is_some() {
        ["400", "413", "422"].iter().for_each(|status| has(status));
    }
    if operation.get("security").is_some() {
        ["401", "403"].iter().for_each(|status| has(status));
    }
    assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
    for (status, response) in responses {
        if status.starts_with('2') {
            continue;
        }
        let content = response["content"].as_object().unwrap();
        let agents = name.contains(" /api/");
        let wanted = if agents { "application/json" } else { "application/problem+json" };
        // A browser is told in a page why it sees no other.
        let page = responses.get("200").is_some_and(|ok| ok["content"].get("text/html").is_some());
        let told = page && content.contains_key("text/html");
        assert!(told || content.contains_key(wanted), "{name} {status}: {content:?}");
    }
}

#[test]
fn openapi_references_lead_somewhere() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

//! What the server says about itself: OpenAPI, the pages of problems, health.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use server::http::{openapi, problems};
use snapbox::{Data, assert_data_eq};

use crate::harness::TestServer;

crate::on_both_databases! {
    readiness_follows_the_database,
    every_problem_has_a_page,
    openapi_is_served_to_anybody,
}

/// Rows in part: F6
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

async fn openapi_is_served_to_anybody(server: TestServer) {
    let served = server.get("/openapi.json").await.expect(200).json();
    assert_eq!(served, serde_json::to_value(openapi::document()).unwrap());
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

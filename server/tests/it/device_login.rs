//! Signing in where there is no browser (RFC 8628).

use futures_util::future::join_all;
use serde_json::{Value, json};
use wire::Role;

use crate::harness::{PASSWORD, Person, Reply, TestServer, text};

crate::on_both_databases! {
    a_program_is_signed_in_once_a_person_approves,
    a_denied_code_and_one_that_ran_out_give_nothing,
    whoever_asks_too_often_is_slowed_down,
    of_fifty_who_redeem_a_code_one_is_signed_in,
    five_wrong_codes_lock,
    a_person_without_a_session_approves_on_the_page,
    approving_needs_a_recent_password_and_gives_no_more_than_it,
    whoever_is_shut_out_gets_no_session_of_what_they_approved,
}

async fn ask(server: &TestServer) -> Value {
    let request = json!({"client": "fleetctl on build-7"});
    let call = server.post("/auth/device/code").header("host", "fleet.example.com");
    call.header("user-agent", "fleetctl/1.0").json(request).await.expect(200).json()
}

async fn poll(server: &TestServer, codes: &Value) -> Reply {
    let request = json!({"device_code": codes["device_code"]});
    server.post("/auth/device/token").json(request).await
}

#[track_caller]
fn refused(reply: &Reply, error: &str) {
    assert_eq!(reply.expect(400).json()["error"], error);
}

async fn decide(server: &TestServer, by: &Person, code: &str, approve: bool) -> Reply {
    let decision = json!({"user_code": code, "approve": approve});
    server.post("/auth/device/approval").by(by).json(decision).await
}

/// Rows: E18
async fn a_program_is_signed_in_once_a_person_approves(server: TestServer) {
    let owner = server.owner().await;
    let codes = ask(&server).await;
    let code = text(&codes, "user_code");
    assert_eq!((&codes["expires_in"], &codes["interval"]), (&json!(600), &json!(5)));
    let page = "https://fleet.example.com/auth/device";
    assert_eq!(codes["verification_uri"], page);
    assert_eq!(codes["verification_uri_complete"], format!("{page}?user_code={code}"));
    refused(&poll(&server, &codes).await, "authorization_pending");
    let shown = server.get(&format!("/auth/device/{code}")).by(&owner).await.expect(200).json();
    assert_eq!(
        (&shown["client"], &shown["device"]),
        (&json!("fleetctl on build-7"), &json!("fleetctl"))
    );
    assert_eq!(shown["address"], "192.0.2.1");
    server
        .post("/auth/device/approval")
        .json(json!({"user_code": code, "approve": true}))
        .await
        .expect(401);
    decide(&server, &owner, &code.to_lowercase().replace('-', " "), true).await.expect(204);
    decide(&server, &owner, &code, false).await.expect(404);
    server.pass(5);
    let person = Person::from(&poll(&server, &codes).await.expect(200).json());
    assert_eq!(person.id, owner.id);
    server.get("/devices").by(&person).await.expect(200);
    server.pass(5);
    refused(&poll(&server, &codes).await, "invalid_grant");
}

/// Rows: E18
async fn a_denied_code_and_one_that_ran_out_give_nothing(server: TestServer) {
    let owner = server.owner().await;
    let codes = ask(&server).await;
    decide(&server, &owner, &text(&codes, "user_code"), false).await.expect(204);
    refused(&poll(&server, &codes).await, "access_denied");
    let codes = ask(&server).await;
    server.pass(600);
    refused(&poll(&server, &codes).await, "expired_token");
    decide(&server, &owner, &text(&codes, "user_code"), true).await.expect(404);
    refused(&poll(&server, &json!({"device_code": "never given out"})).await, "invalid_grant");
    server.fleet.sweep().await.unwrap();
    assert_eq!(server.sql("SELECT state FROM device_logins").await.len(), 0);
}

/// Rows: E18
async fn whoever_asks_too_often_is_slowed_down(server: TestServer) {
    server.owner().await;
    let codes = ask(&server).await;
    refused(&poll(&server, &codes).await, "authorization_pending");
    server.pass(4);
    refused(&poll(&server, &codes).await, "slow_down");
    server.pass(9);
    refused(&poll(&server, &codes).await, "slow_down");
    server.pass(15);
    refused(&poll(&server, &codes).await, "authorization_pending");
}

/// Rows: E18, B7
async fn of_fifty_who_redeem_a_code_one_is_signed_in(server: TestServer) {
    let owner = server.owner().await;
    let codes = ask(&server).await;
    decide(&server, &owner, &text(&codes, "user_code"), true).await.expect(204);
    let replies = join_all((0..50).map(|_| poll(&server, &codes))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.status == 400).count(), 49);
}

/// Rows: E18
async fn five_wrong_codes_lock(server: TestServer) {
    let owner = server.owner().await;
    let codes = ask(&server).await;
    for _ in 0..5 {
        decide(&server, &owner, "BBBB-BBBB", true).await.expect(404);
    }
    let code = text(&codes, "user_code");
    decide(&server, &owner, &code, true).await.expect(429);
    server.pass(300);
    let other = server.other_organization().await;
    decide(&server, &other, &code, false).await.expect(204);
}

/// Rows: E18
async fn a_person_without_a_session_approves_on_the_page(server: TestServer) {
    let owner = server.owner().await;
    let codes = ask(&server).await;
    let code = text(&codes, "user_code");
    let page = server.get(&format!("/auth/device?user_code={code}")).await;
    let html = String::from_utf8(page.expect(200).body.clone()).unwrap();
    assert!(html.contains("fleetctl on build-7") && html.contains(&code), "{html}");
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    for (path, status) in [("/auth/device", 200), ("/auth/device?user_code=%3Cscript%3E", 404)] {
        let page = server.get(path).await;
        let html = String::from_utf8(page.expect(status).body.clone()).unwrap();
        assert!(html.contains("user_code") && !html.contains("password"), "{html}");
    }
    let answer = |password: &str, decision: &str| {
        let form = format!(
            "user_code={code}&email={}&password={}&decision={decision}",
            owner.email.replace('@', "%40"),
            password.replace(' ', "+")
        );
        let call = server.post("/auth/device").header("host", "fleet.example.com");
        call.header("content-type", "application/x-www-form-urlencoded").bytes(form)
    };
    let wrong = answer("wrong", "approve").await;
    let html = String::from_utf8(wrong.expect(401).body.clone()).unwrap();
    assert!(html.contains("fleetctl on build-7") && html.contains("is wrong"), "{html}");
    answer(PASSWORD, "approve").header("origin", "https://evil.test").await.expect(403);
    refused(&poll(&server, &codes).await, "authorization_pending");
    answer(PASSWORD, "approve").header("origin", "https://fleet.example.com").await.expect(200);
    server.pass(5);
    poll(&server, &codes).await.expect(200);
    let guess = || server.get("/auth/device?user_code=BBBB-BBBB");
    for _ in 0..5 {
        guess().await;
    }
    let shut_out = guess().await;
    let html = String::from_utf8(shut_out.expect(429).body.clone()).unwrap();
    assert!(html.contains("Too many attempts"), "{html}");
    assert!(shut_out.header("retry-after").is_some(), "{shut_out:?}");
}

/// Rows: E18
/// Rows in part: M4
async fn approving_needs_a_recent_password_and_gives_no_more_than_it(server: TestServer) {
    let owner = server.owner().await;
    server.pass(600);
    let codes = ask(&server).await;
    let decision = json!({"user_code": codes["user_code"], "approve": true});
    let elsewhere = server.post("/auth/device/approval").by(&owner).from("198.51.100.7");
    elsewhere.json(decision).await.expect(403).problem("step-up-required");
    decide(&server, &owner, &text(&codes, "user_code"), true).await.expect(204);
    let reply = poll(&server, &codes).await;
    let claims = crate::tokens::part(&reply.expect(200).text("access_token"), 1);
    assert_eq!(claims["auth_time"].as_i64(), claims["iat"].as_i64().map(|at| at - 600));
    let person = Person::from(&reply.json());
    server.pass(290);
    let refresh = json!({"refresh_token": owner.refresh});
    let owner = server.post("/auth/refresh").json(refresh).await;
    let owner = Person::from(&owner.expect(200).json());
    server.pass(10);
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    server.post("/api-keys").by(&person).json(key).await.expect(403).problem("step-up-required");
    let codes = ask(&server).await;
    let code = text(&codes, "user_code");
    decide(&server, &owner, &code, true).await.expect(403).problem("step-up-required");
    decide(&server, &owner, &code, false).await.expect(204);
}

/// Rows: E18
/// Rows in part: B2
async fn whoever_is_shut_out_gets_no_session_of_what_they_approved(server: TestServer) {
    let owner = server.owner().await;
    let approved = async |by: &Person| {
        let codes = ask(&server).await;
        decide(&server, by, &text(&codes, "user_code"), true).await.expect(204);
        codes
    };
    let admin = server.person(&owner, Role::Admin).await;
    let change = json!({"current_password": PASSWORD, "new_password": "Another walrus, 8 ledgers",
                        "end_other_sessions": true});
    let codes = approved(&admin).await;
    server.post("/auth/password").by(&admin).json(change).await.expect(204);
    refused(&poll(&server, &codes).await, "invalid_grant");
    let codes = approved(&admin).await;
    server.delete("/auth/sessions").by(&admin).await.expect(204);
    refused(&poll(&server, &codes).await, "invalid_grant");
    let disabled = server.person(&owner, Role::Viewer).await;
    let codes = approved(&disabled).await;
    let disable = server.call("PATCH", &format!("/users/{}", disabled.id)).by(&owner);
    disable.json(json!({"disabled": true})).await.expect(200);
    refused(&poll(&server, &codes).await, "invalid_grant");
    let removed = server.person(&owner, Role::Viewer).await;
    let codes = approved(&removed).await;
    server.delete(&format!("/users/{}", removed.id)).by(&owner).await.expect(204);
    refused(&poll(&server, &codes).await, "invalid_grant");
}

//! Limits: how many, for whom, across servers, and how callers are told.

use futures_util::{FutureExt as _, future::join_all};
use serde_json::json;
use server::{
    Config,
    config::{Limits, Metrics, Secret},
};
use sqlx::Executor as _;
use wire::Role;

use crate::harness::{Call, Engine, PASSWORD, Reply, TestServer, machine};

crate::on_both_databases! {
    wrong_passwords_count_on_every_server_and_over_a_restart,
    guesses_at_many_accounts_from_one_network_are_limited,
    five_now_and_five_after_the_window_pass,
    the_eleventh_refresh_of_a_minute_waits_and_costs_no_token,
    one_hundred_requests_a_minute_each,
    a_key_may_have_a_limit_of_its_own,
    ten_requests_a_minute_for_whoever_shows_no_good_token,
    agents_are_not_limited_by_what_people_do,
    whoever_guesses_from_many_networks_waits_longer_each_time,
    requests_about_accounts_have_a_limit_of_their_own,
    a_hundred_requests_pass_whichever_servers_they_meet,
    as_many_pass_again_as_a_minute_ago_did,
    a_restart_forgets_no_request,
    a_network_has_its_limit_on_all_servers_together,
    a_key_has_its_limit_on_all_servers_together,
    whoever_is_refused_costs_the_database_nothing,
    without_the_database_a_server_counts_for_itself,
    who_hangs_up_before_the_answer_is_counted_too,
}

/// A server with the limits that it has unless told otherwise.
async fn strict(server: &TestServer) -> TestServer {
    let change = |config: &mut Config| config.limits = Limits::default();
    TestServer::start_with(server.engine, change).await
}

async fn attempt(server: &TestServer, email: &str, password: &str, from: &str) -> Reply {
    let login = json!({"email": email, "password": password, "client": "cli"});
    server.post("/auth/login").json(login).from(from).await
}

/// Rows: L1, L5
/// Rows in part: B8
async fn wrong_passwords_count_on_every_server_and_over_a_restart(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let other = server.second_node().await;
    for node in [&server, &other, &server, &other, &server] {
        attempt(node, &owner.email, "wrong", "198.51.100.7").await.expect(401);
        server.pass(7);
    }
    let restarted = server.second_node().await;
    for node in [&server, &other, &restarted] {
        let reply = attempt(node, &owner.email, PASSWORD, "198.51.100.7").await;
        reply.expect(429).problem("too-many-attempts");
        assert_eq!(reply.header("retry-after"), Some("865"));
        assert_eq!(reply.header("ratelimit-policy"), Some("\"login\";q=5;w=900"));
        assert_eq!(reply.header("ratelimit"), Some("\"login\";r=0;t=865"));
    }
    attempt(&other, &owner.email, PASSWORD, "203.0.113.9").await.expect(200);
    server.pass(865);
    attempt(&restarted, &owner.email, PASSWORD, "198.51.100.7").await.expect(200);
}

/// Rows: L1, L4
async fn guesses_at_many_accounts_from_one_network_are_limited(server: TestServer) {
    let few = |config: &mut Config| {
        config.limits = Limits { login_attempts_per_network: 3, ..Limits::default() };
    };
    let server = TestServer::start_with(server.engine, few).await;
    let owner = server.owner().await;
    for (number, from) in ["2001:db8::1", "2001:db8::2", "2001:db8::3:4"].iter().enumerate() {
        attempt(&server, &format!("{number}@example.com"), "wrong", from).await.expect(401);
    }
    let reply = attempt(&server, &owner.email, PASSWORD, "2001:db8::5").await;
    assert_eq!(reply.expect(429).header("ratelimit-policy"), Some("\"login-network\";q=3;w=900"));
    attempt(&server, &owner.email, PASSWORD, "2001:db8:0:1::5").await.expect(200);
}

/// Rows: L6
async fn five_now_and_five_after_the_window_pass(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    for _ in 0..2 {
        for _ in 0..5 {
            attempt(&server, &owner.email, "wrong", "198.51.100.7").await.expect(401);
        }
        attempt(&server, &owner.email, "wrong", "198.51.100.7").await.expect(429);
        server.pass(901);
    }
}

/// Rows: L2, B1
async fn the_eleventh_refresh_of_a_minute_waits_and_costs_no_token(server: TestServer) {
    let server = strict(&server).await;
    let other = server.second_node().await;
    let mut token = server.owner().await.refresh;
    let mut seen = std::collections::BTreeSet::from([token.clone()]);
    for number in 0..10 {
        let node = if number % 2 == 0 { &server } else { &other };
        let reply = node.post("/auth/refresh").json(json!({"refresh_token": token})).await;
        token = reply.expect(200).text("refresh_token");
        seen.insert(token.clone());
    }
    let refresh = json!({"refresh_token": token});
    let reply = other.post("/auth/refresh").json(refresh.clone()).await;
    assert_eq!(reply.expect(429).header("retry-after"), Some("60"));
    server.pass(60);
    let mut token =
        server.post("/auth/refresh").json(refresh).await.expect(200).text("refresh_token");
    for _ in 0..90 {
        seen.insert(token.clone());
        server.pass(6);
        let reply = server.post("/auth/refresh").json(json!({"refresh_token": token})).await;
        token = reply.expect(200).text("refresh_token");
    }
    assert_eq!(seen.len(), 101, "every rotation gives another token");
    assert_eq!(server.sql("SELECT id FROM sessions").await.len(), 1, "all in one family");
}

/// Rows: L5, T8
/// Rows in part: L3
async fn one_hundred_requests_a_minute_each(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    server.pass(60);
    for number in 0..100 {
        let reply = server.get("/devices").by(&owner).await;
        let told = format!("\"requests\";r={};t=60", 99 - number);
        assert_eq!(reply.expect(200).header("ratelimit"), Some(told.as_str()));
        assert_eq!(reply.header("ratelimit-policy"), Some("\"requests\";q=100;w=60"));
    }
    let reply = server.get("/devices").by(&owner).from("203.0.113.9").await;
    assert_eq!(reply.expect(429).problem("too-many-attempts").header("retry-after"), Some("60"));
    server.get("/devices").by(&viewer).await.expect(200);
    server.get("/auth/user").by(&owner).await.expect(200);
    server.pass(60);
    server.get("/devices").by(&owner).await.expect(200);
}

/// Rows: L3
async fn a_key_may_have_a_limit_of_its_own(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let make = async |limit: u32| {
        let key = json!({"name": "k", "scopes": ["devices:read"], "requests_per_minute": limit});
        server.post("/api-keys").by(&owner).json(key).await
    };
    for wrong in [0, 6001] {
        make(wrong).await.expect(422).problem("invalid-fields");
    }
    for limit in [3, 150] {
        let made = make(limit).await.expect(201).json();
        assert_eq!(made["requests_per_minute"], limit);
        let ask = async || server.get("/devices").bearer(made["key"].as_str().unwrap()).await;
        for number in 1..=limit {
            let told = format!("\"requests\";r={};t=60", limit - number);
            assert_eq!(ask().await.expect(200).header("ratelimit"), Some(told.as_str()));
        }
        let policy = format!("\"requests\";q={limit};w=60");
        assert_eq!(ask().await.expect(429).header("ratelimit-policy"), Some(policy.as_str()));
        server.pass(60);
        ask().await.expect(200);
    }
}

/// Rows: L4, L5, T7
async fn ten_requests_a_minute_for_whoever_shows_no_good_token(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let forged = format!("{}AAAA", &owner.access[..owner.access.len() - 4]);
    for number in 0..10 {
        let call = server.get("/devices").from(&format!("2001:db8::{number}"));
        let call = if number % 2 == 0 { call.bearer(&forged) } else { call };
        assert!(call.await.expect(401).header("ratelimit").unwrap().starts_with("\"anonymous\";"));
    }
    let reply = server.get("/devices").from("2001:db8::ffff").await;
    assert_eq!(reply.expect(429).header("ratelimit-policy"), Some("\"anonymous\";q=10;w=60"));
    server.get("/devices").from("2001:db8:0:1::1").await.expect(401);
    let reply = server.get("/devices").by(&owner).from("2001:db8::1").await;
    // Neither the forged tokens nor the neighbours' requests counted against the owner.
    assert_eq!(reply.expect(200).header("ratelimit"), Some("\"requests\";r=99;t=60"));
}

async fn agents_are_not_limited_by_what_people_do(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    for _ in 0..12 {
        server.get("/devices").await;
    }
    for _ in 0..150 {
        assert!(server.orbit_works(&key).await);
    }
}

/// Rows: L1, B8
async fn whoever_guesses_from_many_networks_waits_longer_each_time(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let guess = async |network: usize, email: &str, password: &str| {
        attempt(&server, email, password, &format!("198.51.{network}.7")).await
    };
    for email in [owner.email.as_str(), "nobody@example.com"] {
        for network in 0..10 {
            guess(network, email, "wrong").await.expect(401);
        }
        let refused = guess(10, email, PASSWORD).await;
        assert_eq!(refused.expect(429).header("retry-after"), Some("1"));
        assert_eq!(refused.header("ratelimit-policy"), Some("\"login-account\";q=10;w=86400"));
        for wait in [1, 2, 4, 8] {
            server.pass(wait - 1);
            guess(11, email, PASSWORD).await.expect(429);
            server.pass(1);
            guess(12 + usize::try_from(wait).unwrap(), email, "wrong").await.expect(401);
        }
    }
    // Whoever comes from where they were before does not wait, and nobody waits for ever.
    attempt(&server, &owner.email, PASSWORD, "192.0.2.1").await.expect(200);
    server.pass(900);
    guess(40, &owner.email, PASSWORD).await.expect(200);
    for network in 50..53 {
        guess(network, &owner.email, "wrong").await.expect(401);
        server.pass(900);
    }
    guess(60, &owner.email, "wrong").await.expect(401);
    guess(40, &owner.email, PASSWORD).await.expect(200);
}

/// Rows: L3, L4
async fn requests_about_accounts_have_a_limit_of_their_own(server: TestServer) {
    let few = |config: &mut Config| {
        config.limits = Limits { sign_in_requests_per_minute: 3, ..Limits::default() };
    };
    let server = TestServer::start_with(server.engine, few).await;
    let owner = server.owner().await;
    for _ in 0..100 {
        server.get("/auth/user").by(&owner).await.expect(200);
    }
    let reply = server.get("/auth/user").by(&owner).await;
    assert_eq!(
        reply.expect(429).header("ratelimit-policy"),
        Some("\"account-requests\";q=100;w=60")
    );
    server.get("/devices").by(&owner).await.expect(200);
    for _ in 0..3 {
        let verify = json!({"token": "nothing"});
        let call = server.post("/auth/verify-email").json(verify).from("198.51.100.7");
        call.await.expect(400);
    }
    let reply = attempt(&server, &owner.email, PASSWORD, "198.51.100.7").await;
    assert_eq!(reply.expect(429).header("ratelimit-policy"), Some("\"sign-in\";q=3;w=60"));
    attempt(&server, &owner.email, PASSWORD, "203.0.113.9").await.expect(200);
}

/// How many of so many calls pass, one after the other, on servers that take turns.
async fn pass_in_turn(
    servers: &[&TestServer],
    times: usize,
    call: impl Fn(&TestServer) -> Call,
) -> usize {
    let mut passed = 0;
    for server in servers.iter().cycle().take(times) {
        passed += usize::from(call(server).await.status != 429);
    }
    passed
}

/// Rows: L3, L6
async fn a_hundred_requests_pass_whichever_servers_they_meet(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let other = server.second_node().await;
    // To make a person was a request, too.
    server.pass(60);
    let ask = |server: &TestServer| server.get("/devices").by(&owner);
    assert_eq!(pass_in_turn(&[&server, &other], 300, ask).await, 100);
    for node in [&server, &other] {
        let reply = ask(node).await;
        assert_eq!(reply.expect(429).header("retry-after"), Some("60"));
        assert_eq!(reply.header("ratelimit"), Some("\"requests\";r=0;t=60"));
        node.get("/devices").by(&viewer).await.expect(200);
    }
    server.pass(59);
    assert_eq!(pass_in_turn(&[&server, &other], 20, ask).await, 0);
    server.pass(1);
    let calls = (0..300).map(|n| ask(if n % 2 == 0 { &server } else { &other }).into_future());
    let replies = join_all(calls).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 100);
    assert_eq!(replies.iter().filter(|reply| reply.status == 429).count(), 200);
}

/// Rows: L3, L6
async fn as_many_pass_again_as_a_minute_ago_did(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let other = server.second_node().await;
    let ask = |server: &TestServer| server.get("/devices").by(&owner);
    let nodes = [&server, &other];
    assert_eq!(pass_in_turn(&nodes, 40, ask).await, 40);
    server.pass(30);
    assert_eq!(pass_in_turn(&nodes, 150, ask).await, 60);
    for (seconds, passed) in [(29, 0), (1, 40), (29, 0), (1, 60), (30, 40)] {
        server.pass(seconds);
        assert_eq!(pass_in_turn(&nodes, 150, ask).await, passed);
    }
}

/// Rows: L3, L4
async fn a_restart_forgets_no_request(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let ask = |server: &TestServer| server.get("/devices").by(&owner);
    let strange = |server: &TestServer| server.get("/devices").from("198.51.100.7");
    assert_eq!(pass_in_turn(&[&server], 30, ask).await, 30);
    assert_eq!(pass_in_turn(&[&server], 7, strange).await, 7);
    // Nobody told the first that it ends: what it could have let through counts.
    let second = server.second_node().await;
    let passed = pass_in_turn(&[&second], 150, ask).await;
    assert!((60..=70).contains(&passed), "{passed}");
    assert_eq!(pass_in_turn(&[&second], 20, strange).await, 3);
    server.pass(65);
    assert_eq!(pass_in_turn(&[&second], 30, ask).await, 30);
    second.fleet.close().await;
    let third = server.second_node().await;
    assert_eq!(pass_in_turn(&[&third], 150, ask).await, 70);
}

/// Rows: L4
async fn a_network_has_its_limit_on_all_servers_together(server: TestServer) {
    let few = |config: &mut Config| {
        config.limits = Limits { sign_in_requests_per_minute: 5, ..Limits::default() };
    };
    let server = TestServer::start_with(server.engine, few).await;
    server.owner().await;
    let other = server.second_node().await;
    let nodes = [&server, &other];
    let neighbours = |server: &TestServer| server.get("/devices").from("2001:db8::7");
    assert_eq!(pass_in_turn(&nodes, 30, neighbours).await, 10);
    let verify = |server: &TestServer| {
        let verify = json!({"token": "nothing"});
        server.post("/auth/verify-email").json(verify).from("198.51.100.7")
    };
    assert_eq!(pass_in_turn(&nodes, 30, verify).await, 5);
    let elsewhere = |server: &TestServer| server.get("/devices").from("2001:db8:0:1::7");
    let calls = (0..30).map(|n| elsewhere(nodes[n % 2]).into_future());
    let replies = join_all(calls).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 10);
    server.pass(60);
    assert_eq!(pass_in_turn(&nodes, 30, neighbours).await, 10);
}

/// Rows: L3
async fn a_key_has_its_limit_on_all_servers_together(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let other = server.second_node().await;
    for limit in [3, 150] {
        let key = json!({"name": "k", "scopes": ["devices:read"], "requests_per_minute": limit});
        let key = server.post("/api-keys").by(&owner).json(key).await.expect(201).text("key");
        let ask = |server: &TestServer| server.get("/devices").bearer(&key);
        assert_eq!(pass_in_turn(&[&server, &other], 400, ask).await, limit);
        let reply = ask(&other).await;
        let policy = format!("\"requests\";q={limit};w=60");
        assert_eq!(reply.expect(429).header("ratelimit-policy"), Some(policy.as_str()));
    }
}

/// Rows: L3, L4
async fn whoever_is_refused_costs_the_database_nothing(server: TestServer) {
    let token = "a token for Prometheus alone";
    let monitored = |config: &mut Config| {
        config.limits = Limits::default();
        config.metrics = Metrics { token: Some(Secret::new(token)) };
    };
    let server = TestServer::start_with(server.engine, monitored).await;
    let owner = server.owner().await;
    let other = server.second_node().await;
    let nodes = [&server, &other];
    let ask = |server: &TestServer| server.get("/devices").by(&owner);
    let strange = |server: &TestServer| server.get("/devices").from("198.51.100.7");
    assert_eq!(pass_in_turn(&nodes, 300, ask).await, 100);
    assert_eq!(pass_in_turn(&nodes, 30, strange).await, 10);
    let transactions = async || {
        let reply = server.get("/metrics").bearer(token).await;
        let page = String::from_utf8(reply.expect(200).body.clone()).unwrap();
        let count = page.lines().find_map(|line| {
            line.strip_prefix("fleetd_database_wait_seconds_count")?.trim().parse::<u64>().ok()
        });
        count.unwrap()
    };
    let leases = async || server.sql("SELECT bucket FROM request_leases").await.len();
    let (first, second, rows) = (transactions().await, transactions().await, leases().await);
    assert_eq!(pass_in_turn(&[&server], 200, ask).await, 0);
    assert_eq!(pass_in_turn(&[&server], 200, strange).await, 0);
    assert_eq!(transactions().await - second, second - first, "but what asking for it costs");
    assert_eq!(leases().await, rows);
    // Nor does whoever passes cost a write each.
    server.pass(65);
    assert_eq!(pass_in_turn(&[&server], 100, ask).await, 100);
    let claims = leases().await - rows;
    assert!(claims <= 16, "{claims}");
}

/// Rows: L3, L4
async fn without_the_database_a_server_counts_for_itself(server: TestServer) {
    let server = strict(&server).await;
    let owner = server.owner().await;
    let check = |server: &TestServer| server.get("/check").by(&owner);
    let strange = |server: &TestServer| server.get("/devices").from("198.51.100.7");
    assert_eq!(pass_in_turn(&[&server], 40, check).await, 40);
    assert_eq!(pass_in_turn(&[&server], 4, strange).await, 4);
    server.fleet.close().await;
    let reply = check(&server).await;
    assert_eq!(reply.expect(200).header("ratelimit"), Some("\"requests\";r=59;t=60"));
    assert_eq!(pass_in_turn(&[&server], 300, check).await, 59);
    let reply = check(&server).await;
    assert_eq!(reply.expect(429).header("retry-after"), Some("60"));
    strange(&server).await.expect(401);
    assert_eq!(pass_in_turn(&[&server], 300, strange).await, 5);
}

async fn who_hangs_up_before_the_answer_is_counted_too(server: TestServer) {
    let server = strict(&server).await;
    // Until it is rolled back, nobody is given anything.
    let hold: &[_] = match server.engine {
        Engine::Sqlite => &["BEGIN IMMEDIATE"],
        Engine::Postgres => &["BEGIN", "LOCK TABLE request_leases"],
    };
    let mut holder = server.connection().await;
    for statement in hold {
        holder.execute(*statement).await.unwrap();
    }
    for _ in 0..10 {
        // Asked once, and left at its first wait.
        let answered = server.get("/devices").into_future().now_or_never();
        assert!(answered.is_none(), "{answered:?}");
    }
    holder.execute("ROLLBACK").await.unwrap();
    server.get("/devices").await.expect(429);
}

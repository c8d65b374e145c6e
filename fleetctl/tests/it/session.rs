//! Signing in, staying signed in, and talking to the server.

use axum::{Router, http::StatusCode, routing::get};
use serde_json::Value;

use crate::{
    run::{Home, ended},
    server::{API_KEY, Server},
};

pub(crate) fn signed_in(server: &Server) -> Home {
    let home = Home::new();
    let login = ["login", "--url", &server.url, "--email", "ann@example.com", "--password-stdin"];
    home.fleetctl_reading("correct horse\n", login).ok();
    home
}

fn expire(home: &Home) {
    let text = std::fs::read_to_string(home.config()).unwrap();
    let at = text.find("expires_at: ").unwrap() + "expires_at: ".len();
    let end = at + text[at..].find('\n').unwrap();
    let text = format!("{}2020-01-01T00:00:00Z{}", &text[..at], &text[end..]);
    std::fs::write(home.config(), text).unwrap();
}

#[test]
fn signing_in_keeps_a_session_and_a_wrong_password_exits_with_4() {
    let server = Server::start();
    let home = signed_in(&server);
    home.fleetctl(["devices", "list"]).ok();
    let wrong = ["login", "--email", "ann@example.com", "--password-stdin"];
    let said = home.fleetctl_reading("wrong\n", wrong).fails(4);
    assert!(said.contains("error: the server refused: the password is wrong"), "{said}");
    home.fleetctl(["devices", "list"]).ok();
}

#[test]
fn a_code_is_shown_and_waited_for_until_it_is_approved_or_refused() {
    let server = Server::start();
    let home = Home::new();
    let login = ["login", "--url", &server.url, "--code", "--no-browser"];
    let said = home.fleetctl(login).stderr;
    let page = format!("open {}/auth/device and approve the code WDJB-MJHT", server.url);
    assert!(said.contains(&page), "{said}");
    home.fleetctl(["devices", "list"]).ok();
    let refused = home.fleetctl(login).fails(4);
    assert!(refused.contains("error: No"), "{refused}");
}

#[test]
fn setting_up_signs_the_owner_in() {
    let server = Server::start();
    let home = Home::new();
    let setup = [
        "setup",
        "--url",
        &server.url,
        "--code",
        "AAAA",
        "--email",
        "ann@example.com",
        "--name",
        "Ann",
        "--organization",
        "Example",
        "--password-stdin",
    ];
    home.fleetctl_reading("correct horse\n", setup).ok();
    home.fleetctl(["devices", "list"]).ok();
}

#[test]
fn an_access_token_that_has_ended_or_is_refused_is_replaced() {
    let server = Server::start();
    let home = signed_in(&server);
    expire(&home);
    home.fleetctl(["devices", "list"]).ok();
    assert_eq!(server.seen(|seen| seen.refreshes), 1);
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replace("access-2", "access-0")).unwrap();
    home.fleetctl(["devices", "list"]).ok();
    assert_eq!(server.seen(|seen| (seen.refreshes, seen.reused)), (2, false));
    assert!(std::fs::read_to_string(home.config()).unwrap().contains("refresh-3"));
}

#[test]
fn runs_at_the_same_time_refresh_once_and_stay_signed_in() {
    let server = Server::start();
    let home = signed_in(&server);
    expire(&home);
    let runs: Vec<_> = (0..8).map(|_| home.start(["devices", "list", "-o", "json"])).collect();
    for run in runs {
        ended(run).ok();
    }
    assert_eq!(server.seen(|seen| (seen.refreshes, seen.reused)), (1, false));
}

#[test]
fn a_session_that_has_ended_exits_with_4_and_says_what_to_do() {
    let server = Server::start();
    let home = signed_in(&server);
    expire(&home);
    server.seen(|seen| seen.tokens = 7);
    let said = home.fleetctl(["devices", "list"]).fails(4);
    assert!(said.contains("error: the session has ended\nhelp: sign in"), "{said}");
}

#[test]
fn signing_out_tells_the_server_and_forgets_the_tokens() {
    let server = Server::start();
    let home = signed_in(&server);
    home.fleetctl(["logout"]).ok();
    assert!(server.seen(|seen| seen.requests.contains(&"POST /auth/logout".to_owned())));
    let text = std::fs::read_to_string(home.config()).unwrap();
    assert!(!text.contains("access-") && text.contains("http://127.0.0.1"), "{text}");
    home.fleetctl(["devices", "list"]).fails(4);
}

#[test]
fn pages_are_followed_to_the_end() {
    let server = Server::start();
    let home = signed_in(&server);
    let json = home.fleetctl(["devices", "list", "--query", "lap", "--output", "json"]).ok();
    let devices: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(devices.len(), 250);
    let asked: Vec<_> = server.seen(|seen| seen.requests.clone());
    assert_eq!(
        asked,
        [
            "GET /devices?query=lap&limit=500",
            "GET /devices?query=lap&limit=500&after=100",
            "GET /devices?query=lap&limit=500&after=200",
        ]
    );
    let yaml = home.fleetctl(["devices", "list", "--output", "yaml"]).ok();
    assert_eq!(yaml.matches("\n  hostname: ").count(), 250);
}

#[test]
fn a_device_cannot_steer_the_terminal_by_its_name() {
    let server = Server::start();
    let table = signed_in(&server).fleetctl(["devices", "list"]).ok();
    assert!(table.contains("evil\u{fffd}]0;title\u{fffd}"), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours, no titles");
    assert_eq!(table.lines().count(), 251);
}

#[test]
fn problems_are_printed_with_their_fields_and_request() {
    let server = Server::start();
    let said = signed_in(&server).fleetctl(["roles", "list"]).fails(1);
    assert_eq!(
        said,
        "error: the server refused: you are a viewer\n  - /name: it is taken (/requests/r-1)\n"
    );
}

#[test]
fn an_answer_that_is_no_problem_is_told_as_it_is() {
    let more =
        Router::new().route("/enroll-secrets", get(|| async { (StatusCode::BAD_GATEWAY, "oops") }));
    let server = Server::serving(more);
    let said = signed_in(&server).fleetctl(["enroll-secrets", "list"]).fails(1);
    assert!(said.contains("/enroll-secrets?limit=500` answered 502 Bad Gateway"), "{said}");
}

#[test]
fn a_redirect_is_not_followed() {
    let target = Server::start();
    let location = format!("{}/devices", target.url);
    let more = Router::new().route(
        "/enroll-secrets",
        get(move || async move { (StatusCode::FOUND, [("location", location)]) }),
    );
    let server = Server::serving(more);
    let said = signed_in(&server).fleetctl(["enroll-secrets", "list"]).fails(1);
    assert!(said.contains("leads elsewhere"), "{said}");
    assert!(target.seen(|seen| seen.requests.is_empty()));
}

#[test]
fn quiet_creation_prints_the_key_alone() {
    let server = Server::start();
    let home = signed_in(&server);
    let create = ["api-keys", "create", "--name", "ci", "--role", "viewer", "--quiet"];
    let run = home.fleetctl(create);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (&*format!("{API_KEY}\n"), ""));
    let scopes = server.seen(|seen| seen.created[0]["scopes"].clone());
    assert_eq!(scopes, serde_json::json!(["devices:read", "teams:read", "telemetry:read"]));
}

#[test]
fn a_role_expands_to_its_permissions_without_those_on_api_keys() {
    let server = Server::start();
    let home = signed_in(&server);
    home.fleetctl(["api-keys", "create", "--name", "a", "--role", "owner"]).ok();
    let scopes = server.seen(|seen| seen.created[0]["scopes"].to_string());
    assert!(scopes.contains("organization:write") && !scopes.contains("api_keys"), "{scopes}");
}

#[test]
fn the_environment_wins_over_the_context_and_its_tokens_stay_at_home() {
    let (ours, other) = (Server::start(), Server::start());
    let home = signed_in(&ours).with("FLEET_URL", &*other.url);
    home.fleetctl(["devices", "list"]).fails(4);
    assert_eq!(other.seen(|seen| seen.requests.len()), 1, "it was asked, without a token");
    let home = home.with("FLEET_API_KEY", API_KEY);
    home.fleetctl(["devices", "list"]).ok();
    assert!(ours.seen(|seen| seen.requests.is_empty()));
    let nowhere = Home::new().with("FLEET_URL", &*other.url).with("FLEET_API_KEY", API_KEY);
    nowhere.fleetctl(["devices", "list"]).ok();
}

#[test]
fn an_api_key_in_the_environment_wins_over_the_session() {
    let server = Server::start();
    let home = signed_in(&server).with("FLEET_API_KEY", "no-such-key");
    let said = home.fleetctl(["devices", "list"]).fails(4);
    assert!(said.contains("refused the API key\nhelp: FLEET_API_KEY is wrong, revoked"), "{said}");
    assert!(!said.contains("no-such-key"), "{said}");
    assert_eq!(server.seen(|seen| seen.refreshes), 0);
}

#[test]
fn deleting_asks_first_and_names_must_be_unique() {
    let server = Server::start();
    let home = signed_in(&server);
    let said = home.fleetctl(["devices", "delete", "laptop-3"]).fails(2);
    assert!(said.contains("give --yes"), "{said}");
    let said = home.fleetctl(["devices", "delete", "twin", "--yes"]).fails(1);
    assert!(said.contains("2 devices are called `twin`") && said.contains("give the id"), "{said}");
    home.fleetctl(["devices", "delete", "nobody", "--yes"]).fails(1);
    home.fleetctl(["devices", "delete", "laptop-3", "--yes"]).ok();
    let deleted = "DELETE /devices/01900000-0000-7000-8000-000000000003".to_owned();
    assert_eq!(server.seen(|seen| seen.requests.last().cloned()), Some(deleted));
}

#[test]
fn a_server_that_is_not_there_is_a_failure_with_advice() {
    let home = Home::new().with("FLEET_URL", "http://127.0.0.1:1").with("FLEET_API_KEY", "k");
    let said = home.fleetctl(["devices", "list"]).fails(1);
    assert!(said.starts_with("error: could not reach `http://127.0.0.1:1`"), "{said}");
    assert!(said.contains("help: `fleetctl debug connection URL`"), "{said}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let server = Server::start();
    let home = signed_in(&server);
    let mut run = home.start(["devices", "list", "--output", "json"]);
    drop(run.stdout.take());
    let ended = ended(run);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

//! People's own accounts: asking for one, mail, passwords that are forgotten, changed or too old.

use std::fs;

use camino::Utf8PathBuf;
use futures_util::future::join_all;
use serde_json::{Value, json};
use server::config::{HashKind, Lifetime, Mail, Password, Preset};
use wire::Role;

use crate::harness::{Engine, PASSWORD, Person, Reply, TestServer, runtime, text};

crate::on_both_databases! {
    registering_says_the_same_whether_there_is_an_account_or_not,
    whoever_confirms_the_address_owns_an_organization,
    a_confirmation_works_once_when_fifty_race,
    a_confirmation_runs_out_after_a_day,
    the_newest_mail_alone_confirms,
    registration_is_off_unless_the_operator_wants_it,
    a_forgotten_password_is_set_anew_and_ends_every_session,
    a_reset_works_once_when_fifty_race,
    a_reset_runs_out_after_an_hour_and_three_an_hour_are_sent,
    nobody_learns_by_forgetting_whether_an_account_exists,
    a_change_needs_the_present_password,
    a_change_ends_other_sessions_if_asked,
    the_last_five_passwords_are_refused,
    an_old_password_gives_a_token_and_no_session,
    a_changed_address_is_confirmed_first,
    an_invitation_makes_a_member_once,
    an_invitation_goes_no_higher_than_who_sends_it,
    without_mail_the_invitation_is_handed_over,
    who_has_an_account_joins_with_it,
    an_account_that_somebody_else_made_joins_nothing_before_its_address_is_shown,
    where_there_are_several_organizations_whoever_is_added_is_invited,
    an_invitation_ends_with_the_rights_of_whoever_sent_it,
    nobody_takes_back_an_invitation_above_their_own_role,
    an_invitation_that_ran_out_is_swept,
    each_mail_confirms_the_registration_that_it_is_about,
    mail_that_strangers_send_is_limited_per_network,
    a_person_of_two_organizations_switches_between_them,
    a_refresh_token_used_twice_is_told_by_mail,
    mail_that_cannot_be_sent_waits,
    two_processes_send_each_mail_once,
    a_registration_names_every_broken_rule,
    spellings_of_one_address_are_one_account_and_look_alikes_are_two,
}

const OTHER: &str = "Another walrus, 8 ledgers";

/// A server that writes its mail to files.
pub(crate) async fn mailing(server: &TestServer, change: fn(&mut server::Config)) -> TestServer {
    TestServer::start_with(server.engine, |config| {
        config.auth.registration = true;
        config.mail = Some(Mail {
            from: "Fleet <fleet@example.com>".to_owned(),
            smtp: None,
            directory: Some(config.data_dir.join("mail")),
        });
        change(config);
    })
    .await
}

fn mail_dir(server: &TestServer) -> Utf8PathBuf {
    server.fleet.config().data_dir.join("mail")
}

/// Sends what is queued, and gives every mail that was sent since the last time, oldest first.
pub(crate) async fn mails(server: &TestServer) -> Vec<String> {
    server.fleet.deliver_mail().await.unwrap();
    let mut names: Vec<_> =
        fs::read_dir(mail_dir(server)).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mails = names.iter().map(|name| unfolded(&fs::read_to_string(name).unwrap())).collect();
    names.iter().for_each(|name| fs::remove_file(name).unwrap());
    mails
}

/// Without the soft line ends of quoted-printable.
pub(crate) fn unfolded(mail: &str) -> String {
    mail.replace("=\r\n", "")
}

/// The token in a mail: the last line that is indented.
pub(crate) fn token(mail: &str) -> String {
    let mut lines = mail.lines().filter(|line| line.starts_with("    "));
    lines.next_back().unwrap_or_else(|| panic!("no token in {mail}")).trim().to_owned()
}

fn subject(mail: &str) -> &str {
    mail.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap()
}

async fn register(server: &TestServer, email: &str) -> Reply {
    let wish = json!({"email": email, "name": "Ann", "password": PASSWORD, "organization": "Ours"});
    server.post("/auth/register").json(wish).await
}

async fn verify(server: &TestServer, token: &str) -> Reply {
    server.post("/auth/verify-email").json(json!({"token": token})).await
}

async fn login(server: &TestServer, email: &str, password: &str) -> Reply {
    let login = json!({"email": email, "password": password, "client": "cli"});
    server.post("/auth/login").json(login).await
}

async fn reset(server: &TestServer, token: &str, password: &str) -> Reply {
    let reset = json!({"token": token, "new_password": password});
    server.post("/auth/reset-password").json(reset).await
}

async fn forget(server: &TestServer, email: &str) -> Reply {
    server.post("/auth/forgot-password").json(json!({"email": email})).await
}

async fn change(server: &TestServer, by: &Person, (old, new): (&str, &str), end: bool) -> Reply {
    let change = json!({"current_password": old, "new_password": new, "end_other_sessions": end});
    server.post("/auth/password").by(by).json(change).await
}

/// Rows: E5
async fn registering_says_the_same_whether_there_is_an_account_or_not(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    server.owner().await;
    let (new, known) =
        (register(&server, "new@x.org").await, register(&server, "owner@example.com").await);
    assert_eq!((new.status.as_u16(), &new.body), (202, &known.body));
    assert_eq!(known.status, 202);
    let mails = mails(&server).await;
    let subjects: Vec<_> = mails.iter().map(|mail| subject(mail)).collect();
    assert_eq!(subjects, ["Confirm your address", "You have an account already"]);
    login(&server, "new@x.org", PASSWORD).await.expect(401).problem("wrong-login");
    login(&server, "owner@example.com", PASSWORD).await.expect(200);
}

/// Rows: E5, E8
async fn whoever_confirms_the_address_owns_an_organization(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let acme = server.owner().await;
    register(&server, "Ann@X.org").await.expect(202);
    let mails = mails(&server).await;
    assert!(mails[0].contains("To: ann@x.org") && !mails[0].contains(PASSWORD), "{}", mails[0]);
    verify(&server, &token(&mails[0])).await.expect(204);
    let me = login(&server, "ann@x.org", PASSWORD).await.expect(200).json();
    assert_eq!(
        (&me["user"]["role"], &me["user"]["organization"]),
        (&json!("owner"), &json!("Ours"))
    );
    verify(&server, &token(&mails[0])).await.expect(400).problem("token-invalid");
    let people = server.get("/users").by(&acme).await.json();
    assert_eq!(people["items"].as_array().unwrap().len(), 1, "Acme is another organization");
}

/// Rows: B7, E8
async fn a_confirmation_works_once_when_fifty_race(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    server.owner().await;
    register(&server, "ann@x.org").await.expect(202);
    let token = token(&mails(&server).await[0]);
    let replies = join_all((0..50).map(|_| verify(&server, &token))).await;
    let done = replies.iter().filter(|reply| reply.status == 204).count();
    assert_eq!(done, 1);
    assert!(replies.iter().all(|reply| [204, 400].contains(&reply.status.as_u16())));
}

/// Rows: E8
async fn a_confirmation_runs_out_after_a_day(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    server.owner().await;
    register(&server, "ann@x.org").await.expect(202);
    let token = token(&mails(&server).await[0]);
    server.pass(24 * 3600);
    verify(&server, &token).await.expect(400).problem("token-invalid");
}

/// Rows: E12
async fn the_newest_mail_alone_confirms(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    server.owner().await;
    register(&server, "ann@x.org").await.expect(202);
    let first = token(&mails(&server).await[0]);
    for email in ["ann@x.org", "nobody@x.org"] {
        let resend = server.post("/auth/verify-email/resend").json(json!({"email": email})).await;
        resend.expect(202);
    }
    let again = mails(&server).await;
    assert_eq!(again.len(), 1, "nobody asked for the other");
    verify(&server, &first).await.expect(400);
    verify(&server, &token(&again[0])).await.expect(204);
}

/// Rows: E5
async fn registration_is_off_unless_the_operator_wants_it(server: TestServer) {
    server.owner().await;
    register(&server, "ann@x.org").await.expect(404).problem("not-found");
    let off = mailing(&server, |config| config.auth.registration = false).await;
    off.owner().await;
    register(&off, "ann@x.org").await.expect(404);
    let empty = mailing(&server, |_| {}).await;
    register(&empty, "ann@x.org").await.expect(404).problem("not-found");
    empty.owner().await;
    register(&empty, "ann@x.org").await.expect(202);
}

/// Rows: E7
async fn a_forgotten_password_is_set_anew_and_ends_every_session(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    forget(&server, "OWNER@example.com").await.expect(202);
    let sent = mails(&server).await;
    let token = token(&sent[0]);
    reset(&server, &token, "short").await.expect(422);
    reset(&server, &token, OTHER).await.expect(204);
    server.get("/auth/user").by(&owner).await.expect(401);
    let refresh = json!({"refresh_token": owner.refresh});
    server.post("/auth/refresh").json(refresh).await.expect(401);
    login(&server, &owner.email, PASSWORD).await.expect(401);
    login(&server, &owner.email, OTHER).await.expect(200);
    reset(&server, &token, PASSWORD).await.expect(400).problem("token-invalid");
    let notice = mails(&server).await;
    assert_eq!(subject(&notice[0]), "Your password was changed");
    assert!(notice[0].contains("192.0.2.1"), "{}", notice[0]);
}

/// Rows: B7, E7
async fn a_reset_works_once_when_fifty_race(server: TestServer) {
    let server = mailing(&server, cheap).await;
    let owner = server.owner().await;
    forget(&server, &owner.email).await.expect(202);
    let token = token(&mails(&server).await[0]);
    let replies = join_all((0..50).map(|_| reset(&server, &token, OTHER))).await;
    let done = replies.iter().filter(|reply| reply.status == 204).count();
    assert_eq!(done, 1);
    assert!(replies.iter().all(|reply| [204, 400, 422, 503].contains(&reply.status.as_u16())));
}

/// Rows: E6, E7
async fn a_reset_runs_out_after_an_hour_and_three_an_hour_are_sent(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    for _ in 0..5 {
        forget(&server, &owner.email).await.expect(202);
    }
    let sent = mails(&server).await;
    assert_eq!(sent.len(), 3);
    reset(&server, &token(&sent[0]), OTHER).await.expect(400);
    server.pass(3600);
    reset(&server, &token(&sent[2]), OTHER).await.expect(400).problem("token-invalid");
    forget(&server, &owner.email).await.expect(202);
    assert_eq!(mails(&server).await.len(), 1);
}

/// Rows: E6
async fn nobody_learns_by_forgetting_whether_an_account_exists(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    let (known, unknown) =
        (forget(&server, &owner.email).await, forget(&server, "nobody@x.org").await);
    assert_eq!((known.status.as_u16(), &known.body), (202, &unknown.body));
    assert_eq!(unknown.status, 202);
    let names = |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&known), names(&unknown));
    assert_eq!(mails(&server).await.len(), 1);
    let queued = server.sql("SELECT id FROM mails").await;
    assert!(queued.is_empty(), "both are out of the queue");
}

/// Rows: E12
async fn a_change_needs_the_present_password(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    let wrong = change(&server, &owner, ("Wrong password, 1", OTHER), false).await;
    wrong.expect(403).problem("wrong-password");
    change(&server, &owner, (PASSWORD, OTHER), false).await.expect(204);
    server.get("/auth/user").by(&owner).await.expect(200);
    login(&server, &owner.email, OTHER).await.expect(200);
    for _ in 0..5 {
        change(&server, &owner, ("Wrong password, 1", PASSWORD), false).await;
    }
    let limited = change(&server, &owner, (OTHER, "Third walrus, 9 ledgers"), false).await;
    limited.expect(429).problem("too-many-attempts");
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    let body = json!({"current_password": OTHER, "new_password": PASSWORD});
    server.post("/auth/password").bearer(&key).json(body).await.expect(403).problem("forbidden");
}

/// Rows: E12
async fn a_change_ends_other_sessions_if_asked(server: TestServer) {
    let owner = server.owner().await;
    let other = server.login(&owner.email).await;
    change(&server, &owner, (PASSWORD, OTHER), true).await.expect(204);
    server.get("/auth/user").by(&other).await.expect(401);
    server.get("/auth/user").by(&owner).await.expect(200);
}

/// The cheapest hash there is.
/// Hashes that take no time.
pub(crate) fn cheap(config: &mut server::Config) {
    config.auth.password.hash = HashKind::Bcrypt;
    config.auth.password.bcrypt_cost = 4;
}

/// Rows: W4
async fn the_last_five_passwords_are_refused(server: TestServer) {
    let server = mailing(&server, cheap).await;
    let owner = server.owner().await;
    let word = |n: usize| format!("Walrus number {n}, of tuba");
    change(&server, &owner, (PASSWORD, &word(1)), false).await.expect(204);
    for n in 1..5 {
        server.pass(1);
        change(&server, &owner, (&word(n), &word(n + 1)), false).await.expect(204);
    }
    for n in 1..=5 {
        let again = change(&server, &owner, (&word(5), &word(n)), false).await;
        let problem = again.expect(422).problem("invalid-fields").json();
        assert_eq!(problem["errors"][0]["rule"], "history", "{n}");
    }
    change(&server, &owner, (&word(5), PASSWORD), false).await.expect(204);
}

/// Rows: W5
async fn an_old_password_gives_a_token_and_no_session(server: TestServer) {
    let owner = server.owner().await;
    server.pass(90 * 86_400 - 1);
    login(&server, &owner.email, PASSWORD).await.expect(200);
    server.pass(1);
    login(&server, &owner.email, "Wrong password, 1").await.expect(401).problem("wrong-login");
    let old = login(&server, &owner.email, PASSWORD).await;
    let problem = old.expect(403).problem("password-expired").json();
    assert!(problem.get("access_token").is_none());
    let token = text(&problem, "change_token");
    server.get("/auth/user").bearer(&token).await.expect(401);
    reset(&server, &token, PASSWORD).await.expect(422);
    reset(&server, &token, OTHER).await.expect(204);
    reset(&server, &token, "Third walrus, 9 ledgers").await.expect(400);
    login(&server, &owner.email, OTHER).await.expect(200);
    let never = TestServer::start_with(server.engine, |config| {
        config.auth.password.max_age = Lifetime(None);
    })
    .await;
    let owner = never.owner().await;
    never.pass(400 * 86_400);
    login(&never, &owner.email, PASSWORD).await.expect(200);
}

/// Rows: C5, E8
async fn a_changed_address_is_confirmed_first(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    let ask = async |email: &str, password: &str| {
        let ask = json!({"email": email, "current_password": password});
        server.post("/auth/email").by(&owner).json(ask).await
    };
    ask("new@x.org", "Wrong password, 1").await.expect(403).problem("wrong-password");
    ask("first@x.org", PASSWORD).await.expect(202);
    let first = mails(&server).await;
    ask("new@x.org", PASSWORD).await.expect(202);
    let second = mails(&server).await;
    login(&server, &owner.email, PASSWORD).await.expect(200);
    verify(&server, &token(&first[0])).await.expect(400).problem("token-invalid");
    verify(&server, &token(&second[0])).await.expect(204);
    login(&server, &owner.email, PASSWORD).await.expect(401);
    login(&server, "new@x.org", PASSWORD).await.expect(200);
    assert_eq!(server.get("/auth/user").by(&owner).await.json()["email"], "new@x.org");
    assert_eq!(crate::tokens::part(&owner.access, 1)["email"], owner.email);
    let refresh = json!({"refresh_token": owner.refresh});
    let renewed = server.post("/auth/refresh").json(refresh).await;
    let claims = crate::tokens::part(&renewed.expect(200).text("access_token"), 1);
    assert_eq!(claims["email"], "new@x.org");
    let told = mails(&server).await;
    assert!(told[0].contains("To: owner@example.com"), "{}", told[0]);
}

async fn invite(server: &TestServer, by: &Person, email: &str, role: &str) -> Reply {
    server.post("/invitations").by(by).json(json!({"email": email, "role": role})).await
}

async fn accept(server: &TestServer, token: &str) -> Reply {
    let accept = json!({"token": token, "name": "Bob", "password": PASSWORD});
    server.post("/auth/accept-invitation").json(accept).await
}

/// Rows: B7, R7
async fn an_invitation_makes_a_member_once(server: TestServer) {
    let server = mailing(&server, cheap).await;
    let owner = server.owner().await;
    let made = invite(&server, &owner, "bob@x.org", "operator").await.expect(201).json();
    assert!(made.get("token").is_none(), "it is in the mail");
    let mail = mails(&server).await.remove(0);
    assert!(mail.contains("You are invited to join Acme"), "{mail}");
    let token = token(&mail);
    let bare = json!({"token": token});
    server.post("/auth/accept-invitation").json(bare).await.expect(422);
    let replies = join_all((0..50).map(|_| accept(&server, &token))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 204).count(), 1);
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert!(statuses.iter().all(|status| [204, 400, 503].contains(status)), "{statuses:?}");
    let me = login(&server, "bob@x.org", PASSWORD).await.expect(200).json();
    assert_eq!(me["user"]["role"], "operator");
    invite(&server, &owner, "bob@x.org", "viewer").await.expect(409).problem("conflict");
    let second = invite(&server, &owner, "eve@x.org", "viewer").await.json();
    server.delete(&format!("/invitations/{}", text(&second, "id"))).by(&owner).await.expect(204);
    assert!(mails(&server).await.is_empty(), "withdrawn before it was sent");
    invite(&server, &owner, "eve@x.org", "viewer").await.expect(201);
    let late = crate::accounts::token(&mails(&server).await[0]);
    server.pass(7 * 86_400);
    accept(&server, &late).await.expect(400).problem("token-invalid");
}

/// Rows: R7
async fn an_invitation_goes_no_higher_than_who_sends_it(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    invite(&server, &admin, "bob@x.org", "owner").await.expect(403).problem("forbidden");
    invite(&server, &admin, "bob@x.org", "emperor").await.expect(422);
    invite(&server, &admin, "bob", "viewer").await.expect(422);
    invite(&server, &admin, "bob@x.org", "admin").await.expect(201);
}

async fn without_mail_the_invitation_is_handed_over(server: TestServer) {
    let owner = server.owner().await;
    let first = invite(&server, &owner, "bob@x.org", "viewer").await.text("token");
    let second = invite(&server, &owner, "bob@x.org", "admin").await.text("token");
    accept(&server, &first).await.expect(400).problem("token-invalid");
    accept(&server, &second).await.expect(204);
    let me = login(&server, "bob@x.org", PASSWORD).await.json();
    assert_eq!(me["user"]["role"], "admin");
}

/// Rows: O7
async fn who_has_an_account_joins_with_it(server: TestServer) {
    let owner = server.owner().await;
    let other = server.other_organization().await;
    let token = invite(&server, &owner, "other@example.org", "viewer").await.text("token");
    let accept = || server.post("/auth/accept-invitation");
    accept().json(json!({"token": token})).await.expect(422);
    let third = "Third walrus, 9 ledgers";
    let wrong = accept().json(json!({"token": token, "name": "Bob", "password": third})).await;
    wrong.expect(403).problem("wrong-password");
    accept().by(&owner).json(json!({"token": token})).await.expect(422);
    accept().bearer("nonsense").json(json!({"token": token})).await.expect(401);
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&other).json(key).await.text("key");
    accept().bearer(&key).json(json!({"token": token})).await.expect(422);
    accept().by(&other).json(json!({"token": token})).await.expect(204);
    accept().by(&other).json(json!({"token": token})).await.expect(400).problem("token-invalid");
    let people = server.get("/users").by(&owner).await.json();
    assert_eq!(people["items"].as_array().unwrap().len(), 2);
    let here = server.get("/auth/user").by(&other).await.json();
    assert_eq!(here["organization"], "Other", "their session is where it was");
    server.delete(&format!("/users/{}", other.id)).by(&owner).await.expect(204);
    server.get("/auth/user").by(&other).await.expect(200);
}

/// Rows: E4, O7
async fn an_account_that_somebody_else_made_joins_nothing_before_its_address_is_shown(
    server: TestServer,
) {
    let server = mailing(&server, cheap).await;
    let owner = server.owner().await;
    server.add_user(&owner, "eve@x.org", Role::Viewer).await;
    let other = server.other_organization().await;
    invite(&server, &other, "eve@x.org", "admin").await.expect(201);
    let invitation = token(&mails(&server).await[0]);
    let join = async |password: &str| {
        let accept = json!({"token": invitation, "name": "Eve", "password": password});
        server.post("/auth/accept-invitation").json(accept).await
    };
    join(PASSWORD).await.expect(403).problem("email-unverified");
    let eve = server.login("eve@x.org").await;
    assert_eq!(server.get("/auth/user").by(&eve).await.json()["email_verified"], false);
    let accept = server.post("/auth/accept-invitation").by(&eve);
    accept.json(json!({"token": invitation})).await.expect(403).problem("email-unverified");
    forget(&server, "eve@x.org").await.expect(202);
    reset(&server, &token(&mails(&server).await[0]), OTHER).await.expect(204);
    join(PASSWORD).await.expect(403).problem("wrong-password");
    join(OTHER).await.expect(204);
    let me = login(&server, "eve@x.org", OTHER).await.expect(200).json();
    assert_eq!(me["user"]["email_verified"], true);
}

/// Rows: R7
async fn where_there_are_several_organizations_whoever_is_added_is_invited(server: TestServer) {
    let owner = server.owner().await;
    let other = server.other_organization().await;
    let third = "Third walrus, 9 ledgers";
    let add = async |email: &str| {
        let new = json!({"email": email, "name": "N", "role": "viewer", "password": third});
        server.post("/users").by(&owner).json(new).await
    };
    let (free, taken) = (add("free@example.org").await, add(&other.email).await);
    let names = |reply: &Reply| {
        let reply = reply.expect(202).json();
        reply.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&free), names(&taken));
    login(&server, "free@example.org", third).await.expect(401);
    let people = server.get("/users").by(&owner).await.json();
    assert_eq!(people["items"].as_array().unwrap().len(), 1);
    for wrong in [
        json!({}),
        json!({"name": "Bob"}),
        json!({"password": third}),
        json!({"name": "Bob", "password": "short"}),
    ] {
        let try_with = async |token: String| {
            let mut accept = wrong.clone();
            accept["token"] = token.into();
            let reply = server.post("/auth/accept-invitation").json(accept).await;
            reply.expect(422).json()["errors"].clone()
        };
        assert_eq!(try_with(free.text("token")).await, try_with(taken.text("token")).await);
    }
    server.login(&other.email).await;
    add(&owner.email).await.expect(409).problem("conflict");
}

/// Rows: R7, C15
async fn an_invitation_ends_with_the_rights_of_whoever_sent_it(server: TestServer) {
    let owner = server.owner().await;
    let change = async |whom: &Person, change: Value| {
        let call = server.call("PATCH", &format!("/users/{}", whom.id)).by(&owner);
        call.json(change).await.expect(200);
    };
    let admin = server.person(&owner, Role::Admin).await;
    let sent = invite(&server, &admin, "bob@x.org", "admin").await.text("token");
    for (gone, back) in [
        (json!({"role": "operator"}), json!({"role": "admin"})),
        (json!({"disabled": true}), json!({"disabled": false})),
    ] {
        change(&admin, gone).await;
        accept(&server, &sent).await.expect(400).problem("token-invalid");
        change(&admin, back).await;
    }
    accept(&server, &sent).await.expect(204);
    let sent = invite(&server, &server.login(&admin.email).await, "ann@x.org", "viewer").await;
    server.delete(&format!("/users/{}", admin.id)).by(&owner).await.expect(204);
    accept(&server, &sent.text("token")).await.expect(400).problem("token-invalid");
    let scopes = ["users:invite", "devices:read", "teams:read", "telemetry:read"];
    let key = json!({"name": "k", "kind": "service", "scopes": scopes});
    let key = server.post("/api-keys").by(&owner).json(key).await.json();
    let by_key = async |email: &str| {
        let call = server.post("/invitations").bearer(&text(&key, "key"));
        call.json(json!({"email": email, "role": "viewer"})).await.expect(201).text("token")
    };
    let (first, second) = (by_key("cy@x.org").await, by_key("di@x.org").await);
    accept(&server, &first).await.expect(204);
    server.delete(&format!("/api-keys/{}", text(&key, "id"))).by(&owner).await.expect(204);
    accept(&server, &second).await.expect(400).problem("token-invalid");
}

/// Rows: R7, R19
async fn nobody_takes_back_an_invitation_above_their_own_role(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let made = invite(&server, &owner, "bob@x.org", "owner").await.json();
    invite(&server, &admin, "bob@x.org", "viewer").await.expect(403).problem("forbidden");
    let path = format!("/invitations/{}", text(&made, "id"));
    server.delete(&path).by(&admin).await.expect(403).problem("forbidden");
    accept(&server, &text(&made, "token")).await.expect(204);
}

async fn an_invitation_that_ran_out_is_swept(server: TestServer) {
    let owner = server.owner().await;
    invite(&server, &owner, "bob@x.org", "viewer").await.expect(201);
    let left = async || {
        let credentials = "SELECT hash FROM credentials WHERE kind = 'invitation'";
        (server.sql("SELECT id FROM invitations").await.len(), server.sql(credentials).await.len())
    };
    server.fleet.sweep().await.unwrap();
    assert_eq!(left().await, (1, 1));
    server.pass(7 * 86_400);
    server.fleet.sweep().await.unwrap();
    assert_eq!(left().await, (0, 0));
}

/// Rows: E5, E8
async fn each_mail_confirms_the_registration_that_it_is_about(server: TestServer) {
    let server = mailing(&server, cheap).await;
    server.owner().await;
    let register = async |organization: &str| {
        let wish = json!({"email": "ann@x.org", "name": "Ann", "password": PASSWORD,
                          "organization": organization});
        server.post("/auth/register").json(wish).await.expect(202);
        mails(&server).await.remove(0)
    };
    let own = register("Ours").await;
    register("Theirs").await;
    let resend = json!({"email": "ann@x.org"});
    server.post("/auth/verify-email/resend").json(resend).await.expect(202);
    assert!(mails(&server).await.is_empty(), "nobody could tell which it would confirm");
    verify(&server, &token(&own)).await.expect(204);
    let me = login(&server, "ann@x.org", PASSWORD).await.expect(200).json();
    assert_eq!(me["user"]["organization"], "Ours");
    assert_eq!(me["user"]["email_verified"], true);
}

/// Rows: E6
async fn mail_that_strangers_send_is_limited_per_network(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    for n in 0..30 {
        forget(&server, &format!("{n}@x.org")).await.expect(202);
    }
    forget(&server, &owner.email).await.expect(429).problem("too-many-attempts");
    let resend = json!({"email": owner.email});
    server.post("/auth/verify-email/resend").json(resend.clone()).await.expect(429);
    let elsewhere = server.post("/auth/forgot-password").json(resend).from("198.51.100.7");
    elsewhere.await.expect(202);
}

/// Rows: C6, O7
async fn a_person_of_two_organizations_switches_between_them(server: TestServer) {
    let owner = server.owner().await;
    let other = server.other_organization().await;
    let switch = async |by: &Person, org_id: &str| {
        let switch = json!({"org_id": org_id});
        server.post("/auth/org/switch").by(by).json(switch).await
    };
    let acme = server.get("/organization").by(&owner).await.text("id");
    switch(&other, &acme).await.expect(403).problem("forbidden");
    let random = switch(&other, "01a00000-0000-7000-8000-000000000000").await;
    random.expect(403).problem("forbidden");
    // What one belongs to longest comes first.
    server.pass(1);
    let token = invite(&server, &owner, "other@example.org", "viewer").await.text("token");
    let accept = json!({"token": token, "password": PASSWORD});
    server.post("/auth/accept-invitation").json(accept).await.expect(204);
    let listed = server.get("/auth/orgs").by(&other).await.json();
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
    assert_eq!(names, ["owner", "viewer"]);
    let home = server.get("/organization").by(&other).await.text("id");
    switch(&other, &home).await.expect(409).problem("conflict");
    server.pass(600);
    let there = switch(&other, &acme).await;
    let claims = crate::tokens::part(&there.expect(200).text("access_token"), 1);
    assert_eq!(claims["auth_time"].as_i64(), claims["iat"].as_i64().map(|at| at - 601));
    let there = Person::from(&there.json());
    let me = server.get("/auth/user").by(&there).await.json();
    assert_eq!((&me["organization"], &me["role"]), (&json!("Acme"), &json!("viewer")));
    server.get("/auth/user").by(&other).await.expect(401);
    server.get("/users").by(&there).await.expect(403);
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    let keyed = json!({"org_id": acme});
    server.post("/auth/org/switch").bearer(&key).json(keyed).await.expect(403);
    let only = server.get("/auth/orgs").bearer(&key).await.json();
    assert_eq!(only["items"].as_array().unwrap().len(), 1);
}

/// Rows: E3, M3
async fn a_refresh_token_used_twice_is_told_by_mail(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    let refresh = json!({"refresh_token": owner.refresh});
    server.post("/auth/refresh").json(refresh.clone()).await.expect(200);
    server.pass(60);
    server.post("/auth/refresh").json(refresh).from("198.51.100.66").await.expect(401);
    let told = mails(&server).await;
    assert_eq!(subject(&told[0]), "A session of yours was ended");
    assert!(told[0].contains("198.51.100.66"));
}

async fn mail_that_cannot_be_sent_waits(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    forget(&server, &owner.email).await.expect(202);
    fs::remove_dir(mail_dir(&server)).unwrap();
    let tried = server.fleet.deliver_mail().await.unwrap();
    assert_eq!((tried.sent, tried.postponed, tried.dropped), (0, 1, 0));
    fs::create_dir(mail_dir(&server)).unwrap();
    let soon = server.fleet.deliver_mail().await.unwrap();
    assert_eq!((soon.sent, soon.postponed), (0, 0), "not yet due");
    server.pass(30);
    let restarted = server.second_node().await;
    let sent = mails(&restarted).await;
    reset(&server, &token(&sent[0]), OTHER).await.expect(204);
    forget(&server, &owner.email).await.expect(202);
    fs::remove_dir_all(mail_dir(&server)).unwrap();
    server.fleet.deliver_mail().await.unwrap();
    server.pass(73 * 3600);
    let given_up = server.fleet.deliver_mail().await.unwrap();
    assert!(given_up.dropped >= 1, "{given_up:?}");
}

async fn two_processes_send_each_mail_once(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    server.owner().await;
    for n in 0..10 {
        register(&server, &format!("ann{n}@x.org")).await.expect(202);
    }
    let other = server.second_node().await;
    let (a, b) = tokio::join!(server.fleet.deliver_mail(), other.fleet.deliver_mail());
    assert_eq!(a.unwrap().sent + b.unwrap().sent, 10);
    assert_eq!(mails(&server).await.len(), 10);
}

/// Rows: P4a, P4b, W1, W2, W7
/// Rows in part: W3
async fn a_registration_names_every_broken_rule(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    server.owner().await;
    let broken = async |password: &str| -> Vec<Value> {
        let wish = json!({"email": "ann@x.org", "name": "Ann Miller", "password": password,
                          "organization": "Rocketry"});
        let reply = server.post("/auth/register").json(wish).await;
        let problem = reply.expect(422).problem("invalid-fields").json();
        let errors = problem["errors"].as_array().unwrap().clone();
        errors.into_iter().map(|mut error| error["rule"].take()).collect()
    };
    assert_eq!(broken("Tr0ub4dor&3").await, ["min_length"]);
    assert_eq!(
        broken("troubadours").await,
        ["min_length", "require_upper", "require_digit", "require_special"]
    );
    assert_eq!(broken("Password1234!").await, ["check_common"]);
    assert_eq!(broken("My R0cketry is 7").await, ["check_names"]);
    assert_eq!(broken("The Miller's 7 tubas").await, ["check_names"]);
    assert_eq!(broken(&format!("Aa1!{}", "x".repeat(10_000))).await, ["max_length"]);
    assert_eq!(broken("Tr0ub4dor&3\u{0}xyz").await, ["nul"]);
}

/// Rows: P5
#[test]
fn another_cost_hashes_anew_at_the_next_login() {
    runtime().block_on(async {
        let server = TestServer::start_with(Engine::Sqlite, cheap).await;
        let owner = server.owner().await;
        let hash = async || -> String {
            sqlx::Row::get(&server.sql("SELECT password_hash FROM users").await[0], 0)
        };
        assert!(hash().await.starts_with("$2b$04$"));
        let dearer = server.second_node_with(|config| config.auth.password.bcrypt_cost = 5).await;
        login(&dearer, &owner.email, PASSWORD).await.expect(200);
        assert!(hash().await.starts_with("$2b$05$"));
        login(&server, &owner.email, PASSWORD).await.expect(200);
        assert!(hash().await.starts_with("$2b$04$"), "and back");
    });
}

/// Rows: P5
#[test]
fn the_cost_of_the_seed_makes_its_hash() {
    let seed: Password =
        serde_norway::from_str("{min_length: 12, require_special: true, bcrypt_cost: 12}").unwrap();
    assert_eq!((seed.preset, seed.hash, seed.bcrypt_cost), (Preset::Seed, HashKind::Bcrypt, 12));
    runtime().block_on(async {
        let server = TestServer::start_with(Engine::Sqlite, |config| {
            config.auth.password = seed.clone();
        })
        .await;
        server.owner().await;
        let hash: String =
            sqlx::Row::get(&server.sql("SELECT password_hash FROM users").await[0], 0);
        assert!(hash.starts_with("$2b$12$"), "{hash}");
    });
}

async fn spellings_of_one_address_are_one_account_and_look_alikes_are_two(server: TestServer) {
    let owner = server.owner().await;
    let add = async |email: &str| {
        let new = json!({"email": email, "name": "N", "role": "viewer", "password": PASSWORD});
        server.post("/users").by(&owner).json(new).await
    };
    add("ren\u{e9}e@example.com").await.expect(201);
    // Decomposed, in capitals, and with a letter of full width.
    for same in
        ["rene\u{301}e@example.com", "REN\u{c9}E@EXAMPLE.COM", "\u{ff52}en\u{e9}e@example.com"]
    {
        server.login(same).await;
        add(same).await.expect(409);
    }
    // With a Cyrillic letter it is another person.
    let alike = "ren\u{e9}\u{435}@example.com";
    let login = json!({"email": alike, "password": PASSWORD, "client": "cli"});
    server.post("/auth/login").json(login).await.expect(401);
    add(alike).await.expect(201);
    for unseen in [
        "ren\u{e9}\u{200b}e@example.com",
        "\u{202e}ren\u{e9}e@example.com",
        "ren\u{e9}e\u{fe0f}@example.com",
        "ren\u{e9}\u{3164}e@example.com",
    ] {
        add(unseen).await.expect(422).problem("invalid-fields");
    }
}

//! The pages that links in mail lead to, opened and sent as a browser does it.

use serde_json::json;

use crate::{
    accounts::{mailing, mails},
    harness::{PASSWORD, Reply, TestServer},
};

crate::on_both_databases! {
    a_forgotten_password_is_set_on_the_page_that_mail_leads_to,
    an_address_is_confirmed_and_an_invitation_accepted_on_their_pages,
    without_an_address_of_its_own_the_server_sends_no_links,
}

const SERVER: &str = "https://fleet.example.com";

async fn linking(server: &TestServer) -> TestServer {
    mailing(server, |config| config.server.url = Some(SERVER.parse().unwrap())).await
}

/// Where the link in the mail that was sent last leads to on the server.
async fn link(server: &TestServer) -> String {
    let mail = mails(server).await.pop().unwrap().replace("=3D", "=");
    let mut lines = mail.lines().map(str::trim);
    lines.find_map(|line| line.strip_prefix(SERVER)).unwrap_or_else(|| panic!("{mail}")).to_owned()
}

fn html(page: &Reply) -> String {
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{page:?}");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'"));
    assert!(!policy.contains("script"), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    String::from_utf8(page.body.clone()).unwrap()
}

/// The text between the first `begin` and the quotation mark after it.
fn value<'a>(html: &'a str, begin: &str) -> &'a str {
    let (_, rest) = html.split_once(begin).unwrap_or_else(|| panic!("no `{begin}` in {html}"));
    rest.split('"').next().unwrap()
}

/// Fills in the form of a page and sends it, as a browser does that tells of the `site`, or an old one.
async fn submit(server: &TestServer, page: &Reply, fields: &[(&str, &str)], site: &str) -> Reply {
    let html = html(page);
    assert_eq!(value(&html, "<form method=\""), "post", "a password is in no address");
    let token = value(&html, "name=\"token\" value=\"");
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let body = body.append_pair("token", token).extend_pairs(fields).finish();
    let action = format!("/auth/mailed/{}", value(&html, "action=\""));
    let call = match site {
        "old-browser" => server.post(&action).header("host", "fleet.example.com"),
        site => server.post(&action).header("sec-fetch-site", site),
    };
    let call = call.header("origin", SERVER);
    call.header("content-type", "application/x-www-form-urlencoded").bytes(body).await
}

/// Rows: E7
/// Rows in part: F2
async fn a_forgotten_password_is_set_on_the_page_that_mail_leads_to(server: TestServer) {
    let server = linking(&server).await;
    let owner = server.owner().await;
    let asked = json!({"email": owner.email});
    server.post("/auth/forgot-password").json(asked).await.expect(202);
    let link = link(&server).await;
    let page = server.get(&link).await;
    server.get(&link).await.expect(200);
    let send = async |password: &str, site: &str| {
        submit(&server, &page, &[("password", password)], site).await
    };
    const NEW: &str = "Another walrus, 8 & ledgers";
    send(NEW, "cross-site").await.expect(403).problem("cross-site");
    let weak = send("short", "same-origin").await;
    assert!(html(weak.expect(422)).contains("Password must have"), "{weak:?}");
    assert!(!html(&weak).contains("short"), "it is not shown again");
    server.get("/auth/user").by(&owner).await.expect(200);
    // The page that says what is wrong has the form, too.
    let done = submit(&server, &weak, &[("password", NEW)], "old-browser").await;
    assert!(html(done.expect(200)).contains("The password is set"), "{done:?}");
    server.get("/auth/user").by(&owner).await.expect(401);
    let login = json!({"email": owner.email, "password": NEW});
    server.post("/auth/login").json(login).await.expect(200);
    let again = send(PASSWORD, "same-origin").await;
    assert!(html(again.expect(400)).contains("was used"), "{again:?}");
}

/// Rows: E8
async fn an_address_is_confirmed_and_an_invitation_accepted_on_their_pages(server: TestServer) {
    let server = linking(&server).await;
    let owner = server.owner().await;
    let wish = json!({"email": "ann@x.org", "name": "Ann", "password": PASSWORD,
                      "organization": "O"});
    server.post("/auth/register").json(wish).await.expect(202);
    let page = server.get(&link(&server).await).await;
    let login = json!({"email": "ann@x.org", "password": PASSWORD});
    server.post("/auth/login").json(login).await.expect(401);
    submit(&server, &page, &[], "same-origin").await.expect(200);
    server.login("ann@x.org").await;

    let invitation = json!({"email": "bob@x.org", "role": "viewer"});
    server.post("/invitations").by(&owner).json(invitation).await.expect(201);
    let page = server.get(&link(&server).await).await;
    let nameless = [("name", " "), ("password", PASSWORD)];
    let nameless = submit(&server, &page, &nameless, "same-origin").await;
    assert!(html(nameless.expect(422)).contains("Name is needed"), "{nameless:?}");
    let named = [("name", "<b>Bob"), ("password", "short")];
    let shown = html(&submit(&server, &page, &named, "same-origin").await);
    assert!(shown.contains("&#60;b&#62;Bob") && !shown.contains("<b>Bob"), "{shown}");
    let named = [("name", "Bob"), ("password", PASSWORD)];
    submit(&server, &page, &named, "same-origin").await.expect(200);
    server.login("bob@x.org").await;
    server.get("/auth/mailed/something-else").await.expect(404).problem("not-found");
}

async fn without_an_address_of_its_own_the_server_sends_no_links(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    let asked = json!({"email": owner.email});
    server.post("/auth/forgot-password").json(asked).await.expect(202);
    let mail = mails(&server).await.pop().unwrap();
    assert!(!mail.contains("/auth/mailed") && mail.contains("account reset-password"), "{mail}");
}

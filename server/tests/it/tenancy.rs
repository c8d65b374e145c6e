//! Organizations do not see each other: through the API on both databases, and in PostgreSQL even
//! where a query forgets to ask.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use server::{config::Secret, http::access::ROUTES};
use wire::Role;

use crate::{
    harness::{Engine, Person, Reply, TestServer, machine, runtime, text},
    postgres::{Bouncer, Cluster, owner_of},
    roles,
};

crate::on_both_databases! {
    what_belongs_to_another_organization_is_not_found,
    lists_show_the_own_organization_alone,
    an_enroll_secret_leads_to_its_own_organization,
    a_team_of_another_organization_cannot_be_used,
    no_route_tells_another_organizations_id_from_a_random_one,
    two_organizations_over_a_pool_of_two_never_mix,
}

/// Rows: O5, O6
async fn what_belongs_to_another_organization_is_not_found(server: TestServer) {
    let ours = server.owner().await;
    let theirs = server.other_organization().await;
    let (secret_id, secret) = server.secret(&theirs, json!({})).await;
    let node_key = server.enroll(&secret, machine("theirs")).await.text("orbit_node_key");
    let device = text(&server.devices(&theirs).await[0], "id");
    let team = server.post("/teams").by(&theirs).json(json!({"name": "T"})).await.text("id");
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&theirs).json(key).await.text("id");
    let random = "01a00000-0000-7000-8000-000000000000";
    for (noun, id) in [
        ("devices", &device),
        ("enroll-secrets", &secret_id),
        ("teams", &team),
        ("api-keys", &key),
        ("users", &theirs.id),
    ] {
        for method in ["GET", "DELETE"] {
            if noun == "users" && method == "GET" {
                continue;
            }
            let strip = |mut problem: serde_json::Value| {
                problem.as_object_mut().unwrap().remove("instance");
                problem
            };
            let foreign = server.call(method, &format!("/{noun}/{id}")).by(&ours).await;
            let unknown = server.call(method, &format!("/{noun}/{random}")).by(&ours).await;
            foreign.expect(404).problem("not-found");
            assert_eq!(strip(foreign.json()), strip(unknown.expect(404).json()), "{noun}");
        }
    }
    let rotate = server.post(&format!("/api-keys/{key}/rotate")).by(&ours).json(json!({})).await;
    rotate.expect(404);
    assert!(server.orbit_works(&node_key).await);
    server.get(&format!("/devices/{device}")).by(&theirs).await.expect(200);
}

/// Rows: O1, O6
async fn lists_show_the_own_organization_alone(server: TestServer) {
    let (ours, theirs) = (server.owner().await, server.other_organization().await);
    check_lists(&server, &both(&server, &ours, &theirs).await).await;
}

/// An organization with one of everything.
struct Seeded {
    owner: Person,
    /// By the noun of their routes.
    ids: BTreeMap<&'static str, String>,
    /// What nobody else's replies may contain.
    marks: Vec<String>,
}

async fn both(server: &TestServer, ours: &Person, theirs: &Person) -> [Seeded; 2] {
    [seeded(server, ours, "acorn").await, seeded(server, theirs, "birch").await]
}

/// Makes one of everything, called `name`; hardware and the team are of the same name everywhere.
async fn seeded(server: &TestServer, owner: &Person, name: &str) -> Seeded {
    let make = async |path: &str, new: Value| {
        server.post(path).by(owner).json(new).await.expect(201).json()
    };
    let (secret_id, secret) = server.secret(owner, json!({"name": name})).await;
    let mut device = machine("same-hardware");
    device["hostname"] = name.into();
    let node_key = server.enroll(&secret, device).await.expect(200).text("orbit_node_key");
    let component = json!({"component": "orbit", "channel": name, "state": "current"});
    let report = json!({"orbit_node_key": node_key, "components": [component]});
    server.post("/api/fleet/orbit/updates").json(report).await.expect(200);
    let team = text(&make("/teams", json!({"name": "Same"})).await, "id");
    make("/roles", json!({"name": name, "permissions": ["devices:read"]})).await;
    let member = format!("/teams/{team}/members/{}", owner.id);
    server.call("PUT", &member).by(owner).json(json!({"role": name})).await.expect(200);
    let key = make("/api-keys", json!({"name": name, "scopes": ["devices:read"]})).await;
    let email = format!("{name}@example.com");
    make("/invitations", json!({"email": email, "role": "viewer"})).await;
    let ids = BTreeMap::from([
        ("enroll-secrets", secret_id),
        ("devices", text(&server.devices(owner).await[0], "id")),
        ("teams", team),
        ("api-keys", text(&key, "id")),
        ("users", owner.id.clone()),
    ]);
    let session = text(&crate::tokens::part(&owner.access, 1), "sid");
    let org_id = server.get("/organization").by(owner).await.text("id");
    let mut marks = vec![name.to_owned(), owner.email.clone(), session, org_id];
    marks.extend(ids.values().cloned());
    Seeded { owner: owner.clone(), ids, marks }
}

/// Asks for everything that there is to be read, for both at once and again and again.
async fn check_lists(server: &TestServer, both: &[Seeded; 2]) {
    let mut calls = Vec::new();
    let readable = ROUTES.iter().filter(|(method, path, access)| {
        *method == "GET" && access.admits(Role::Owner).is_some() && !path.contains("{user_code}")
    });
    for (_, path, _) in readable {
        for (own, other) in [(&both[0], &both[1]), (&both[1], &both[0])] {
            let noun = path.split('/').nth(1).unwrap();
            let id = own.ids.get(noun).map_or("", String::as_str);
            let concrete = path.replace("{id}", id);
            calls.extend((0..5).map(|_| {
                let call = server.get(&concrete).by(&own.owner);
                async move { check_list(path, (own, other), &call.await) }
            }));
        }
    }
    assert!(calls.len() >= 200, "{}", calls.len());
    futures_util::future::join_all(calls).await;
}

fn check_list(path: &str, (own, other): (&Seeded, &Seeded), reply: &Reply) {
    let told = String::from_utf8(reply.expect(200).body.clone()).unwrap();
    let foreign = other.marks.iter().find(|mark| told.contains(*mark));
    assert_eq!(foreign, None, "{path}: {told}");
    match path {
        "/billing" => assert_eq!(reply.json()["devices"], 1, "{told}"),
        // A number and a hash.
        "/audit/head" => {}
        _ => assert!(own.marks.iter().any(|mark| told.contains(mark)), "{path}: {told}"),
    }
    let is_list = told.starts_with("{\"items\":") && path != "/audit";
    if is_list {
        let expected = if path == "/roles" { Role::ALL.len() + 1 } else { 1 };
        assert_eq!(reply.json()["items"].as_array().unwrap().len(), expected, "{path}: {told}");
    }
}

async fn an_enroll_secret_leads_to_its_own_organization(server: TestServer) {
    let ours = server.owner().await;
    let theirs = server.other_organization().await;
    let (_, secret) = server.secret(&theirs, json!({"secret": "a secret that they chose"})).await;
    server.enroll(&secret, machine("a")).await.expect(200);
    assert_eq!(server.devices(&ours).await.len(), 0);
    assert_eq!(server.devices(&theirs).await.len(), 1);
}

async fn a_team_of_another_organization_cannot_be_used(server: TestServer) {
    let ours = server.owner().await;
    let theirs = server.other_organization().await;
    let team = server.post("/teams").by(&theirs).json(json!({"name": "T"})).await.text("id");
    let new = json!({"name": "x", "team_id": team});
    server.post("/enroll-secrets").by(&ours).json(new).await.expect(404);
    let filtered = server.get(&format!("/devices?team_id={team}")).by(&ours).await;
    assert_eq!(filtered.expect(200).json()["items"].as_array().unwrap().len(), 0);
}

const TABLES: [&str; 14] = [
    "api_keys",
    "audit_events",
    "audit_heads",
    "credentials",
    "device_updates",
    "devices",
    "enroll_secrets",
    "invitations",
    "memberships",
    "revoked_tokens",
    "roles",
    "sessions",
    "team_members",
    "teams",
];

/// Tables that are secured otherwise: people may be in several organizations.
const OF_PEOPLE: [&str; 2] = ["password_history", "users"];

/// Tables without row-level security, and why they have none.
const SHARED: [(&str, &str); 13] = [
    ("_sqlx_migrations", "the schema's history, which the server only reads"),
    ("address_folding", "whether addresses were looked through; of persons, ids alone"),
    ("attempts", "what limits count before anybody is known"),
    ("device_logins", "found by a code's hash; whose one is, is known once it is approved"),
    ("ended_organizations", "names of organizations that were, for the operator's command"),
    ("known_networks", "looked at before a sign-in; each of a person, whom security hides"),
    ("mails", "the server's queue, to be sent whoever they are for"),
    ("one_time_tokens", "found by a token's hash, which tells whose account it is about"),
    ("organizations", "the list that the server goes through; an OrgStore reads its own by id"),
    ("registrations", "people who belong nowhere yet, found by a token's hash"),
    ("request_leases", "what limits count, by names that servers give callers"),
    ("setup_code", "made before there is any organization"),
    ("signing_keys", "the server's own, encrypted with its master key"),
];

/// Fills two organizations and connects as the server's own role.
async fn two_organizations(server: &TestServer) -> (PgConnection, [String; 2]) {
    let ours = server.owner().await;
    let theirs = server.other_organization().await;
    let mut ids = Vec::new();
    for person in [&ours, &theirs] {
        let (_, secret) = server.secret(person, json!({})).await;
        server.enroll(&secret, machine("m")).await.expect(200);
        let team = server.post("/teams").by(person).json(json!({"name": "T"})).await.text("id");
        let role = json!({"name": "r", "permissions": []});
        server.post("/roles").by(person).json(role).await.expect(201);
        let member = format!("/teams/{team}/members/{}", person.id);
        server.call("PUT", &member).by(person).json(json!({"role": "r"})).await.expect(200);
        let token = json!({"what": "token", "jti": "01a00000-0000-7000-8000-000000000000"});
        server.post("/auth/revocations").by(person).json(token).await.expect(204);
        let invited = json!({"email": "bob@x.org", "role": "viewer"});
        server.post("/invitations").by(person).json(invited).await.expect(201);
        let key = json!({"name": "k", "scopes": ["devices:read"]});
        server.post("/api-keys").by(person).json(key).await.expect(201);
        ids.push(server.get("/auth/user").by(person).await.text("org_id"));
    }
    let updates = "INSERT INTO device_updates SELECT org_id, id, 'orbit', '1.0.0', '' FROM devices";
    server.sql(updates).await;
    let connection = PgConnection::connect(&server.database).await.unwrap();
    (connection, [ids.remove(0), ids.remove(0)])
}

async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    // As a simple query, which a pooler cannot tear apart.
    connection.fetch_one(sql).await.unwrap().get(0)
}

/// Rows: O2
#[test]
fn a_query_that_forgets_the_organization_sees_no_foreign_row() {
    crate::harness::runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let (mut connection, [ours, _]) = two_organizations(&server).await;
        for table in TABLES {
            assert_eq!(count(&mut connection, table).await, 0, "{table} without an organization");
            let mut tx = connection.begin().await.unwrap();
            sqlx::query("SELECT set_config('app.org_id', $1, true)")
                .bind(&ours)
                .execute(&mut *tx)
                .await
                .unwrap();
            let sql = format!("SELECT DISTINCT org_id FROM {table}");
            let seen = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *tx).await.unwrap();
            let seen: Vec<String> = seen.iter().map(|row| row.get(0)).collect();
            assert_eq!(seen, [ours.as_str()], "{table}");
            tx.commit().await.unwrap();
            assert_eq!(count(&mut connection, table).await, 0, "{table} after the transaction");
        }
    });
}

/// Rows: O2
#[test]
fn a_row_cannot_be_written_into_another_organization() {
    crate::harness::runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let (mut connection, [ours, theirs]) = two_organizations(&server).await;
        let mut tx = connection.begin().await.unwrap();
        sqlx::query("SELECT set_config('app.org_id', $1, true)")
            .bind(&ours)
            .execute(&mut *tx)
            .await
            .unwrap();
        let insert = "INSERT INTO teams (org_id, id, name, created_at) VALUES ($1, 'x', 'x', 0)";
        let error = sqlx::query(insert).bind(&theirs).execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("row-level security"), "{error}");
    });
}

/// Rows: O2
#[test]
fn row_level_security_is_forced_on_every_table_but_those_that_are_shared_for_a_reason() {
    crate::harness::runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let database = server.database.split(['/', '?']).nth(3).unwrap();
        let mut admin = Cluster::shared().admin(database).await;
        let rows = sqlx::query(
            "SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity, EXISTS
             (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id')
             FROM pg_class c WHERE c.relkind IN ('r', 'p')
             AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname",
        )
        .fetch_all(&mut admin)
        .await
        .unwrap();
        let tables = |forced: bool, of_one: bool| -> Vec<String> {
            let rows = rows.iter().filter(|row| (row.get(1), row.get(2)) == (forced, of_one));
            rows.map(|row| row.get(0)).collect()
        };
        assert_eq!(tables(true, true), TABLES);
        assert_eq!(tables(true, false), OF_PEOPLE);
        assert_eq!(tables(false, true), [""; 0]);
        assert_eq!(tables(false, false), SHARED.map(|(name, _why)| name));
    });
}

/// Rows: O2, O7
#[test]
fn people_are_seen_where_they_belong_and_changed_only_by_what_is_about_them() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let (ours, theirs) = (server.owner().await, server.other_organization().await);
        let org_id = server.get("/organization").by(&ours).await.text("id");
        server.sql("INSERT INTO password_history SELECT id, 'old', 0 FROM users").await;
        let mut connection = PgConnection::connect(&server.database).await.unwrap();
        let (our, their) = (ours.email.as_str(), theirs.email.as_str());
        for (name, value, seen) in [
            ("app.org_id", org_id.as_str(), vec![our]),
            ("app.address", their, vec![their]),
            ("app.survey", "people", vec![their, our]),
            ("app.survey", "", vec![]),
            ("app.user_id", ours.id.as_str(), vec![]),
            ("app.account", theirs.id.as_str(), vec![their]),
        ] {
            let mut tx = connection.begin().await.unwrap();
            let set = sqlx::query("SELECT set_config($1, $2, true)").bind(name).bind(value);
            set.execute(&mut *tx).await.unwrap();
            let rows = sqlx::query("SELECT email FROM users ORDER BY email").fetch_all(&mut *tx);
            let emails: Vec<String> = rows.await.unwrap().iter().map(|row| row.get(0)).collect();
            assert_eq!(emails, seen, "{name}");
            for (table, column) in [("password_history", "used_until"), ("users", "created_at")] {
                let sql = sqlx::AssertSqlSafe(format!("UPDATE {table} SET {column} = 1"));
                let changed = sqlx::query(sql).execute(&mut *tx).await.unwrap().rows_affected();
                assert_eq!(changed, u64::from(name == "app.account"), "{table} by {name}");
            }
            tx.rollback().await.unwrap();
            for table in OF_PEOPLE {
                assert_eq!(count(&mut connection, table).await, 0, "{table} after {name}");
            }
        }
        let stranger = "INSERT INTO users (id, email, name, password_hash, created_at)
                        VALUES ('x', 'x@example.com', 'X', '', 0)";
        let error = sqlx::query(stranger).execute(&mut connection).await.unwrap_err();
        assert!(error.to_string().contains("row-level security"), "{error}");
    });
}

/// Rows: O4
#[test]
fn a_role_that_row_level_security_does_not_bind_is_refused_by_name() {
    crate::harness::runtime().block_on(async {
        let database = Cluster::shared().new_database().await;
        let name = database.split(['/', '?']).nth(3).unwrap().to_owned();
        let mut admin = Cluster::shared().admin(&name).await;
        for make in [
            "CREATE ROLE NAME_exempt LOGIN BYPASSRLS",
            "CREATE ROLE NAME_maker LOGIN CREATEROLE",
            "CREATE ROLE NAME_heir LOGIN NOINHERIT IN ROLE NAME_owner",
            "CREATE ROLE NAME_friend LOGIN NOINHERIT IN ROLE NAME_exempt",
            "CREATE ROLE NAME_boss LOGIN NOINHERIT IN ROLE postgres",
        ] {
            let sql = sqlx::AssertSqlSafe(make.replace("NAME", &name));
            sqlx::query(sql).execute(&mut admin).await.unwrap();
        }
        for (role, why) in [
            ("postgres".to_owned(), "has SUPERUSER"),
            (format!("{name}_exempt"), "has BYPASSRLS"),
            (format!("{name}_maker"), "has CREATEROLE"),
            (format!("{name}_owner"), "owns the database"),
            (format!("{name}_heir"), "owns the database"),
            (format!("{name}_friend"), "may become a role that has BYPASSRLS"),
            (format!("{name}_boss"), "may become a role that has SUPERUSER"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
            let mut config = server::Config::in_dir(path);
            config.database.url = Secret::new(Cluster::shared().url(&role, &name));
            let error = server::Fleet::open(config, server::Clock::System).await.unwrap_err();
            let error = error.to_string();
            assert!(error.contains(&format!("`{role}`")) && error.contains(why), "{error}");
            assert!(error.contains("NOSUPERUSER NOBYPASSRLS"), "{error}");
        }
        let tables = "SELECT 1 FROM pg_tables WHERE schemaname = 'public'";
        let tables = sqlx::query(tables).fetch_all(&mut admin).await.unwrap();
        assert!(tables.is_empty(), "nothing was made before the refusal");
    });
}

#[test]
fn a_migration_that_lifts_the_force_changes_rows_of_every_organization() {
    crate::harness::runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        two_organizations(&server).await;
        let owner = owner_of(&server.database);
        let mut connection = PgConnection::connect(&owner).await.unwrap();
        let rename = "UPDATE teams SET name = 'renamed'";
        let forced = sqlx::query(rename).execute(&mut connection).await.unwrap();
        assert_eq!(forced.rows_affected(), 0);
        let mut tx = connection.begin().await.unwrap();
        let lift = "ALTER TABLE teams NO FORCE ROW LEVEL SECURITY";
        sqlx::query(lift).execute(&mut *tx).await.unwrap();
        let lifted = sqlx::query(rename).execute(&mut *tx).await.unwrap();
        assert_eq!(lifted.rows_affected(), 2);
        let restore = "ALTER TABLE teams FORCE ROW LEVEL SECURITY";
        sqlx::query(restore).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(count(&mut connection, "teams").await, 0);
    });
}

/// Every route with an id, as the owner of another organization.
///
/// Rows: F10, O5, O6
async fn no_route_tells_another_organizations_id_from_a_random_one(server: TestServer) {
    let ours = server.owner().await;
    let theirs = server.other_organization().await;
    compare_ids(&server, &ours, &theirs).await;
}

async fn compare_ids(server: &TestServer, ours: &Person, theirs: &Person) {
    let mut tried = 0;
    for (n, (method, path, access)) in ROUTES.iter().enumerate() {
        // A code is asked for by nobody in particular: it belongs to no organization.
        let by_id = path.contains('{') && !path.contains("{user_code}");
        if access.admits(Role::Owner).is_none() || !by_id {
            continue;
        }
        let foreign = roles::make(server, theirs, path, n).await;
        let random = if path.contains("{name}") {
            "no-such".to_owned()
        } else {
            "01a00000-0000-7000-8000-000000000000".to_owned()
        };
        let ask = async |id: &str| {
            let path = path.replace("{id}", id).replace("{name}", id);
            let path = path.replace("{user_id}", &theirs.id);
            let reply = server.call(method, &path).by(ours).json(roles::body(&path)).await;
            let mut body = reply.expect(404).json();
            body.as_object_mut().unwrap().remove("instance");
            body
        };
        assert_eq!(ask(&foreign).await, ask(&random).await, "{method} {path}");
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

/// On SQLite the condition in each statement is all that keeps organizations apart, so without it
/// the tests above must fail; on PostgreSQL row-level security is there still. That no single
/// statement lacks it is `fleet::store::apart`'s.
///
/// Rows: O6
#[test]
fn without_the_condition_the_tests_fail_on_sqlite_and_pass_on_postgres() {
    for (engine, holds) in [(Engine::Sqlite, false), (Engine::Postgres, true)] {
        let outcomes = runtime().block_on(async {
            let server = Arc::new(TestServer::start(engine).await);
            let (ours, theirs) = (server.owner().await, server.other_organization().await);
            let seeded = both(&server, &ours, &theirs).await;
            server.fleet.forget_tenants();
            let same = Arc::clone(&server);
            let lists = tokio::spawn(async move { check_lists(&same, &seeded).await }).await;
            let ids = tokio::spawn(async move { compare_ids(&server, &ours, &theirs).await }).await;
            [lists, ids]
        });
        assert!(outcomes.iter().all(|it| it.is_ok() == holds), "{engine:?}: {outcomes:?}");
    }
}

/// Everything that two organizations are compared by.
async fn compare(server: &TestServer) {
    let (ours, theirs) = (server.owner().await, server.other_organization().await);
    check_lists(server, &both(server, &ours, &theirs).await).await;
    compare_ids(server, &ours, &theirs).await;
}

/// Rows: O1, O3, O5
async fn two_organizations_over_a_pool_of_two_never_mix(server: TestServer) {
    let narrow = TestServer::start_with(server.engine, |config| {
        config.database.max_connections = 2;
    })
    .await;
    compare(&narrow).await;
}

/// Rows: O1, O3, O5
#[test]
fn two_organizations_through_pgbouncer_never_mix() {
    runtime().block_on(async {
        let mut bouncer = None;
        let server = TestServer::start_with(Engine::Postgres, |config| {
            let before = Bouncer::before(config.database.url.expose());
            config.database.url = Secret::new(before.url(config.database.url.expose()));
            bouncer = Some(before);
        })
        .await;
        compare(&server).await;
        let mut connection = PgConnection::connect(&server.database).await.unwrap();
        for table in TABLES {
            assert_eq!(count(&mut connection, table).await, 0, "{table} without an organization");
        }
    });
}

/// Rows: O4
#[test]
fn a_schema_that_is_behind_is_refused_until_its_owner_migrates() {
    runtime().block_on(async {
        let url = Cluster::shared().new_database().await;
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let mut config = server::Config::in_dir(path);
        config.database.url = Secret::new(&url);
        let open = async |config: &server::Config| {
            server::Fleet::open(config.clone(), server::Clock::System).await
        };
        let error = open(&config).await.unwrap_err().to_string();
        assert!(error.contains("fleet-server migrate"), "{error}");
        config.database.migrate_url = Some(Secret::new(owner_of(&url)));
        server::Fleet::migrate(&config).await.unwrap();
        config.database.migrate_url = None;
        open(&config).await.unwrap().ready().await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        for forbidden in [
            "UPDATE audit_events SET actor = 'nobody'",
            "DELETE FROM _sqlx_migrations",
            "ALTER TABLE devices NO FORCE ROW LEVEL SECURITY",
            "CREATE TABLE mine (id TEXT)",
        ] {
            assert!(sqlx::query(forbidden).execute(&mut connection).await.is_err(), "{forbidden}");
        }
    });
}

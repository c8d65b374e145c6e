//! A database that the first version made, brought up to date.

use std::borrow::Cow;

use serde_json::json;
use server::config::Secret;
use sha2::{Digest as _, Sha256};
use sqlx::{
    AnyPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::{
    harness::{Engine, TestServer, runtime},
    postgres::{Cluster, owner_of},
};

const ORG: &str = "01900000-0000-7000-8000-000000000001";
const DEVICE: &str = "01900000-0000-7000-8000-000000000002";
const USER: &str = "01900000-0000-7000-8000-000000000003";
const SESSION: &str = "01900000-0000-7000-8000-000000000004";
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const REFRESH: &str = "a refresh token";
/// When the test server's clock begins, in milliseconds.
const NOW: &str = "1772366400000";

/// Rows as the first version wrote them.
const ROWS: [&str; 6] = [
    "INSERT INTO organizations (id, name, created_at) VALUES ('ORG', 'Acme', 1)",
    "INSERT INTO users (id, email, name, password_hash, created_at)
     VALUES ('USER', 'ann@example.com', 'Ann', 'none', 1)",
    "INSERT INTO memberships (org_id, user_id, role, created_at) VALUES ('ORG', 'USER', 'admin', 1)",
    "INSERT INTO sessions (org_id, id, user_id, created_at, expires_at, client, access_hash,
     access_expires_at, refresh_hash, refreshed_at, address, user_agent)
     VALUES ('ORG', 'SESSION', 'USER', NOW, NOW + 600000, 'cli', 'x', NOW, 'REFRESH', NOW, '192.0.2.1', '')",
    "INSERT INTO devices (org_id, id, hardware_uuid, osquery_identifier, hostname, computer_name,
     platform, platform_like, os_version, cpu_type, hardware_serial, hardware_model, orbit_version,
     osquery_version, enrolled_at, orbit_enrolled_at, orbit_key_hash, last_seen_at)
     VALUES ('ORG', 'DEVICE', 'UUID-1', '', 'Kiosk', '', 'debian', '', '', '', 'SN-1', '', '1.0.0',
     '', 1, 1, 'KEY', 1)",
    "INSERT INTO credentials (hash, kind, org_id, subject_id) VALUES ('KEY', 'node_key', 'ORG', 'DEVICE'),
     ('REFRESH', 'refresh_token', 'ORG', 'SESSION'), ('access', 'access_token', 'ORG', 'SESSION')",
];

async fn made_by_the_first_version(engine: Engine, url: &str) {
    sqlx::any::install_default_drivers();
    let sql = match engine {
        Engine::Sqlite => include_str!("../../migrations/sqlite/0001_tenants.sql"),
        Engine::Postgres => include_str!("../../migrations/postgres/0001_tenants.sql"),
    };
    let first =
        Migration::new(1, "tenants".into(), MigrationType::Simple, sql.into_sql_str(), false);
    let pool = AnyPool::connect(url).await.unwrap();
    let migrator = Migrator { migrations: Cow::Owned(vec![first]), ..Migrator::DEFAULT };
    migrator.run(&pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    if engine == Engine::Postgres {
        let enter = sqlx::query("SELECT set_config('app.org_id', $1, false)").bind(ORG);
        enter.execute(&mut *connection).await.unwrap();
    }
    for row in ROWS {
        let hash = |text: &str| hex::encode(Sha256::digest(text));
        let sql = row.replace("ORG", ORG).replace("DEVICE", DEVICE).replace("USER", USER);
        let sql = sql.replace("SESSION", SESSION).replace("NOW", NOW);
        let sql = sql.replace("KEY", &hash(KEY)).replace("REFRESH", &hash(REFRESH));
        let query = sqlx::query(sqlx::AssertSqlSafe(sql));
        query.execute(&mut *connection).await.unwrap();
    }
    drop(connection);
    pool.close().await;
}

async fn comes_up_to_date(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let url = match engine {
        Engine::Sqlite => {
            let path = dir.path().join("old.db");
            std::fs::write(&path, "").unwrap();
            format!("sqlite://{}", path.display())
        }
        Engine::Postgres => Cluster::shared().new_database().await,
    };
    let owner = (engine == Engine::Postgres).then(|| owner_of(&url));
    made_by_the_first_version(engine, owner.as_ref().unwrap_or(&url)).await;
    let server = TestServer::start_with(engine, |config| {
        config.database.url = Secret::new(&url);
        config.database.migrate_url = owner.map(Secret::new);
    })
    .await;
    assert!(server.orbit_works(KEY).await, "the device's key is as good as before");
    let found = server.sql("SELECT id FROM devices WHERE search_text LIKE '%kiosk%'").await;
    let applied = server.sql("SELECT version FROM _sqlx_migrations WHERE success").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!((found.len(), applied.len()), (1, files));
    let refreshed = json!({"refresh_token": REFRESH});
    let refreshed = server.post("/auth/refresh").json(refreshed).await;
    let token = refreshed.expect(200).text("access_token");
    server.get("/devices").bearer(&token).await.expect(200);
}

#[test]
fn a_sqlite_file_of_the_first_version_comes_up_to_date() {
    runtime().block_on(comes_up_to_date(Engine::Sqlite));
}

#[test]
fn a_postgres_database_of_the_first_version_comes_up_to_date() {
    runtime().block_on(comes_up_to_date(Engine::Postgres));
}

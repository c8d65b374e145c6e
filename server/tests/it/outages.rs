//! The database ends at the moments that matter.

use std::time::Duration;

use serde_json::json;
use sqlx::Executor as _;

use crate::{
    harness::{Engine, PASSWORD, TestServer, runtime},
    postgres::Cluster,
};

/// Statements that add a session and wait for a lock.
const ADDING: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
    AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO sessions%'";

/// Ends every connection to the database but this one.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// The password is right, and then there is no database to keep the session in.
///
/// Rows: F6
#[test]
fn a_session_that_the_database_never_got_has_no_tokens() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let owner = server.owner().await;
        let sessions = async || server.sql("SELECT id FROM sessions").await.len();
        let before = sessions().await;
        let name = server.database.split(['/', '?']).nth(3).unwrap();
        let mut holder = Cluster::shared().admin(name).await;
        holder.execute("BEGIN").await.unwrap();
        holder.execute("LOCK TABLE sessions IN SHARE MODE").await.unwrap();
        let login = json!({"email": owner.email, "password": PASSWORD, "client": "cli"});
        let login = async { server.post("/auth/login").json(login).await };
        let outage = async {
            // A session is added once the hash was found right, and for nothing else.
            while server.sql(ADDING).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            holder.execute(CUT).await.unwrap();
        };
        let (reply, ()) = tokio::join!(login, outage);
        let problem = reply.expect(503).problem("unavailable").json();
        assert!(problem.get("access_token").is_none(), "{problem}");
        assert_eq!(reply.header("set-cookie"), None);
        holder.execute("ROLLBACK").await.unwrap();
        assert_eq!(sessions().await, before);
        server.login(&owner.email).await;
        assert_eq!(sessions().await, before + 1);
    });
}

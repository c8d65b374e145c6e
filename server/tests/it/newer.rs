//! What a newer version has left in the database: this one refuses what it cannot know, and loses nothing.

use serde_json::{Value, json};
use server::{Clock, Config, Fleet, fleet::OpenError};
use sqlx::Row as _;

use crate::harness::TestServer;

crate::on_both_databases! {
    a_schema_that_a_newer_version_changed_is_refused,
    permissions_of_a_newer_version_stay_in_a_role,
}

async fn a_schema_that_a_newer_version_changed_is_refused(server: TestServer) {
    let later =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 SELECT 9000, 'later', success, checksum, execution_time FROM _sqlx_migrations
                 WHERE version = 1";
    server.second_node().await;
    server.sql(later).await;
    let config = server.fleet.config();
    let mut by_its_role = config.clone();
    by_its_role.database.migrate_url = None;
    let open = async |config: &Config| {
        Fleet::open(config.clone(), Clock::Manual(server.clock.clone())).await.map(drop)
    };
    for refused in [
        open(config).await,
        open(&by_its_role).await,
        Fleet::migrate(config).await,
        Fleet::migrate(&by_its_role).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::NewSchema(9000)), "{error:?}");
    }
}

/// Rows in part: R20
async fn permissions_of_a_newer_version_stay_in_a_role(server: TestServer) {
    let owner = server.owner().await;
    let new = json!({"name": "pilot", "permissions": ["devices:read"]});
    server.post("/roles").by(&owner).json(new).await.expect(201);
    let written = "[\"devices:fly\",\"devices:read\"]";
    server.sql(&format!("UPDATE roles SET permissions = '{written}'")).await;
    let alter =
        async |change: Value| server.call("PATCH", "/roles/pilot").by(&owner).json(change).await;
    let stored = async || -> String {
        server.sql("SELECT permissions FROM roles").await[0].get("permissions")
    };
    for same in [
        json!({"description": "Flies"}),
        json!({"description": "Flies high", "permissions": ["devices:read"]}),
    ] {
        let described = alter(same.clone()).await.expect(200).json();
        assert_eq!(described["description"], same["description"]);
        assert_eq!(stored().await, written);
    }
    for other in [
        json!({"add_permissions": ["users:read"]}),
        json!({"remove_permissions": ["devices:read"]}),
        json!({"permissions": []}),
    ] {
        let refused = alter(other).await;
        let detail = refused.expect(409).problem("role-in-use").text("detail");
        assert!(detail.contains("`devices:fly`"), "{detail}");
        assert_eq!(stored().await, written);
    }
}

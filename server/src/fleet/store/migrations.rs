//! The schema's history: one list, a file for each database.

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType},
};

use super::Engine;

/// Number, name, and the file for SQLite and for PostgreSQL. Published ones never change.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "tenants",
        include_str!("../../../migrations/sqlite/0001_tenants.sql"),
        include_str!("../../../migrations/postgres/0001_tenants.sql"),
    ),
    (
        2,
        "search_and_successors",
        include_str!("../../../migrations/sqlite/0002_search_and_successors.sql"),
        include_str!("../../../migrations/postgres/0002_search_and_successors.sql"),
    ),
    (
        3,
        "tokens",
        include_str!("../../../migrations/sqlite/0003_tokens.sql"),
        include_str!("../../../migrations/postgres/0003_tokens.sql"),
    ),
    (
        4,
        "people",
        include_str!("../../../migrations/sqlite/0004_people.sql"),
        include_str!("../../../migrations/postgres/0004_people.sql"),
    ),
    (
        5,
        "updates",
        include_str!("../../../migrations/sqlite/0005_updates.sql"),
        include_str!("../../../migrations/postgres/0005_updates.sql"),
    ),
    (
        6,
        "proofs",
        include_str!("../../../migrations/sqlite/0006_proofs.sql"),
        include_str!("../../../migrations/postgres/0006_proofs.sql"),
    ),
    (
        7,
        "ended_organizations",
        include_str!("../../../migrations/sqlite/0007_ended_organizations.sql"),
        include_str!("../../../migrations/postgres/0007_ended_organizations.sql"),
    ),
    (
        8,
        "networks",
        include_str!("../../../migrations/sqlite/0008_networks.sql"),
        include_str!("../../../migrations/postgres/0008_networks.sql"),
    ),
    (
        9,
        "certificates",
        include_str!("../../../migrations/sqlite/0009_certificates.sql"),
        include_str!("../../../migrations/postgres/0009_certificates.sql"),
    ),
    (
        11,
        "update_channels",
        include_str!("../../../migrations/sqlite/0011_update_channels.sql"),
        include_str!("../../../migrations/postgres/0011_update_channels.sql"),
    ),
    (
        12,
        "device_keys",
        include_str!("../../../migrations/sqlite/0012_device_keys.sql"),
        include_str!("../../../migrations/postgres/0012_device_keys.sql"),
    ),
    (
        13,
        "key_rules",
        include_str!("../../../migrations/sqlite/0013_key_rules.sql"),
        include_str!("../../../migrations/postgres/0013_key_rules.sql"),
    ),
    (
        14,
        "osqueryd_renews",
        include_str!("../../../migrations/sqlite/0014_osqueryd_renews.sql"),
        include_str!("../../../migrations/postgres/0014_osqueryd_renews.sql"),
    ),
    (
        15,
        "agent_reports",
        include_str!("../../../migrations/sqlite/0015_agent_reports.sql"),
        include_str!("../../../migrations/postgres/0015_agent_reports.sql"),
    ),
    (
        16,
        "key_limits",
        include_str!("../../../migrations/sqlite/0016_key_limits.sql"),
        include_str!("../../../migrations/postgres/0016_key_limits.sql"),
    ),
    (
        17,
        "device_signatures",
        include_str!("../../../migrations/sqlite/0017_device_signatures.sql"),
        include_str!("../../../migrations/postgres/0017_device_signatures.sql"),
    ),
    (
        18,
        "request_leases",
        include_str!("../../../migrations/sqlite/0018_request_leases.sql"),
        include_str!("../../../migrations/postgres/0018_request_leases.sql"),
    ),
    (
        19,
        "people_apart",
        include_str!("../../../migrations/sqlite/0019_people_apart.sql"),
        include_str!("../../../migrations/postgres/0019_people_apart.sql"),
    ),
    (
        20,
        "role_descriptions",
        include_str!("../../../migrations/sqlite/0020_role_descriptions.sql"),
        include_str!("../../../migrations/postgres/0020_role_descriptions.sql"),
    ),
    (
        21,
        "address_folding",
        include_str!("../../../migrations/sqlite/0021_address_folding.sql"),
        include_str!("../../../migrations/postgres/0021_address_folding.sql"),
    ),
];

/// What brings that database up to date, in order.
pub(super) fn of(engine: Engine) -> Vec<Migration> {
    let migration =
        |(number, name, sqlite, postgres): &(i64, &'static str, &'static str, &'static str)| {
            let sql = match engine {
                Engine::Sqlite => *sqlite,
                Engine::Postgres => *postgres,
            };
            Migration::new(
                *number,
                (*name).into(),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        };
    MIGRATIONS.iter().map(migration).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    #[test]
    fn every_file_is_in_the_list() {
        let listed: BTreeSet<_> =
            MIGRATIONS.iter().map(|(number, name, ..)| format!("{number:04}_{name}.sql")).collect();
        for engine in ["sqlite", "postgres"] {
            let dir = format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
            let files: BTreeSet<_> = fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(files, listed, "{engine}");
        }
    }
}

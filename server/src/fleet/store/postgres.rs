//! What only PostgreSQL knows: settings that last one transaction, advisory locks, and roles.

use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor as _, SqlSafeStr as _, SqlStr};

use super::{StoreError, row::Columns as _};

/// A role that row-level security does not bind, or that could lift it.
#[derive(Debug)]
pub(in crate::fleet) struct ExemptRole {
    pub name: String,
    /// `has SUPERUSER`, `may become a role that has BYPASSRLS`, `owns the database`, …
    pub exemption: String,
}

/// The role of this pool's connections, if it is exempt from row-level security or could exempt
/// itself: by `SET ROLE` to one that is, whether it inherits from it or not; by making itself a
/// member of one; or as an owner, whose rights reach to `NO FORCE`.
pub(super) async fn exempt_role(pool: &AnyPool) -> Result<Option<ExemptRole>, StoreError> {
    let row = pool
        .fetch_one(
            "SELECT rolname::text AS name, CASE
             WHEN rolsuper THEN 'has SUPERUSER'
             WHEN rolbypassrls THEN 'has BYPASSRLS'
             WHEN rolcreaterole THEN 'has CREATEROLE'
             WHEN EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolsuper
                 AND pg_has_role(session_user, r.oid, 'MEMBER'))
                 THEN 'may become a role that has SUPERUSER'
             WHEN EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolbypassrls
                 AND pg_has_role(session_user, r.oid, 'MEMBER'))
                 THEN 'may become a role that has BYPASSRLS'
             WHEN EXISTS (SELECT 1 FROM pg_database d WHERE d.datname = current_database()
                 AND pg_has_role(session_user, d.datdba, 'MEMBER')) THEN 'owns the database'
             WHEN EXISTS (SELECT 1 FROM pg_class c WHERE c.relkind IN ('r', 'p')
                 AND c.relnamespace = current_schema()::regnamespace
                 AND pg_has_role(session_user, c.relowner, 'MEMBER')) THEN 'owns its tables'
             END AS exemption FROM pg_roles WHERE rolname = session_user",
        )
        .await?;
    let Some(exemption) = row.optional_text("exemption")? else { return Ok(None) };
    Ok(Some(ExemptRole { name: row.text("name")?, exemption }))
}

/// The role of this pool's connections.
pub(super) async fn current_role(pool: &AnyPool) -> Result<String, StoreError> {
    pool.fetch_one("SELECT current_user::text AS name").await?.text("name")
}

/// Gives `role` what serving needs: every row's four verbs, but the audit trail's rows stay as they
/// are, and the list of migrations is only read.
pub(super) async fn grant(owner: &mut AnyConnection, role: &str) -> Result<(), StoreError> {
    for template in [
        "GRANT USAGE ON SCHEMA %I TO %I",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I",
        "REVOKE UPDATE ON %I.audit_events FROM %I",
        "REVOKE INSERT, UPDATE, DELETE ON %I._sqlx_migrations FROM %I",
    ] {
        let row = sqlx::query("SELECT format($1, current_schema(), $2) AS statement")
            .bind(template)
            .bind(role.to_owned())
            .fetch_one(&mut *owner)
            .await?;
        let statement = row.text("statement")?;
        owner.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

/// Sets what the policies of row-level security read. `SET` takes no parameter; this does, and it
/// ends with the transaction, so that the connection's next borrower does not inherit it.
pub(super) async fn set(
    connection: &mut AnyConnection,
    name: &'static str,
    value: &str,
) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config($1, $2, true)")
        .bind(name)
        .bind(value.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

/// The beginning of a transaction in which [`set`] is done already. It is a simple query, which takes no
/// parameter: only for a value that is an id or a digest; none for others.
pub(super) fn begin_with(name: &'static str, value: &str) -> Option<SqlStr> {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let begin = || format!("BEGIN; SELECT set_config('{name}', '{value}', true)");
    plain.then(|| AssertSqlSafe(begin()).into_sql_str())
}

/// Waits for, and holds until the transaction ends, the lock named `name`.
pub(super) async fn lock(connection: &mut AnyConnection, name: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(name.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_ids_and_digests_is_written_into_a_statement() {
        let begin = |value| begin_with("app.org_id", value).map(|sql| sql.as_str().to_owned());
        let set = "BEGIN; SELECT set_config('app.org_id', '01a0-ff', true)";
        assert_eq!(begin("01a0-ff").as_deref(), Some(set));
        for other in ["'", "a b", "a'); DROP TABLE users; --", "\\", "ä", "a_b"] {
            assert_eq!(begin(other), None, "{other}");
        }
    }
}

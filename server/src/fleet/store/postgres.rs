//! What only PostgreSQL knows: settings that last one transaction, advisory locks, and roles.

use sqlx::{AnyConnection, AnyPool};

use super::{StoreError, row::Columns as _};

/// A role that row-level security does not bind, `FORCE` or not.
#[derive(Debug)]
pub(in crate::fleet) struct ExemptRole {
    pub name: String,
    /// `SUPERUSER` or `BYPASSRLS`.
    pub attribute: String,
}

/// The role of this pool's connections, if it is exempt from row-level security.
pub(super) async fn exempt_role(pool: &AnyPool) -> Result<Option<ExemptRole>, StoreError> {
    let row = sqlx::query(
        "SELECT rolname::text AS name, CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'BYPASSRLS' END
         AS attribute FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)",
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(ExemptRole { name: row.text("name")?, attribute: row.text("attribute")? }))
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

/// Waits for, and holds until the transaction ends, the lock named `name`.
pub(super) async fn lock(connection: &mut AnyConnection, name: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(name.to_owned())
        .execute(connection)
        .await?;
    Ok(())
}

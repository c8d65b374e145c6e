//! What only PostgreSQL knows: settings that last one transaction, and advisory locks.

use sqlx::AnyConnection;

use super::StoreError;

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

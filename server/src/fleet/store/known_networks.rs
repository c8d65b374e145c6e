//! Networks that people signed in from: guesses from elsewhere do not shut them out there.

use jiff::{SignedDuration, Timestamp};
use wire::UserId;

use super::{Access, Store, StoreError, Tx, row::Columns as _};

/// How long a network is known after the last sign-in from it.
const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

impl Store {
    /// Whether the person with that address, in lower case, signed in from `network` lately.
    pub(in crate::fleet) async fn is_known_network(
        &self,
        email: &str,
        network: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin_with(Access::Read, ("app.address", email)).await?;
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM known_networks k JOIN users u ON u.id = k.user_id
             WHERE u.email = $1 AND k.network = $2 AND k.seen_at > $3",
        )
        .bind(email.to_owned())
        .bind(network.to_owned())
        .bind((now - KNOWN_FOR).as_millisecond())
        .fetch_one(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        Ok(row.number("n")? > 0)
    }
}

impl Tx {
    /// Notes that a person proved from `network` who they are.
    pub(in crate::fleet) async fn note_network(
        &mut self,
        user_id: UserId,
        network: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO known_networks (user_id, network, seen_at) VALUES ($1, $2, $3)
             ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at",
        )
        .bind(user_id.to_string())
        .bind(network.to_owned())
        .bind(now.as_millisecond())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    pub(super) async fn sweep_known_networks(&mut self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM known_networks WHERE seen_at <= $1")
            .bind((now - KNOWN_FOR).as_millisecond())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}

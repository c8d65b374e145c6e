//! Slots of limits that servers have leased: see [`share`](crate::fleet::leases::share).

use jiff::Timestamp;

use super::{
    super::leases::share::{Claim, Claimed, Lease, Slots},
    Access, Store, StoreError, Tx,
    row::Columns as _,
};

/// How many leases are given back in one transaction.
const GIVEN_BACK_AT_ONCE: usize = 100;

/// A lease as it has ended, and whose it is.
#[derive(Debug)]
pub(in crate::fleet) struct GivenBack {
    pub bucket: String,
    pub holder: String,
    pub lease: Lease,
}

impl Store {
    /// Leases slots, if there is room beside what others hold. Of many claims of a bucket one is
    /// looked at after the other, wherever they come in.
    pub(in crate::fleet) async fn claim_lease(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        // Whoever gives up on the claim leaves a connection that waits for this lock.
        tx.set("lock_timeout", "2s").await?;
        tx.lock(&format!("request_leases/{}", claim.bucket)).await?;
        for lease in &claim.ended {
            tx.write_lease((&claim.bucket, &claim.holder), *lease).await?;
        }
        let rows = sqlx::query(
            "SELECT usable_until, n FROM request_leases
             WHERE bucket = $1 AND holder <> $2 AND usable_until > $3 ORDER BY usable_until",
        )
        .bind(claim.bucket.clone())
        .bind(claim.holder.clone())
        .bind((claim.now - claim.window).as_millisecond())
        .fetch_all(&mut *tx.inner)
        .await?;
        let slots =
            rows.iter().map(|row| Ok(Slots { at: row.time("usable_until")?, n: row.count("n")? }));
        let others: Vec<Slots> = slots.collect::<Result<_, StoreError>>()?;
        let granted = claim.grant(&others);
        if let Some(slots) = granted {
            let lease = Lease { serial: claim.serial, slots };
            tx.write_lease((&claim.bucket, &claim.holder), lease).await?;
        }
        tx.commit().await?;
        Ok(Claimed { granted, others })
    }

    /// Writes down how leases have ended.
    pub(in crate::fleet) async fn give_back_leases(
        &self,
        leases: &[GivenBack],
    ) -> Result<(), StoreError> {
        for leases in leases.chunks(GIVEN_BACK_AT_ONCE) {
            let mut tx = self.begin(Access::Note).await?;
            for GivenBack { bucket, holder, lease } in leases {
                tx.write_lease((bucket, holder), *lease).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Forgets leases that ended before `before`.
    pub(in crate::fleet) async fn sweep_leases(&self, before: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query("DELETE FROM request_leases WHERE usable_until <= $1")
            .bind(before.as_millisecond())
            .execute(&mut *tx.inner)
            .await?;
        tx.commit().await
    }
}

impl Tx {
    async fn write_lease(
        &mut self,
        (bucket, holder): (&str, &str),
        Lease { serial, slots }: Lease,
    ) -> Result<(), StoreError> {
        let sql = if slots.n == 0 {
            "DELETE FROM request_leases WHERE bucket = $1 AND holder = $2 AND serial = $3"
        } else {
            "INSERT INTO request_leases (bucket, holder, serial, usable_until, n)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (bucket, holder, serial)
             DO UPDATE SET usable_until = excluded.usable_until, n = excluded.n"
        };
        let query = sqlx::query(sql).bind(bucket.to_owned()).bind(holder.to_owned()).bind(serial);
        let query = if slots.n == 0 {
            query
        } else {
            query.bind(slots.at.as_millisecond()).bind(i64::from(slots.n))
        };
        query.execute(&mut *self.inner).await?;
        Ok(())
    }
}

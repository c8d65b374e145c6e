//! Attempts that are limited, counted for all servers with this database.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Access, Store, StoreError, Tx, row::Columns as _};

/// At most `limit` attempts within any `window`; or, with `longest_wait`, each one beyond the limit
/// waits twice as long as the one before, from a second up to that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::fleet) struct Bucket {
    pub name: String,
    pub limit: u32,
    pub window: SignedDuration,
    pub longest_wait: Option<SignedDuration>,
}

/// What became of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::fleet) enum Attempt {
    /// It counts in every bucket, by these ids.
    Taken(Vec<String>),
    /// A bucket is full, the one with this index, until then; it counts nowhere.
    Full { bucket: usize, until: Timestamp },
}

impl Store {
    /// Takes an attempt from each bucket, or from none. Of many at once, wherever they come in,
    /// exactly as many pass as may.
    pub(in crate::fleet) async fn take_attempt(
        &self,
        buckets: &[Bucket],
        now: Timestamp,
    ) -> Result<Attempt, StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        let mut names: Vec<_> = buckets.iter().map(|bucket| &bucket.name).collect();
        names.sort();
        for name in names {
            tx.lock(&format!("attempts/{name}")).await?;
        }
        for (index, bucket) in buckets.iter().enumerate() {
            if let Some(until) = full_until(&mut tx, bucket, now).await? {
                tx.commit().await?;
                return Ok(Attempt::Full { bucket: index, until });
            }
        }
        let mut ids = Vec::new();
        for bucket in buckets {
            let id = Uuid::new_v4().to_string();
            sqlx::query("INSERT INTO attempts (id, bucket, at) VALUES ($1, $2, $3)")
                .bind(id.clone())
                .bind(bucket.name.clone())
                .bind(now.as_millisecond())
                .execute(&mut *tx.inner)
                .await?;
            ids.push(id);
        }
        tx.commit().await?;
        Ok(Attempt::Taken(ids))
    }

    /// Gives attempts back: they never counted.
    pub(in crate::fleet) async fn give_back_attempt(
        &self,
        ids: &[String],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        for id in ids {
            sqlx::query("DELETE FROM attempts WHERE id = $1")
                .bind(id.clone())
                .execute(&mut *tx.inner)
                .await?;
        }
        tx.commit().await
    }

    /// Forgets attempts from before `before`.
    pub(in crate::fleet) async fn sweep_attempts(
        &self,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query("DELETE FROM attempts WHERE at <= $1")
            .bind(before.as_millisecond())
            .execute(&mut *tx.inner)
            .await?;
        tx.commit().await
    }

    /// Forgets attempts of the limit called `name` from before `before`.
    pub(in crate::fleet) async fn sweep_failures(
        &self,
        name: &str,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query("DELETE FROM attempts WHERE at <= $1 AND bucket LIKE $2")
            .bind(before.as_millisecond())
            .bind(format!("{name} %"))
            .execute(&mut *tx.inner)
            .await?;
        tx.commit().await
    }
}

impl Tx {
    /// When the bucket has room again, as far as this transaction sees; nothing if it has.
    pub(in crate::fleet) async fn full_until(
        &mut self,
        bucket: &Bucket,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        full_until(self, bucket, now).await
    }

    /// Takes an attempt from a bucket in this transaction, which holds what the bucket is about: nobody
    /// else takes one meanwhile. When it passes that the bucket is full; nothing if there was room.
    pub(in crate::fleet) async fn take_held_attempt(
        &mut self,
        bucket: &Bucket,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let taken = sqlx::query(
            "INSERT INTO attempts (id, bucket, at) SELECT $1, $2, $3
             WHERE (SELECT COUNT(*) FROM attempts WHERE bucket = $2 AND at > $4) < $5",
        )
        .bind(Uuid::new_v4().to_string())
        .bind(bucket.name.clone())
        .bind(now.as_millisecond())
        .bind((now - bucket.window).as_millisecond())
        .bind(i64::from(bucket.limit.max(1)))
        .execute(&mut *self.inner)
        .await?;
        if taken.rows_affected() == 1 { Ok(None) } else { full_until(self, bucket, now).await }
    }
}

/// When the attempt passes that keeps the bucket full; nothing if there is room.
async fn full_until(
    tx: &mut Tx,
    bucket: &Bucket,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let since = now - bucket.window;
    if let Some(longest) = bucket.longest_wait {
        return waits_until(tx, (bucket, longest), now).await;
    }
    // Of more than the limit, the one that has to pass is the limit's from the end.
    let row = sqlx::query(
        "SELECT at FROM attempts WHERE bucket = $1 AND at > $2 ORDER BY at DESC LIMIT 1 OFFSET $3",
    )
    .bind(bucket.name.clone())
    .bind(since.as_millisecond())
    .bind(i64::from(bucket.limit.max(1)) - 1)
    .fetch_optional(&mut *tx.inner)
    .await?;
    row.map(|row| Ok(row.time("at")? + bucket.window)).transpose()
}

/// When the next attempt is looked at, of a bucket that is never full but slows down.
async fn waits_until(
    tx: &mut Tx,
    (bucket, longest): (&Bucket, SignedDuration),
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n, MAX(at) AS last FROM attempts WHERE bucket = $1 AND at > $2",
    )
    .bind(bucket.name.clone())
    .bind((now - bucket.window).as_millisecond())
    .fetch_one(&mut *tx.inner)
    .await?;
    let Some(last) = row.optional_time("last")? else { return Ok(None) };
    let Some(beyond) = row.count("n")?.checked_sub(bucket.limit.max(1)) else { return Ok(None) };
    let wait = SignedDuration::from_secs(1 << beyond.min(32)).min(longest);
    Ok(Some(last + wait).filter(|until| *until > now))
}

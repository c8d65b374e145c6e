//! The database, and the only SQL. SQLite and PostgreSQL are fed the same text.
//!
//! House dialect: `$1` placeholders; ids TEXT, times BIGINT milliseconds, JSON TEXT, booleans
//! BIGINT 0/1. Only migrations differ, and what [`postgres`] holds.
//!
//! **Invariant:** what belongs to an organization is reached through an [`OrgStore`] alone, and
//! `$1` of each of its statements is that organization.

mod accounts;
mod addresses;
mod apart;
mod api_keys;
mod attempts;
mod audit;
mod counts;
mod credentials;
mod device_logins;
mod devices;
mod enroll_secrets;
mod invitations;
mod known_networks;
mod mails;
mod migrations;
mod node_keys;
mod postgres;
mod registrations;
mod request_leases;
mod roles;
mod row;
mod sessions;
mod signing_keys;
mod teams;
mod tenants;
mod updates;
mod users;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;
use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _,
    SqlStr, Transaction,
    any::{AnyArguments, AnyPoolOptions},
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
    query::Query,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::{OrgId, UserId, audit::AuditEvent};

use self::row::Columns as _;
pub use self::tenants::Trail;
pub(super) use self::{
    accounts::{AccountRow, NewToken, Redeemed, TokenKind},
    api_keys::{ApiKeyRow, NewApiKeyRow},
    attempts::{Attempt, Bucket},
    audit::AuditFilter,
    counts::Ages,
    credentials::{Credential, CredentialKind, Hash},
    device_logins::{Approval, Decision, DeviceLoginRow},
    devices::{Details, DeviceFilter, DeviceGroup},
    enroll_secrets::NewEnrollSecretRow,
    mails::MailRow,
    node_keys::{Half, NodeRow, SeenDevice, ShownKey},
    postgres::ExemptRole,
    registrations::RegistrationRow,
    request_leases::GivenBack,
    row::Keyset,
    sessions::{Rotation, SessionRow, Whose},
    signing_keys::SigningKeyRow,
    tenants::KeyRules,
    users::{Login, Member, NewUserRow},
};
use super::metrics::{Stopwatch, durations};
use crate::config::Database;

/// Why the database could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
    #[error("the database holds a value that cannot be read: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let cut_off = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        );
        let code = error.as_database_error().and_then(DatabaseError::code);
        if cut_off || code.is_some_and(|code| is_outage(&code)) {
            Self::Unavailable(error)
        } else {
            Self::Statement(error)
        }
    }
}

/// Whether an SQLSTATE (or SQLite result code) says that the database is away, not the query wrong:
/// connection exceptions, too many connections, operator intervention; SQLITE_BUSY.
fn is_outage(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || code == "53300" || code == "5"
}

impl StoreError {
    /// Whether a row with the same unique value exists already.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Statement(sqlx::Error::Database(error)) if error.is_unique_violation())
    }

    /// Whether a row that was pointed to does not exist, or one to be deleted is pointed to.
    pub(super) fn is_broken_reference(&self) -> bool {
        matches!(self, Self::Statement(sqlx::Error::Database(error)) if error.is_foreign_key_violation())
    }
}

/// How the schema stands to the one that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    Current,
    /// Some of it is missing.
    Old,
    /// A newer version has changed it, last by the migration of that number.
    New(i64),
}

/// Which database is behind the [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

/// Whether a transaction only reads. SQLite admits one writer at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Writes that nobody's rights depend on: sightings, uses, what agents tell.
    Note,
    /// Writes after whose commit this server asks anew what everybody may do.
    Write,
}

/// The whole database. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pool: AnyPool,
    engine: Engine,
    /// Writers of SQLite queue here in order, so that none starves in its busy handler.
    writers: Arc<Semaphore>,
    /// How often something was written that rights may depend on.
    changes: Arc<AtomicU64>,
    /// How long transactions waited for a connection, and on SQLite for their turn.
    waits: Histogram,
    /// Set by a test alone, to see whether the other tests would notice: statements are sent
    /// without the condition that keeps organizations apart. Release builds never set it.
    forgets_tenants: Arc<AtomicBool>,
}

/// A transaction, and on SQLite the turn to write.
pub(super) struct Tx {
    inner: Transaction<'static, Any>,
    engine: Engine,
    turn: Option<OwnedSemaphorePermit>,
    changes: Arc<AtomicU64>,
    /// Whether the commit counts them up: rights may depend on what is written.
    touches_rights: bool,
    /// What the commit appends to audit trails.
    recorded: Vec<(OrgId, AuditEvent)>,
    /// The organization that row-level security lets through at present.
    entered: Option<OrgId>,
    forgets_tenants: bool,
}

/// One organization's part of the database, inside one transaction: nothing is kept unless
/// [`OrgStore::commit`] is called.
pub(super) struct OrgStore {
    tx: Tx,
    org_id: OrgId,
}

impl Store {
    /// Connects. The schema is as old as it was: see [`Store::migrate`].
    pub(super) async fn connect(database: &Database) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let engine = if database.is_postgres() { Engine::Postgres } else { Engine::Sqlite };
        let pool = AnyPoolOptions::new()
            .max_connections(database.max_connections)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if engine == Engine::Sqlite {
                        connection.execute(SQLITE_SETTINGS).await?;
                    }
                    Ok(())
                })
            })
            .connect(database.url.expose())
            .await?;
        let (writers, changes) = (Arc::new(Semaphore::new(1)), Arc::default());
        let waits = durations();
        Ok(Self { pool, engine, writers, changes, waits, forgets_tenants: Arc::default() })
    }

    /// The role that the server connects as, if row-level security does not bind it.
    pub(super) async fn exempt_role(&self) -> Result<Option<ExemptRole>, StoreError> {
        match self.engine {
            Engine::Sqlite => Ok(None),
            Engine::Postgres => postgres::exempt_role(&self.pool).await,
        }
    }

    /// Brings the schema up to date: on PostgreSQL as the role that owns the database, and gives
    /// this one the rights that it needs.
    pub(super) async fn migrate(&self, database: &Database) -> Result<(), StoreError> {
        let migrator = Migrator::with_migrations(migrations::of(self.engine));
        let failed = |error: MigrateError| StoreError::Statement(error.into());
        let Some(url) = &database.migrate_url else {
            return migrator.run(&self.pool).await.map_err(failed);
        };
        let role = postgres::current_role(&self.pool).await?;
        let mut owner = AnyConnection::connect(url.expose()).await?;
        migrator.run(&mut owner).await.map_err(failed)?;
        postgres::grant(&mut owner, &role).await?;
        owner.close().await?;
        Ok(())
    }

    /// Whether every migration that this version knows was applied, and none that only a newer one knows.
    pub(super) async fn schema(&self) -> Result<Schema, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let applied = sqlx::query("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(&mut *tx.inner)
            .await;
        // The table is made by the first migration.
        let Ok(applied) = applied else { return Ok(Schema::Old) };
        tx.commit().await?;
        let applied: Vec<i64> =
            applied.iter().map(|row| row.number("version")).collect::<Result<_, _>>()?;
        let known: Vec<i64> =
            migrations::of(self.engine).iter().map(|migration| migration.version).collect();
        match applied.iter().copied().max() {
            Some(last) if Some(last) > known.iter().copied().max() => Ok(Schema::New(last)),
            _ if known.iter().all(|version| applied.contains(version)) => Ok(Schema::Current),
            _ => Ok(Schema::Old),
        }
    }

    /// From here on, statements are sent without their organization.
    #[cfg(debug_assertions)]
    pub(super) fn forget_tenants(&self) {
        self.forgets_tenants.store(true, Ordering::SeqCst);
    }

    /// Whether the database answers.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        // As a simple query: a pooler between may give its parts to two connections otherwise.
        self.pool.execute("SELECT 1").await?;
        Ok(())
    }

    /// Ends all connections; whatever is asked afterwards is refused as unavailable.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Opens one organization's part of the database.
    pub(super) async fn org(&self, org_id: OrgId, access: Access) -> Result<OrgStore, StoreError> {
        let mut tx = self.begin_with(access, ("app.org_id", &org_id.to_string())).await?;
        tx.entered = Some(org_id);
        tx.enter(org_id).await
    }

    /// How long transactions waited to begin.
    pub(super) fn waits(&self) -> &Histogram {
        &self.waits
    }

    async fn begin(&self, access: Access) -> Result<Tx, StoreError> {
        let statement = match (self.engine, access) {
            (Engine::Sqlite, Access::Note | Access::Write) => "BEGIN IMMEDIATE",
            (Engine::Sqlite | Engine::Postgres, _) => "BEGIN",
        };
        self.begin_saying(access, statement.into_sql_str()).await
    }

    /// A transaction that row-level security is told a value in, see [`Tx::set`]: in the same round trip
    /// to the database.
    async fn begin_with(
        &self,
        access: Access,
        (name, value): (&'static str, &str),
    ) -> Result<Tx, StoreError> {
        match (self.engine, postgres::begin_with(name, value)) {
            (Engine::Postgres, Some(begin)) => self.begin_saying(access, begin).await,
            (Engine::Sqlite | Engine::Postgres, _) => {
                let mut tx = self.begin(access).await?;
                tx.set(name, value).await?;
                Ok(tx)
            }
        }
    }

    async fn begin_saying(&self, access: Access, statement: SqlStr) -> Result<Tx, StoreError> {
        let watch = Stopwatch::start();
        let turn = match (self.engine, access) {
            (Engine::Sqlite, Access::Note | Access::Write) => {
                let turn = Arc::clone(&self.writers).acquire_owned().await;
                Some(turn.expect("the semaphore is never closed"))
            }
            (Engine::Sqlite | Engine::Postgres, _) => None,
        };
        let inner = self.pool.begin_with(statement).await?;
        watch.tell(&self.waits);
        let forgets_tenants = self.forgets_tenants.load(Ordering::SeqCst);
        Ok(Tx {
            inner,
            engine: self.engine,
            turn,
            changes: Arc::clone(&self.changes),
            touches_rights: access == Access::Write,
            recorded: Vec::new(),
            entered: None,
            forgets_tenants,
        })
    }

    /// Counts up whenever this server has written what somebody's rights may depend on. What was
    /// read before it is not to be relied on after it.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON;";

impl Tx {
    /// Goes on within one organization.
    async fn enter(mut self, org_id: OrgId) -> Result<OrgStore, StoreError> {
        if self.entered != Some(org_id) {
            self.set("app.org_id", &org_id.to_string()).await?;
            self.entered = Some(org_id);
        }
        Ok(OrgStore { tx: self, org_id })
    }

    /// Tells row-level security about a value, for the rest of this transaction.
    async fn set(&mut self, name: &'static str, value: &str) -> Result<(), StoreError> {
        match self.engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => postgres::set(&mut self.inner, name, value).await,
        }
    }

    /// Waits until no other transaction holds the same `name`. On SQLite a writer is alone anyway.
    async fn lock(&mut self, name: &str) -> Result<(), StoreError> {
        match self.engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => postgres::lock(&mut self.inner, name).await,
        }
    }

    /// Keeps a person's sessions and password as they are until this transaction ends, which may change
    /// their account. It comes before whatever else the transaction waits for, but an organization's
    /// owners, so that no two wait for each other.
    pub(super) async fn lock_person(&mut self, user_id: UserId) -> Result<(), StoreError> {
        self.lock(&format!("person {user_id}")).await?;
        self.about(user_id).await
    }

    /// From here on the transaction is about this person's account, which row-level security lets it see
    /// and change.
    async fn about(&mut self, user_id: UserId) -> Result<(), StoreError> {
        self.set("app.account", &user_id.to_string()).await
    }

    /// Appends what was recorded to the trails and keeps everything.
    async fn commit(self) -> Result<(), StoreError> {
        let Self { inner, turn, changes, touches_rights, recorded, .. } =
            self.append_recorded().await?;
        let committed = inner.commit().await;
        // Also when it failed: the database may have done it all the same.
        if touches_rights {
            changes.fetch_add(1, Ordering::SeqCst);
        }
        drop(turn);
        committed?;
        recorded.iter().for_each(|(org_id, event)| log(*org_id, event));
        Ok(())
    }
}

impl OrgStore {
    /// Keeps what was written.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await
    }

    /// Rights depend on what was written after all, as in [`Access::Write`].
    pub(super) fn touches_rights(&mut self) {
        self.tx.touches_rights = true;
    }

    /// Goes on in the same transaction outside the organization.
    pub(super) fn leave(self) -> Tx {
        self.tx
    }

    /// The transaction, for what belongs to no organization.
    pub(super) fn apart(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// A statement about this organization, which is its `$1`; bind from `$2` on.
    fn query(&self, sql: &'static str) -> Query<'static, Any, AnyArguments> {
        debug_assert!(apart::keeps_apart(sql), "a statement without its organization: {sql}");
        if self.tx.forgets_tenants {
            let sql = AssertSqlSafe(apart::without_conditions(sql));
            return sqlx::query(sql).bind(self.org_id.to_string());
        }
        sqlx::query(sql).bind(self.org_id.to_string())
    }

    fn connection(&mut self) -> &mut sqlx::AnyConnection {
        &mut self.tx.inner
    }

    /// See [`Tx::lock_person`].
    pub(super) async fn lock_person(&mut self, user_id: UserId) -> Result<(), StoreError> {
        self.tx.lock_person(user_id).await
    }

    /// Waits until no other transaction of this organization holds the same `name`.
    /// On SQLite a write transaction is alone anyway.
    pub(super) async fn lock(&mut self, name: &str) -> Result<(), StoreError> {
        let name = format!("{}/{name}", self.org_id);
        self.tx.lock(&name).await
    }
}

/// An event of the audit trail as a log line.
fn log(org_id: OrgId, event: &AuditEvent) {
    let AuditEvent { seq, event, actor, subject, outcome, address, request_id, .. } = event;
    tracing::info!(
        target: "audit",
        { event.name = event, org.id = %org_id, audit.seq = seq, actor, subject,
          client.address = address, request.id = request_id, outcome },
        "{event} ({outcome})",
    );
}

//! Everything the server can do. Who asks is a parameter, and whether they may is decided here.
//!
//! A file a noun: [`setup`] (the first owner), [`sessions`], [`users`], [`roles`], [`api_keys`], [`teams`],
//! [`enroll_secrets`], [`devices`] for people; [`enroll`], [`nodes`] and [`connections`] for agents. [`actor`] is
//! who asks, [`proof`] how they show it: with an access token of [`tokens`], signed with one of
//! [`keys`], or with an API key; [`audit`] keeps what they did.

pub mod accounts;
pub mod actor;
pub mod api_keys;
pub mod audit;
mod breaches;
mod clones;
pub mod connections;
mod current_user;
pub mod device_login;
pub mod devices;
pub mod enroll;
pub mod enroll_secrets;
pub mod errors;
pub mod fingerprint;
mod identity;
pub mod invitations;
mod key_form;
mod key_use;
pub mod keys;
mod leases;
mod limiter;
pub mod limits;
pub mod mail;
pub mod metrics;
mod networks;
mod node_rotation;
pub mod nodes;
pub mod organizations;
pub mod origin;
mod osquery_details;
mod osquery_logs;
pub mod page;
mod password_rules;
mod passwords;
mod places;
pub mod proof;
mod refold;
mod refresh;
mod remembered;
pub mod roles;
pub mod rollouts;
mod secrets;
pub mod session_life;
pub mod session_list;
pub mod sessions;
pub mod setup;
pub mod signatures;
mod standing;
mod store;
pub mod teams;
pub mod tokens;
mod update_channels;
mod update_metrics;
mod updates;
pub mod users;
mod workers;

use std::{fs, io, os::unix::fs::DirBuilderExt as _, os::unix::fs::OpenOptionsExt as _, sync::Arc};

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub use self::{actor::Actor, store::StoreError};
use self::{
    breaches::{BreachListError, Breaches},
    connections::Connections,
    key_use::KeyCalls,
    keys::{KeyError, Keys, MasterKeyError},
    leases::Leases,
    limiter::Gate,
    limits::minute,
    mail::{MailSignal, Outbox, OutboxError},
    metrics::Metrics,
    osquery_logs::OsqueryLogs,
    passwords::Passwords,
    places::{Places, PlacesError},
    proof::KnownKey,
    remembered::Remembered,
    signatures::SeenSignatures,
    standing::Standings,
    store::{Access, Schema, Store},
    tokens::Tokens,
};
use crate::{
    bucket::{Bucket, BucketError},
    clock::Clock,
    config::Config,
};

/// No limit counts what is older.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The server without HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    config: Config,
    keys: Keys,
    tokens: Tokens,
    standings: Standings,
    known_keys: Remembered<KnownKey>,
    passwords: Passwords,
    breaches: Option<Breaches>,
    places: Option<Places>,
    osquery_logs: OsqueryLogs,
    desktop_tokens: Gate,
    signatures: SeenSignatures,
    enrollments: Gate,
    requests: Leases,
    account_requests: Leases,
    anonymous: Leases,
    strangers: Leases,
    key_calls: KeyCalls,
    outbox: Outbox,
    mail_queued: MailSignal,
    metrics: Metrics,
    update_bucket: Option<Bucket>,
    /// Told once the server stops.
    stopping: watch::Sender<bool>,
    connections: Connections,
}

/// Why the server could not start its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("could not make the data directory `{path}`")]
    DataDir { path: Utf8PathBuf, source: io::Error },
    #[error("could not make the database file `{path}`")]
    DatabaseFile { path: Utf8PathBuf, source: io::Error },
    #[error("there is no master key to encrypt signing keys with")]
    MasterKey(#[source] MasterKeyError),
    #[error("could not make a key to sign access tokens with")]
    SigningKey(#[source] KeyError),
    #[error("could not prepare to look for breached passwords")]
    BreachList(#[from] BreachListError),
    #[error(transparent)]
    Places(#[from] PlacesError),
    #[error("could not prepare for mail")]
    Mail(#[source] OutboxError),
    #[error("could not prepare for the bucket of updates")]
    Bucket(#[source] BucketError),
    #[error("could not open the database")]
    Database(#[source] StoreError),
    #[error(
        "the PostgreSQL role `{role}` {exemption}, so row-level security would not keep organizations \
         apart; connect as a role made with NOSUPERUSER NOBYPASSRLS that owns nothing, and give the \
         owner's URL as database.migrate_url"
    )]
    ExemptRole { role: String, exemption: String },
    #[error(
        "the database's schema is of a newer version of fleet-server (migration {0}), which this one \
         does not understand; start that version or a later one, or restore the backup from before the \
         upgrade"
    )]
    NewSchema(i64),
    #[error(
        "the database's schema is not up to date; run `fleet-server migrate` as its owner, or give \
         the owner's URL as database.migrate_url"
    )]
    OldSchema,
}

impl Fleet {
    /// Makes the data directory (0700), opens the database and brings its schema up to date, as the
    /// owner on PostgreSQL. A role that row-level security does not bind is refused.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, OpenError> {
        make_data_dir(&config)?;
        make_sqlite_file(&config)?;
        let store = open_store(&config).await?;
        let failures = config.limits.enroll_failures_per_minute;
        let passwords = Passwords::new(&config.auth.password);
        let metrics = Metrics::new(&store, passwords.durations());
        let fleet = Self(Arc::new(Inner {
            store,
            clock,
            keys: Keys::new(&config).map_err(OpenError::MasterKey)?,
            tokens: Tokens::new(&config.auth.jwt),
            standings: Standings::default(),
            known_keys: Remembered::default(),
            passwords,
            breaches: config.auth.password.breached.as_ref().map(Breaches::open).transpose()?,
            places: config.auth.session.places.as_deref().map(Places::open).transpose()?,
            osquery_logs: OsqueryLogs::new(
                config.data_dir.join("osquery-logs"),
                &config.osquery.logs,
            ),
            signatures: SeenSignatures::default(),
            desktop_tokens: Gate::new(minute("desktop-token", failures)),
            enrollments: Gate::new(minute("enrollment", failures)),
            requests: Leases::new(minute("requests", config.limits.requests_per_minute)),
            anonymous: Leases::new(minute(
                "anonymous",
                config.limits.anonymous_requests_per_minute,
            )),
            account_requests: Leases::new(minute(
                "account-requests",
                config.limits.requests_per_minute,
            )),
            strangers: Leases::new(minute("sign-in", config.limits.sign_in_requests_per_minute)),
            key_calls: KeyCalls::default(),
            outbox: Outbox::open(config.mail.as_ref()).map_err(OpenError::Mail)?,
            mail_queued: MailSignal::default(),
            metrics,
            update_bucket: open_bucket(&config)?,
            stopping: watch::Sender::new(false),
            connections: Connections::default(),
            config,
        }));
        fleet.ring().await.map_err(OpenError::SigningKey)?;
        fleet.know_passwords().await.map_err(OpenError::Database)?;
        fleet.refold_addresses().await.map_err(OpenError::Database)?;
        Ok(fleet)
    }

    /// Brings the schema up to date without serving anything.
    pub async fn migrate(config: &Config) -> Result<(), OpenError> {
        make_data_dir(config)?;
        make_sqlite_file(config)?;
        let store = Store::connect(&config.database).await.map_err(OpenError::Database)?;
        refuse_exempt(&store).await?;
        refuse_new_schema(&store).await?;
        if config.database.is_postgres() && config.database.migrate_url.is_none() {
            return Err(OpenError::OldSchema);
        }
        store.migrate(&config.database).await.map_err(OpenError::Database)
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.0.store.ping().await
    }

    /// Ends all connections to the database. Whatever is asked afterwards is refused.
    pub async fn close(&self) {
        self.give_back_leases().await;
        self.0.store.close().await;
    }

    /// Deletes what ended long ago. To be called once in a while.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.now();
        let mut tx = self.0.store.apart().await?;
        tx.sweep_accounts(now, now - SignedDuration::from_hours(7 * 24)).await?;
        tx.keep().await?;
        for org_id in self.0.store.organizations().await? {
            let mut org = self.0.store.org(org_id, Access::Note).await?;
            org.sweep_sessions(now).await?;
            org.sweep_invitations(now).await?;
            org.commit().await?;
        }
        self.sweep_audit().await?;
        self.0.store.sweep_attempts(now - LONGEST_WINDOW).await?;
        self.0.store.sweep_device_logins(now).await?;
        self.know_passwords().await?;
        self.sweep_signing_keys().await
    }

    /// Deletes leases of requests and failures of devices that nobody counts any more. To be called every
    /// minute: strangers make some.
    pub async fn sweep_leases(&self) -> Result<(), StoreError> {
        let (Inner { store, enrollments, desktop_tokens, .. }, now) = (&*self.0, self.now());
        for gate in [enrollments, desktop_tokens] {
            store.sweep_failures(gate.name(), now - leases::KEPT_FOR).await?;
        }
        store.sweep_leases(now - leases::KEPT_FOR).await
    }

    /// Looks which kinds of password hashes there are.
    async fn know_passwords(&self) -> Result<(), StoreError> {
        self.0.passwords.know(&self.0.store.kinds_of_passwords().await?);
        Ok(())
    }

    /// Drops the condition that keeps organizations apart from every statement: for the test that
    /// sees whether the tests of tenancy would notice. Release builds have no such thing.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub fn forget_tenants(&self) {
        self.0.store.forget_tenants();
    }

    /// With which function and parameters passwords were verified since the last time: for the test that
    /// compares the work of sign-ins. Release builds have no such thing.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    #[must_use]
    pub fn password_work(&self) -> Vec<String> {
        self.0.passwords.take_done()
    }

    /// What the operator set.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

fn open_bucket(config: &Config) -> Result<Option<Bucket>, OpenError> {
    let bucket = config.updates.bucket.as_ref().map(Bucket::new);
    bucket.transpose().map_err(OpenError::Bucket)
}

async fn open_store(config: &Config) -> Result<Store, OpenError> {
    let store = Store::connect(&config.database).await.map_err(OpenError::Database)?;
    refuse_exempt(&store).await?;
    refuse_new_schema(&store).await?;
    if config.database.migrate_url.is_some() || !config.database.is_postgres() {
        store.migrate(&config.database).await.map_err(OpenError::Database)?;
    }
    match store.schema().await.map_err(OpenError::Database)? {
        Schema::Current => Ok(store),
        Schema::Old => Err(OpenError::OldSchema),
        Schema::New(last) => Err(OpenError::NewSchema(last)),
    }
}

/// Refuses a database that a newer version has changed, before anything is done to it.
async fn refuse_new_schema(store: &Store) -> Result<(), OpenError> {
    match store.schema().await.map_err(OpenError::Database)? {
        Schema::New(last) => Err(OpenError::NewSchema(last)),
        Schema::Current | Schema::Old => Ok(()),
    }
}

async fn refuse_exempt(store: &Store) -> Result<(), OpenError> {
    match store.exempt_role().await.map_err(OpenError::Database)? {
        Some(exempt) => {
            let (role, exemption) = (exempt.name, exempt.exemption);
            Err(OpenError::ExemptRole { role, exemption })
        }
        None => Ok(()),
    }
}

fn make_data_dir(config: &Config) -> Result<(), OpenError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(|source| OpenError::DataDir { path: config.data_dir.clone(), source })
}

/// Makes the file before SQLite does, so that nobody else may ever read it.
fn make_sqlite_file(config: &Config) -> Result<(), OpenError> {
    let Some(path) = config.database.sqlite_path() else { return Ok(()) };
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| OpenError::DatabaseFile { path: path.to_owned(), source })
}

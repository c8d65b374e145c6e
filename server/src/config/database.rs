//! Which database, and how many connections to it.

use camino::Utf8Path;
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::Secret;

/// `database:` as the file has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DatabaseFile {
    url: Option<Secret>,
    migrate_url: Option<Secret>,
    max_connections: Option<u32>,
}

/// `database:`
#[derive(Debug, Clone, Serialize)]
pub struct Database {
    /// `sqlite:` and a path, or `postgres://…`. It may hold a password, which is shown as `***`.
    #[serde(serialize_with = "masked")]
    pub url: Secret,
    /// PostgreSQL: as whom the schema is brought up to date at start: the owner of the database.
    /// Without it, `fleet-server migrate` has to have done so.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "masked_optional")]
    pub migrate_url: Option<Secret>,
    /// At least 1. SQLite writes on one at a time, whatever this says.
    pub max_connections: u32,
}

/// The file below the data directory that SQLite uses.
const SQLITE_FILE: &str = "fleet.db";

impl DatabaseFile {
    pub(super) fn resolve(
        self,
        (flag, migrate_flag): (Option<String>, Option<String>),
        data_dir: &Utf8Path,
    ) -> Database {
        let below = || Secret::new(format!("sqlite:{}", data_dir.join(SQLITE_FILE)));
        let url = flag.map(Secret::new).or(self.url).unwrap_or_else(below);
        let migrate_url = migrate_flag.map(Secret::new).or(self.migrate_url);
        Database { url, migrate_url, max_connections: self.max_connections.unwrap_or(10) }
    }
}

impl Database {
    /// Whether the database is PostgreSQL; otherwise it is SQLite.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        let url = self.url.expose();
        url.starts_with("postgres:") || url.starts_with("postgresql:")
    }

    /// The file that SQLite uses.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&Utf8Path> {
        let path = self.url.expose().strip_prefix("sqlite:")?;
        Some(Utf8Path::new(path.trim_start_matches("//")))
    }

    /// Takes what the environment has, and notes what is wrong.
    pub(super) fn check(&mut self, problems: &mut Vec<String>) {
        self.url.resolve("database.url", problems);
        if let Some(url) = &mut self.migrate_url {
            url.resolve("database.migrate_url", problems);
        }
        if !self.is_postgres() && self.sqlite_path().is_none_or(|path| path.as_str().is_empty()) {
            problems
                .push("database.url: must be `postgres://…`, or `sqlite:` and a path".to_owned());
        }
        if self.sqlite_path().is_some_and(|path| !is_plain(path)) {
            problems.push(
                "database.url: the path must be a file's, without `?` and `%`, which would make it \
                 another file's"
                    .to_owned(),
            );
        }
        if self.is_postgres() && self.url.expose().parse::<Url>().is_err() {
            problems.push("database.url: is not a URL".to_owned());
        }
        if let Some(url) = &self.migrate_url
            && (!self.is_postgres() || url.expose().parse::<Url>().is_err())
        {
            problems.push(
                "database.migrate_url: must be `postgres://…`, and database.url too".to_owned(),
            );
        }
        if self.max_connections == 0 {
            problems.push("database.max_connections: must be at least 1".to_owned());
        }
    }
}

/// Whether the driver takes `path` for what it says: it decodes `%`, and reads parameters from `?`.
fn is_plain(path: &Utf8Path) -> bool {
    path != ":memory:" && !path.as_str().contains(['?', '%'])
}

fn masked_optional<S: Serializer>(url: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match url {
        Some(url) => masked(url, serializer),
        None => serializer.serialize_none(),
    }
}

fn masked<S: Serializer>(url: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    let url = url.expose();
    match url.parse::<Url>() {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Fails only for URLs that cannot have a password.
            let _ = parsed.set_password(Some("***"));
            serializer.serialize_str(mask_query(&mut parsed).as_str())
        }
        Ok(mut parsed) => serializer.serialize_str(mask_query(&mut parsed).as_str()),
        Err(_) => serializer.serialize_str(url),
    }
}

/// PostgreSQL takes `?password=` as well.
fn mask_query(url: &mut Url) -> &Url {
    if url.query_pairs().any(|(name, _)| name == "password") {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if name == "password" { "***".into() } else { value };
                (name.into_owned(), value.into_owned())
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url
}

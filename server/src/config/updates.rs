//! `updates:`, the repository of updates that is published at `/updates`.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Secret;

/// How an address of a bucket begins.
const SCHEME: &str = "s3://";

/// `updates:`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Updates {
    /// A folder that `fleetctl updates` filled: its `repository`, or what `publish` copied. Read at
    /// each request, so that it may be brought up to date, or be a link to another one, meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<Utf8PathBuf>,
    /// Or a bucket that `fleetctl updates publish` filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
}

/// `updates.bucket:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// `s3://bucket/prefix`, as it was given to `publish`.
    pub address: String,
    /// Address of the service that has it, if that is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default = "default_region")]
    pub region: String,
    /// With the next, what opens it for reading; neither: it is open to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl Bucket {
    /// What it is called, and what is before the names of files in it.
    pub(crate) fn name_and_prefix(&self) -> (&str, &str) {
        let address = self.address.strip_prefix(SCHEME).unwrap_or(&self.address);
        let address = address.trim_end_matches('/');
        address.split_once('/').unwrap_or((address, ""))
    }

    fn check(&mut self, problems: &mut Vec<String>) {
        for (key, secret) in [
            ("updates.bucket.access_key_id", &mut self.access_key_id),
            ("updates.bucket.secret_access_key", &mut self.secret_access_key),
        ] {
            if let Some(secret) = secret {
                secret.resolve(key, problems);
            }
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            problems
                .push("updates.bucket: access_key_id and secret_access_key go together".to_owned());
        }
        if !self.address.starts_with(SCHEME) || self.name_and_prefix().0.is_empty() {
            problems.push("updates.bucket.address: must be s3:// and a name".to_owned());
        }
        let is_web = |text: &String| {
            text.parse::<Url>().is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        if !self.endpoint.as_ref().is_none_or(is_web) {
            problems.push("updates.bucket.endpoint: must be an address, https://…".to_owned());
        }
    }
}

impl Updates {
    pub(super) fn check(&mut self, problems: &mut Vec<String>) {
        if self.dir.is_some() && self.bucket.is_some() {
            problems.push("updates: needs either updates.dir or updates.bucket".to_owned());
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.check(problems);
        }
        let Some(dir) = &self.dir else { return };
        if dir.join("keys").is_dir() {
            problems.push(format!(
                "updates.dir: `{dir}` has the keys in it: give the folder `repository` in it"
            ));
        } else if !dir.is_dir() {
            problems.push(format!("updates.dir: `{dir}` is not a folder"));
        }
    }
}

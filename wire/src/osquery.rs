//! osquery's remote API (its TLS plugins), as `osqueryd` speaks it: under each of [`PREFIXES`].
//!
//! Source: osquery's documentation, "Remote settings", and the shapes that Fleet serves. Refusals
//! are [`AgentError`](crate::orbit::AgentError) with `node_invalid: true` and status 401.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{EnrollSecret, OsqueryNodeKey};

/// Where these endpoints live; the second is the older name.
pub const PREFIXES: [&str; 2] = ["/api/osquery", "/api/v1/osquery"];

/// Body of `POST enroll`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollRequest {
    pub enroll_secret: EnrollSecret,
    /// What `--host_identifier` gave: the hardware UUID, or the identifier that orbit chose.
    pub host_identifier: String,
    /// Rows of `os_version`, `osquery_info`, `system_info`, `platform_info`, by table name.
    #[serde(default)]
    pub host_details: BTreeMap<String, Map<String, Value>>,
}

/// Reply to `POST enroll`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollReply {
    pub node_key: OsqueryNodeKey,
}

/// Body of `POST config` and `POST distributed/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeRequest {
    pub node_key: OsqueryNodeKey,
}

/// Reply to `POST distributed/read`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DistributedQueries {
    /// SQL by query name.
    pub queries: BTreeMap<String, String>,
    /// SQL that decides, by a row or none, whether the query of the same name runs.
    pub discovery: BTreeMap<String, String>,
    /// Seconds for which osqueryd asks more often, when the server is eager to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerate: Option<u32>,
}

/// Body of `POST distributed/write`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DistributedResults {
    pub node_key: OsqueryNodeKey,
    /// Rows by query name; osqueryd sends `""` for a query that failed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Object>))]
    pub queries: BTreeMap<String, Value>,
    /// Status by query name, 0 for success; a number or a number in a string.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Object>))]
    pub statuses: BTreeMap<String, Value>,
    #[serde(default)]
    pub messages: BTreeMap<String, String>,
}

/// Body of `POST log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogRequest {
    pub node_key: OsqueryNodeKey,
    pub log_type: LogType,
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub data: Vec<Value>,
}

/// What kind of lines a [`LogRequest`] carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogType {
    /// osqueryd's own messages.
    Status,
    /// Rows of scheduled queries.
    Result,
}

//! What agents and their osqueryd are told, and where osqueryd's logs go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wire::orbit::{Extension, UpdateChannels};

use super::{
    Period,
    period::{DAY, Lifetime},
};

/// `orbit:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrbitAgents {
    /// osqueryd flags by name, without dashes. Agents restart osqueryd when they change.
    pub command_line_startup_flags: BTreeMap<String, Value>,
    /// The channels that agents follow, by component, whatever their packages say.
    pub update_channels: UpdateChannels,
    /// osquery's extensions that agents run, by name.
    pub extensions: BTreeMap<String, Extension>,
    /// How old the node key of an orbit becomes before it is replaced, by orbits that can do that.
    pub node_key_max_age: Lifetime,
    /// How often in a row the network that a node key is used from may change, each time within five minutes of the
    /// time before, until two machines seem to have it; 0: never.
    pub network_switches: u32,
    /// How often the key of a device that keeps a connection is looked at again.
    pub connection_check: Period,
}

impl Default for OrbitAgents {
    fn default() -> Self {
        Self {
            command_line_startup_flags: BTreeMap::new(),
            update_channels: UpdateChannels::default(),
            extensions: BTreeMap::new(),
            node_key_max_age: Lifetime(Some(Period::seconds(30 * DAY))),
            network_switches: 4,
            connection_check: Period::seconds(15),
        }
    }
}

/// `devices:`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Refuse what agents ask without a signature of their device's own key.
    pub require_signature: bool,
}

/// `osquery:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OsqueryAgents {
    /// osquery's configuration, served as it stands: `options`, `decorators`, `schedule`, …
    pub config: Map<String, Value>,
    /// How often a device is asked about its system.
    pub details_interval: Period,
    pub logs: OsqueryLogs,
}

/// `osquery.logs:` files below the data directory, one a log type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OsqueryLogs {
    /// A file that grows beyond this, in bytes, is put aside.
    pub max_bytes: u64,
    /// How many files are kept aside; older ones are deleted.
    pub keep: u32,
}

impl Default for OsqueryAgents {
    fn default() -> Self {
        Self {
            config: default_config(),
            details_interval: Period::seconds(60 * 60),
            logs: OsqueryLogs::default(),
        }
    }
}

impl Default for OsqueryLogs {
    fn default() -> Self {
        Self { max_bytes: 50_000_000, keep: 5 }
    }
}

impl OsqueryAgents {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.logs.max_bytes < 4096 {
            problems.push("osquery.logs.max_bytes: must be at least 4096".to_owned());
        }
    }
}

fn default_config() -> Map<String, Value> {
    let config = json!({
        "options": {
            "disable_distributed": false,
            "distributed_interval": 10,
            "distributed_tls_max_attempts": 3,
            "logger_tls_period": 10,
            "pack_delimiter": "/"
        },
        "decorators": {
            "load": [
                "SELECT uuid AS host_uuid FROM system_info;",
                "SELECT hostname AS hostname FROM system_info;"
            ]
        }
    });
    if let Value::Object(map) = config { map } else { Map::new() }
}

//! Detail queries: what every device's osqueryd is asked about its system, and reading the rows.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wire::{
    orbit::DeviceIdentity,
    osquery::{DistributedQueries, DistributedResults},
};

use super::{
    identity::{tidy, tidy_optional},
    store::Details,
};

/// Name and SQL of each detail query.
const QUERIES: [(&str, &str); 3] = [
    (
        "fleet_detail_query_os_version",
        "SELECT name, version, platform, platform_like, arch FROM os_version LIMIT 1",
    ),
    ("fleet_detail_query_osquery_info", "SELECT version FROM osquery_info LIMIT 1"),
    (
        "fleet_detail_query_system_info",
        "SELECT uuid, hostname, computer_name, hardware_serial, hardware_model, cpu_type \
         FROM system_info LIMIT 1",
    ),
];

/// What a query's discovery says when the query runs everywhere. Each query has one: a map with
/// any discovery in it turns the queries without one off.
const EVERYWHERE: &str = "SELECT 1";

/// Seconds for which a device that was never asked asks often.
const ACCELERATE: u32 = 10;

/// All detail queries; a `new` device is to hurry.
pub(super) fn detail_queries(new: bool) -> DistributedQueries {
    let by_name = |value: fn(&str) -> String| {
        QUERIES.iter().map(|(name, sql)| ((*name).to_owned(), value(sql))).collect()
    };
    DistributedQueries {
        queries: by_name(str::to_owned),
        discovery: by_name(|_| EVERYWHERE.to_owned()),
        accelerate: new.then_some(ACCELERATE),
    }
}

/// What the results tell about the device; `None` when no detail query is among them.
pub(super) fn details_in(results: &DistributedResults) -> Option<Details> {
    let asked = QUERIES.iter().any(|(name, _)| results.queries.contains_key(*name));
    if !asked {
        return None;
    }
    let rows: BTreeMap<&str, &Map<String, Value>> = QUERIES
        .iter()
        .filter(|(name, _)| succeeded(results, name))
        .filter_map(|(name, _)| Some((*name, results.queries.get(*name)?.get(0)?.as_object()?)))
        .collect();
    let table = |name: &str| rows.get(format!("fleet_detail_query_{name}").as_str()).copied();
    Some(details(table))
}

/// Status 0, as a number or in a string; or no status at all.
fn succeeded(results: &DistributedResults, name: &str) -> bool {
    match results.statuses.get(name) {
        None => true,
        Some(status) => status.as_i64() == Some(0) || status.as_str() == Some("0"),
    }
}

fn details<'a>(table: impl Fn(&str) -> Option<&'a Map<String, Value>>) -> Details {
    let text = |name: &str, column: &str| {
        tidy_optional(table(name).and_then(|row| row.get(column)).and_then(Value::as_str))
    };
    Details {
        hostname: text("system_info", "hostname"),
        computer_name: text("system_info", "computer_name"),
        platform: text("os_version", "platform"),
        platform_like: text("os_version", "platform_like"),
        os_version: os_version(text("os_version", "name"), text("os_version", "version")),
        cpu_type: text("system_info", "cpu_type").or_else(|| text("os_version", "arch")),
        hardware_serial: text("system_info", "hardware_serial"),
        hardware_model: text("system_info", "hardware_model"),
        osquery_version: text("osquery_info", "version"),
    }
}

/// `Debian GNU/Linux` and `12 (bookworm)` → `Debian GNU/Linux 12 (bookworm)`.
fn os_version(name: Option<String>, version: Option<String>) -> Option<String> {
    match (name, version) {
        (Some(name), Some(version)) if !version.starts_with(&name) => {
            Some(tidy(&format!("{name} {version}")))
        }
        (_, Some(version)) => Some(version),
        (name, None) => name,
    }
}

/// What osqueryd tells about its device when it enrolls, in the form that orbit tells it.
pub(super) fn identity_of(
    identifier: &str,
    tables: &BTreeMap<String, Map<String, Value>>,
) -> DeviceIdentity {
    let found = details(|name| tables.get(name));
    let uuid = tables.get("system_info").and_then(|row| row.get("uuid")).and_then(Value::as_str);
    let hardware_uuid = tidy_optional(uuid).unwrap_or_else(|| identifier.to_owned());
    let osquery_identifier = if identifier.eq_ignore_ascii_case(&hardware_uuid) {
        String::new()
    } else {
        identifier.to_owned()
    };
    DeviceIdentity {
        hardware_uuid,
        osquery_identifier,
        hostname: found.hostname.unwrap_or_default(),
        computer_name: found.computer_name.unwrap_or_default(),
        platform: found.platform.unwrap_or_default(),
        platform_like: found.platform_like.unwrap_or_default(),
        os_version: found.os_version,
        cpu_type: found.cpu_type,
        hardware_serial: found.hardware_serial.unwrap_or_default(),
        hardware_model: found.hardware_model.unwrap_or_default(),
        ..DeviceIdentity::default()
    }
}

/// The same as details, for a row that exists already.
pub(super) fn of_identity(device: &DeviceIdentity) -> Details {
    let known = |text: &str| tidy_optional(Some(text));
    Details {
        hostname: known(&device.hostname),
        computer_name: known(&device.computer_name),
        platform: known(&device.platform),
        platform_like: known(&device.platform_like),
        os_version: device.os_version.clone(),
        cpu_type: device.cpu_type.clone(),
        hardware_serial: known(&device.hardware_serial),
        hardware_model: known(&device.hardware_model),
        osquery_version: None,
    }
}

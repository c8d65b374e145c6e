//! osqueryd's arguments, in an order of rising authority:
//!
//! 1. what the agent sets unless somebody knows better,
//! 2. what the server wishes for (`command_line_startup_flags`),
//! 3. the administrator's own `osquery.flags` on this device, which is never lost,
//! 4. what must be as the agent says, or the device would fall apart.

use std::fs::File;

use camino::Utf8Path;
use serde_json::Value;
use wire::settings::files;

use super::{authorities, extensions::Shelf, relay::Way};
use crate::{config::Config, identity::Identity, machine::Flags, platform};

/// Unless the server or the administrator says otherwise.
const DEFAULTS: [(&str, &str); 10] = [
    ("config_plugin", "tls"),
    ("config_refresh", "60"),
    ("disable_distributed", "false"),
    ("distributed_plugin", "tls"),
    ("distributed_interval", "10"),
    ("distributed_tls_max_attempts", "10"),
    ("logger_plugin", "tls"),
    ("logger_tls_period", "10"),
    ("disable_carver", "false"),
    // In base64 it is within what the server, and a relay that signs, take at once; osquery's own 8 KiB
    // would make a hundred thousand requests of a gigabyte.
    ("carver_block_size", "2000000"),
];

/// Where osqueryd finds what, below the server's own path.
const ADDRESSES: [(&str, &str); 7] = [
    ("enroll_tls_endpoint", "/api/v1/osquery/enroll"),
    ("config_tls_endpoint", "/api/v1/osquery/config"),
    ("distributed_tls_read_endpoint", "/api/v1/osquery/distributed/read"),
    ("distributed_tls_write_endpoint", "/api/v1/osquery/distributed/write"),
    ("logger_tls_endpoint", "/api/v1/osquery/log"),
    ("carver_start_endpoint", "/api/v1/osquery/carve/begin"),
    ("carver_continue_endpoint", "/api/v1/osquery/carve/block"),
];

/// The argument that names the pid file, which also marks our osqueryds.
#[must_use]
pub fn pid_file(root: &Utf8Path) -> String {
    flag("pidfile", root.join(files::OSQUERY_PID))
}

/// All arguments.
#[must_use]
pub fn arguments(
    config: &Config,
    identity: &Identity,
    wishes: &Flags,
    (way, has_secret): (&Way, bool),
) -> Vec<String> {
    let mut arguments: Vec<_> = DEFAULTS.iter().map(|(name, value)| flag(name, value)).collect();
    if config.settings.debug {
        arguments.push(flag("verbose", "true"));
    }
    arguments.extend(told(&config.root, wishes));
    arguments.extend(forced(config, identity, (way, has_secret)));
    arguments
}

/// All arguments of an interactive shell before its user's own: what osqueryd is told by others, but
/// none of that has it talk to the server, or meet the one that runs. All that it writes is in `folder`.
#[must_use]
pub fn of_shell(root: &Utf8Path, folder: &Utf8Path, wishes: &Flags) -> Vec<String> {
    let mut arguments = told(root, wishes);
    arguments.extend([
        flag("config_plugin", "filesystem"),
        flag("config_path", folder.join(SHELL_CONFIG)),
        flag("logger_plugin", "filesystem"),
        flag("logger_path", folder),
        flag("disable_distributed", "true"),
        flag("disable_carver", "true"),
        flag("disable_enrollment", "true"),
        flag("pidfile", folder.join(files::OSQUERY_PID)),
        flag("database_path", folder.join(files::OSQUERY_DB)),
        flag("extensions_socket", platform::shell_socket(folder)),
    ]);
    arguments.extend(authorities::present(root).map(|path| flag("tls_server_certs", path)));
    arguments
}

/// The shell's configuration, below its folder.
pub(super) const SHELL_CONFIG: &str = "osquery.conf";

/// What the server and the administrator have to say, and the extensions.
fn told(root: &Utf8Path, wishes: &Flags) -> Vec<String> {
    let mut arguments: Vec<_> =
        wishes.iter().filter_map(|(name, value)| wish(name, value)).collect();
    let shelf = Shelf::below(root);
    arguments.extend(shelf.list().map(|path| flag("extensions_autoload", path)));
    let local = root.join(files::OSQUERY_FLAGS);
    // A shell's user may not be allowed to read it.
    if local.is_file() && File::open(&local).is_ok() {
        arguments.push(flag("flagfile", local));
    }
    arguments
}

fn forced(config: &Config, identity: &Identity, (way, has_secret): (&Way, bool)) -> Vec<String> {
    let root = &config.root;
    let mut arguments = vec![
        pid_file(root),
        flag("extensions_socket", platform::extensions_socket(root)),
        flag("logger_path", root.join(files::OSQUERY_LOGS)),
        flag("database_path", config.osquery_db()),
        flag("host_identifier", "specified"),
        flag("specified_identifier", identity.osquery_identifier()),
    ];
    if has_secret {
        arguments.push(flag("enroll_secret_env", super::SECRET_VARIABLE));
    }
    arguments.extend(server(config.connection.url.path(), way));
    arguments.extend(way.authorities.as_ref().map(|path| flag("tls_server_certs", path)));
    if let Some(client) = &way.client {
        arguments.push(flag("tls_client_cert", &client.certificate));
        arguments.push(flag("tls_client_key", &client.key));
    }
    arguments
}

/// osqueryd takes `host:port` without scheme, and the path with each address.
fn server(path: &str, way: &Way) -> Vec<String> {
    let path = path.trim_end_matches('/');
    let mut arguments = vec![flag("tls_hostname", &way.server)];
    arguments.extend(ADDRESSES.iter().map(|(name, below)| flag(name, format!("{path}{below}"))));
    if let Some(proxy) = &way.proxy {
        let host = proxy.host_str().unwrap_or_default();
        let port = proxy.port_or_known_default().unwrap_or(8080);
        arguments.push(flag("proxy_hostname", format!("{host}:{port}")));
    }
    arguments
}

/// A flag as the server wishes it, if it is one.
fn wish(name: &str, value: &Value) -> Option<String> {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(on.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let usable = text.filter(|text| is_name && name != "flagfile" && !text.contains('\0'));
    if usable.is_none() {
        tracing::warn!(flag.name = name, "the server's osqueryd flag `{name}` cannot be used");
    }
    usable.map(|text| flag(name, text))
}

fn flag(name: &str, value: impl AsRef<str>) -> String {
    format!("--{name}={}", value.as_ref())
}

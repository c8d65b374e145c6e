//! The daemon and the icon as launchd knows them. Source: launchd.plist(5).
//!
//! Everybody on the device can read a daemon's environment (`launchctl print`), so no secret is in it.

use plist::{Dictionary, Value};
use wire::settings::vars;

use crate::spec::PackageSpec;

const PROGRAM: &str = "/opt/orbit/bin/orbit/orbit";
/// The version that the pointer leads to.
const DESKTOP: &str = "/opt/orbit/bin/desktop/fleet-desktop";
const LOG: &str = "/var/log/orbit/orbit.log";
/// What is said before the log is open, and panics.
const STDERR: &str = "/var/log/orbit/orbit.stderr.log";
/// Seconds between two starts.
const THROTTLE: i64 = 10;
/// Seconds that the agent has to stop osqueryd and itself.
const EXIT_TIMEOUT: i64 = 20;

pub(super) fn render(spec: &PackageSpec, label: &str) -> Vec<u8> {
    let mut daemon = Dictionary::new();
    let mut set = |key: &str, value: Value| daemon.insert(key.to_owned(), value);
    set("Label", label.into());
    set("ProgramArguments", Value::Array(vec![PROGRAM.into()]));
    set("EnvironmentVariables", Value::Dictionary(environment(spec)));
    set("RunAtLoad", true.into());
    set("KeepAlive", true.into());
    set("ThrottleInterval", THROTTLE.into());
    set("ProcessType", "Background".into());
    set("ExitTimeOut", EXIT_TIMEOUT.into());
    set("StandardErrorPath", STDERR.into());
    if !spec.service().start {
        // launchd starts what lies in the folder, if not now, then when the device does.
        set("Disabled", true.into());
    }
    written(daemon)
}

/// What shows the icon in the session of everybody who signs in with a screen.
pub(super) fn render_icon(label: &str) -> Vec<u8> {
    let mut agent = Dictionary::new();
    let mut set = |key: &str, value: Value| agent.insert(key.to_owned(), value);
    set("Label", label.into());
    set("ProgramArguments", Value::Array(vec![DESKTOP.into(), "tray".into()]));
    set("LimitLoadToSessionType", "Aqua".into());
    set("RunAtLoad", true.into());
    set("KeepAlive", true.into());
    set("ThrottleInterval", THROTTLE.into());
    set("ProcessType", "Interactive".into());
    written(agent)
}

fn written(properties: Dictionary) -> Vec<u8> {
    let mut text = Vec::new();
    let list = Value::Dictionary(properties);
    list.to_writer_xml(&mut text).expect("writing to memory does not fail");
    text.push(b'\n');
    text
}

fn environment(spec: &PackageSpec) -> Dictionary {
    let vars = spec.settings().to_vars().into_iter();
    let log = (vars::LOG_FILE, LOG.to_owned());
    vars.chain([log]).map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}

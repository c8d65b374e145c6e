//! What the tools of macOS print, read. Pure, so that it is tested on every system.

use std::{
    collections::BTreeMap,
    io::{self, Cursor},
};

use plist::Value;
use serde::Deserialize;

use crate::platform::MANAGED;

/// The value of `"name" = "value"`, or `= <"value">` as device-tree properties are shown, in what
/// `ioreg` prints.
pub(super) fn ioreg_field(listing: &str, name: &str) -> Option<String> {
    let wanted = format!("\"{name}\" = ");
    let line = listing.lines().find_map(|line| Some(line.split_once(&wanted)?.1))?;
    let value = line.trim().trim_start_matches('<').trim_end_matches('>').trim_matches('"').trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// e.g. `macOS 14.5 (23F79)`, from what `sw_vers` prints.
pub(super) fn system_version(listing: &str) -> Option<String> {
    let field = |name: &str| {
        listing.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let version = field("ProductVersion")?;
    let name = field("ProductName").unwrap_or_else(|| "macOS".to_owned());
    Some(match field("BuildVersion") {
        Some(build) => format!("{name} {version} ({build})"),
        None => format!("{name} {version}"),
    })
}

/// The environment in a launchd property list that `plutil` has turned into JSON.
pub(super) fn daemon_environment(json: &str) -> io::Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Daemon {
        #[serde(rename = "EnvironmentVariables", default)]
        environment: BTreeMap<String, String>,
    }
    let daemon: Daemon = serde_json::from_str(json)?;
    Ok(daemon.environment)
}

/// The settings in a configuration profile of Fleet's, as macOS hands it to programs: a property list,
/// binary or XML.
pub(super) fn profile_settings(plist: &[u8]) -> io::Result<BTreeMap<&'static str, String>> {
    let profile = Value::from_reader(Cursor::new(plist)).map_err(io::Error::other)?;
    let profile = profile.into_dictionary().unwrap_or_default();
    let setting = |(key, name)| Some((name, profile.get(key)?.as_string()?.to_owned()));
    Ok(MANAGED.into_iter().filter_map(setting).collect())
}

/// The processes with `argument` among their arguments, from lines of `<pid> <state> <command>`.
/// A zombie has none any more.
pub(super) fn processes_with_argument(listing: &str, argument: &str) -> Vec<u32> {
    let runs = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        !words.next().is_some_and(|state| state.starts_with('Z'))
    };
    let has_argument = |line: &&str| {
        line.match_indices(argument).any(|(at, _)| {
            line[..at].ends_with(' ')
                && line[at + argument.len()..].chars().next().is_none_or(|c| c == ' ')
        })
    };
    let with_argument = listing.lines().filter(runs).filter(has_argument);
    with_argument.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use wire::settings::vars;

    use super::*;

    const IOREG: &str = r#"+-o J314sAP  <class IOPlatformExpertDevice, id 0x100000227, registered, matched, active, busy 0 (13 ms), retain 38>
    {
      "manufacturer" = <"Apple Inc.">
      "compatible" = <"J314sAP","MacBookPro18,3","AppleARM">
      "model" = <"MacBookPro18,3">
      "IOPlatformSerialNumber" = "C02ZW0AAAAAA"
      "IOPlatformUUID" = "5CB63B5C-36B2-5F3C-9F0B-5A4A0E6D1F00"
    }
"#;

    #[test]
    fn a_mac_says_who_it_is() {
        let field = |name| ioreg_field(IOREG, name);
        let uuid = field("IOPlatformUUID").unwrap();
        assert!(uuid::Uuid::try_parse(&uuid).is_ok(), "{uuid}");
        assert_eq!(field("IOPlatformSerialNumber").as_deref(), Some("C02ZW0AAAAAA"));
        assert_eq!(field("model").as_deref(), Some("MacBookPro18,3"));
        assert_eq!(field("nothing"), None);
        assert_eq!(ioreg_field("", "model"), None);
    }

    #[test]
    fn the_system_says_its_version() {
        let listing = "ProductName:\t\tmacOS\nProductVersion:\t\t14.5\nBuildVersion:\t\t23F79\n";
        assert_eq!(system_version(listing).as_deref(), Some("macOS 14.5 (23F79)"));
        assert_eq!(system_version(""), None);
    }

    #[test]
    fn a_daemons_environment_is_read() {
        let json = r#"{"Label":"com.fleetdm.orbit","EnvironmentVariables":{"ORBIT_DEBUG":"true"}}"#;
        let expected = BTreeMap::from([("ORBIT_DEBUG".to_owned(), "true".to_owned())]);
        assert_eq!(daemon_environment(json).unwrap(), expected);
        assert_eq!(daemon_environment("{}").unwrap(), BTreeMap::new());
        assert!(daemon_environment("").is_err());
    }

    #[test]
    fn a_configuration_profile_tells_server_and_secret() {
        let profile = include_bytes!("../../../tests/it/profile.plist");
        let settings = profile_settings(profile).unwrap();
        let expected = BTreeMap::from([
            (vars::FLEET_URL, "https://fleet.example.com".to_owned()),
            (vars::ENROLL_SECRET, "a-secret-of-a-profile".to_owned()),
        ]);
        assert_eq!(settings, expected);
        let value = Value::from_reader(Cursor::new(profile)).unwrap();
        let mut binary = Vec::new();
        value.to_writer_binary(&mut binary).unwrap();
        assert!(binary.starts_with(b"bplist"));
        assert_eq!(profile_settings(&binary).unwrap(), expected);
        assert!(profile_settings(b"<plist>").is_err());
    }

    #[test]
    fn processes_are_told_by_a_whole_argument() {
        let listing = "    1 Ss   /sbin/launchd\n  \
            77 S    /opt/orbit/bin/osqueryd --pidfile=/opt/orbit/osquery.pid --x\n  \
            78 S    /opt/orbit/bin/osqueryd --pidfile=/opt/orbit/osquery.pid\n  \
            79 Z    /opt/orbit/bin/osqueryd --pidfile=/opt/orbit/osquery.pid\n  \
            80 S    vi --pidfile=/opt/orbit/osquery.pid.old\n";
        let found = processes_with_argument(listing, "--pidfile=/opt/orbit/osquery.pid");
        assert_eq!(found, [77, 78]);
    }
}

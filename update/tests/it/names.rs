//! What targets are called.

use proptest::prelude::*;
use update::{Channel, Component, Location, Program, ProgramTarget, TargetName, UpdatePlatform};

#[test]
fn a_location_that_cannot_be_used_is_told_without_its_password() {
    for text in
        ["ftp://ann:hunter2@mirror/tuf", "https://ann:hunter2@mirror:99999", "s3://a:hunter2@"]
    {
        let said = text.parse::<Location>().unwrap_err().to_string();
        assert!(said.contains("://…@") && !said.contains("hunter2"), "{said}");
    }
    let said = "ftp://mirror/tuf".parse::<Location>().unwrap_err().to_string();
    assert_eq!(said, "`ftp://mirror/tuf` is neither an https URL nor a directory");
}

#[test]
fn targets_are_called_as_fleet_calls_them() {
    let names = [
        "orbit/linux/stable/orbit",
        "orbit/linux-arm64/edge/orbit",
        "orbit/macos/1/orbit",
        "orbit/windows/1.2/orbit.exe",
        "orbit/windows-arm64/1.2.3/orbit.exe",
        "osqueryd/linux/stable/osqueryd",
        "osqueryd/macos-app/stable/osqueryd.app.tar.gz",
        "osqueryd/windows/stable/osqueryd.exe",
        "desktop/linux/stable/desktop.tar.gz",
        "desktop/macos/stable/desktop.app.tar.gz",
        "desktop/windows/stable/fleet-desktop.exe",
    ];
    for name in names {
        assert_eq!(name.parse::<TargetName>().unwrap().to_string(), name);
    }
}

#[test]
fn names_of_other_files_are_refused() {
    let names = [
        "orbit/linux/stable/orbit.exe",
        "orbit/linux/stable",
        "orbit/linux/stable/orbit/",
        "/orbit/linux/stable/orbit",
        "orbit/../stable/orbit",
        "orbit/linux/../orbit",
        "nudge/macos/stable/nudge.app.tar.gz",
        "orbit/linux/stable/../../../../etc/passwd",
        "",
    ];
    for name in names {
        assert!(name.parse::<TargetName>().is_err(), "{name}");
    }
}

#[test]
fn extensions_are_called_as_fleet_calls_them() {
    let name = |platform| {
        let program = "extensions/hello_world".parse().unwrap();
        ProgramTarget { program, platform, channel: Channel::stable() }.to_string()
    };
    let (linux, windows) = (name(UpdatePlatform::LinuxArm64), name(UpdatePlatform::Windows));
    assert_eq!(linux, "extensions/hello_world/linux-arm64/stable/hello_world.ext");
    assert_eq!(windows, "extensions/hello_world/windows/stable/hello_world.ext.exe");
    for component in Component::ALL {
        assert_eq!(component.as_str().parse::<Program>(), Ok(component.into()));
    }
    let longest = format!("extensions/{}", "x".repeat(100));
    assert_eq!(longest.parse::<Program>().unwrap().to_string(), longest);
    let too_long = format!("{longest}x");
    for name in [
        "extensions",
        "extensions/",
        "extensions/..",
        "extensions/a/b",
        "extensions/a.ext",
        "extensions/ä",
        "hello_world",
        too_long.as_str(),
    ] {
        assert!(name.parse::<Program>().is_err(), "{name}");
    }
}

#[test]
fn channels_are_tracks_or_versions() {
    for channel in ["stable", "edge", "1", "1.2", "1.2.3", "0.0.10", "18446744073709551615"] {
        assert_eq!(channel.parse::<Channel>().unwrap().as_str(), channel);
    }
    for channel in [
        "",
        "Stable",
        "beta",
        "1.",
        ".1",
        "1.2.3.4",
        "01",
        "1.2.03",
        "v1",
        "1.2.3-rc1",
        "+1",
        "1/2",
        "..",
        "1 ",
    ] {
        assert!(channel.parse::<Channel>().is_err(), "{channel}");
    }
}

fn component() -> impl Strategy<Value = Component> {
    prop::sample::select(Component::ALL.to_vec())
}

fn platform() -> impl Strategy<Value = UpdatePlatform> {
    prop::sample::select(UpdatePlatform::ALL.to_vec())
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![
        Just("stable".to_owned()),
        Just("edge".to_owned()),
        prop::collection::vec(any::<u64>(), 1..=3).prop_map(|parts| parts
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(".")),
    ]
    .prop_map(|text| text.parse().unwrap())
}

proptest! {
    #[test]
    fn every_name_reads_back(component in component(), platform in platform(), channel in channel()) {
        let name = TargetName { component, platform, channel };
        prop_assert_eq!(name.to_string().parse::<TargetName>().unwrap(), name);
    }

    #[test]
    fn whatever_is_read_as_a_name_is_that_name(text in "[a-z0-9./-]{0,12}(/[a-z0-9./-]{0,8}){0,4}") {
        if let Ok(name) = text.parse::<TargetName>() {
            prop_assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn no_channel_leads_out_of_its_directory(text in "\\PC{0,12}") {
        if let Ok(channel) = text.parse::<Channel>() {
            prop_assert!(!channel.as_str().contains(['/', '\\', '\0']) && channel.as_str() != "..");
        }
    }
}

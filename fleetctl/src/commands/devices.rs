//! `fleetctl devices`: what has enrolled.

mod group;

use std::{collections::BTreeMap, time::Duration};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Map;
use wire::{
    DeviceId, TeamId,
    api::{ChangeDevice, Device, DeviceState},
    orbit::{ComponentUpdate, UpdateChannels, UpdateState},
    settings::parse_duration,
};

use super::{enroll_secrets, find, teams};
use crate::{
    client::Client,
    flags::Output,
    output::{Format, Table, time},
    prompt,
    session::Session,
};

/// Lists, shows, approves, tags, updates, decommissions and deletes devices
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl devices list
  fleetctl devices show laptop-17
  fleetctl devices list --output json | jq -r '.[] | select(.status == \"offline\") | .hostname'")]
pub(crate) enum DevicesCommand {
    /// Lists the devices
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  fleetctl devices list
  fleetctl devices list --team Workstations --query laptop --output json"
    )]
    List(ListArgs),
    /// Shows all that is known of a device
    #[command(after_help = "Examples:\n  fleetctl devices show laptop-17")]
    Show(ShowArgs),
    /// Lets a device in that waits, was rejected or decommissioned
    #[command(after_help = "\
Examples:
  fleetctl devices list --state pending
  fleetctl devices approve laptop-17")]
    Approve(NamedArgs),
    /// Keeps a device out that waits for approval
    #[command(after_help = "Examples:\n  fleetctl devices reject laptop-17")]
    Reject(NamedArgs),
    /// Takes a device's keys, or those of many; they get no others until they are approved
    #[command(after_help = "\
Examples:
  fleetctl devices decommission laptop-17
  fleetctl devices decommission --tag kiosk --yes
  fleetctl devices decommission --enroll-secret old-image --yes")]
    Decommission(group::Which),
    /// Gives a device tags, instead of those that it has
    #[command(after_help = "Examples:\n  fleetctl devices tag laptop-17 kiosk lab")]
    Tag(TagArgs),
    /// Says which channels a device, or many, is updated from, instead of those that were said before
    #[command(after_help = "\
Examples:
  fleetctl devices set-channels laptop-17 --orbit-channel edge
  fleetctl devices set-channels --tag kiosk --osqueryd-channel 5.19 --yes
  fleetctl devices set-channels laptop-17

Components without a channel follow the server (orbit.update_channels), or the device's package.")]
    SetChannels(group::ChannelsArgs),
    /// Has a device asked about its system the next time that its osqueryd comes
    #[command(after_help = "Examples:\n  fleetctl devices refetch laptop-17")]
    Refetch(NamedArgs),
    /// Has a device's agent log more for a while
    #[command(after_help = "\
Examples:
  fleetctl devices debug laptop-17 --for 1h
  fleetctl devices debug laptop-17 --off")]
    Debug(DebugArgs),
    /// Deletes a device: its agent must enroll again
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  fleetctl devices delete laptop-17 --yes"
    )]
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only devices whose names, serial or UUID contain TEXT
    #[arg(long, value_name = "TEXT")]
    query: Option<String>,
    /// Only devices of this team (name or id)
    #[arg(long)]
    team: Option<String>,
    /// Only devices in this state: pending, accepted, rejected or decommissioned
    #[arg(long)]
    state: Option<DeviceState>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Device's id, hostname, serial or hardware UUID
    device: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// Device's id, hostname, serial or hardware UUID
    device: String,
}

#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// Device's id, hostname, serial or hardware UUID
    device: String,
    /// Tags; none takes all away
    tags: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DebugArgs {
    /// Device's id, hostname, serial or hardware UUID
    device: String,
    /// For how long: a day at most, e.g. 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration,
        required_unless_present = "off")]
    lasts: Option<Duration>,
    /// No longer
    #[arg(long, conflicts_with = "lasts")]
    off: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Device's id, hostname, serial or hardware UUID
    device: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: DevicesCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        DevicesCommand::List(args) => list(session, &mut client, &args).await,
        DevicesCommand::Show(args) => {
            let device = named(&mut client, &args.device).await?;
            let teams = team_names(&mut client, args.output.format).await;
            session.shell.data(args.output.format, &device, |device| details(device, &teams))
        }
        DevicesCommand::Approve(args) => {
            let state = DeviceState::Accepted;
            let device = set_state(&mut client, &args.device, state).await?;
            session.shell.done(format!("device `{}` may enroll", device.hostname));
            Ok(())
        }
        DevicesCommand::Reject(args) => {
            let state = DeviceState::Rejected;
            let device = set_state(&mut client, &args.device, state).await?;
            session.shell.done(format!("device `{}` stays out", device.hostname));
            Ok(())
        }
        DevicesCommand::Decommission(which) => {
            group::decommission(session, &mut client, which).await
        }
        DevicesCommand::SetChannels(args) => group::set_channels(session, &mut client, args).await,
        DevicesCommand::Refetch(args) => {
            let device = named(&mut client, &args.device).await?;
            client.tell(&format!("/devices/{}/refetch", device.id), &Map::new()).await?;
            session.shell.done(format!("device `{}` will be asked anew", device.hostname));
            Ok(())
        }
        DevicesCommand::Tag(args) => {
            let device = named(&mut client, &args.device).await?;
            let change = ChangeDevice { tags: Some(args.tags), ..ChangeDevice::default() };
            let path = format!("/devices/{}", device.id);
            let device: Device = client.change(Method::PATCH, &path, &change).await?;
            session.shell.done(format!(
                "tags of `{}`: {}",
                device.hostname,
                device.tags.join(", ")
            ));
            Ok(())
        }
        DevicesCommand::Debug(args) => debug(session, &mut client, &args).await,
        DevicesCommand::Delete(args) => {
            let device = named(&mut client, &args.device).await?;
            let question = format!("Delete device `{}` ({})?", device.hostname, device.id);
            prompt::confirm(args.yes, &question)?;
            client.delete(&format!("/devices/{}", device.id)).await?;
            session.shell.done(format!("device `{}` is deleted", device.hostname));
            Ok(())
        }
    }
}

async fn list(session: &Session, client: &mut Client, args: &ListArgs) -> anyhow::Result<()> {
    let team = match &args.team {
        Some(team) => Some(teams::named(client, team).await?.id.to_string()),
        None => None,
    };
    let state = args.state.map(DeviceState::as_str);
    let filters =
        [("query", args.query.as_deref()), ("team_id", team.as_deref()), ("state", state)];
    let filters: Vec<_> =
        filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let devices: Vec<Device> = client.list("/devices", &filters).await?;
    let teams = if devices.iter().any(|device| device.team_id.is_some()) {
        team_names(client, args.output.format).await
    } else {
        BTreeMap::new()
    };
    session.shell.data(args.output.format, &devices, |devices| table(devices, &teams))
}

async fn set_state(
    client: &mut Client,
    wanted: &str,
    state: DeviceState,
) -> anyhow::Result<Device> {
    let device = named(client, wanted).await?;
    let change = ChangeDevice { state: Some(state), ..ChangeDevice::default() };
    client.change(Method::PATCH, &format!("/devices/{}", device.id), &change).await
}

async fn debug(session: &Session, client: &mut Client, args: &DebugArgs) -> anyhow::Result<()> {
    let seconds = args.lasts.map_or(0, |lasts| u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX));
    let device = named(client, &args.device).await?;
    let change = ChangeDevice { debug_for_seconds: Some(seconds), ..ChangeDevice::default() };
    let path = format!("/devices/{}", device.id);
    let device: Device = client.change(Method::PATCH, &path, &change).await?;
    let name = &device.hostname;
    session.shell.done(match device.debug_until {
        Some(until) => format!("the agent of `{name}` logs more until {}", time(Some(until))),
        None => format!("the agent of `{name}` logs as its settings say"),
    });
    Ok(())
}

/// The device that `wanted` is the id or a unique name of.
async fn named(client: &mut Client, wanted: &str) -> anyhow::Result<Device> {
    if let Ok(id) = wanted.parse::<DeviceId>() {
        return client.read(&format!("/devices/{id}")).await;
    }
    let devices = client.list("/devices", &[("query", wanted)]).await?;
    Ok(find::only("device", wanted, devices, |device: &Device| {
        let names = vec![
            device.hostname.as_str(),
            device.computer_name.as_str(),
            device.hardware_serial.as_str(),
            device.hardware_uuid.as_str(),
        ];
        (device.id.to_string(), names)
    })?)
}

/// Teams' names, where they are shown.
async fn team_names(client: &mut Client, format: Format) -> BTreeMap<TeamId, String> {
    match format {
        Format::Table => teams::names(client).await,
        Format::Json | Format::Yaml => BTreeMap::new(),
    }
}

fn table(devices: &[Device], teams: &BTreeMap<TeamId, String>) -> Table {
    Table::list(
        ["hostname", "status", "state", "os", "agent", "updates", "team", "last seen", "id"],
        devices.iter().map(|device| {
            [
                device.hostname.clone(),
                device.status.as_str().to_owned(),
                device.state.as_str().to_owned(),
                system(device),
                device.orbit_version.clone(),
                worst(device).to_owned(),
                teams::shown(teams, device.team_id),
                time(Some(device.last_seen_at)),
                device.id.to_string(),
            ]
        }),
    )
}

fn details(device: &Device, teams: &BTreeMap<TeamId, String>) -> Table {
    let updates = device.updates.iter().map(|update| {
        let name = match update.component.as_str() {
            "orbit" => "Updates of orbit",
            "osqueryd" => "Updates of osqueryd",
            _ => "Updates of desktop",
        };
        (name, stands(update))
    });
    let known = [
        ("Id", device.id.to_string()),
        ("Hostname", device.hostname.clone()),
        ("Computer name", device.computer_name.clone()),
        ("Status", device.status.as_str().to_owned()),
        ("State", device.state.as_str().to_owned()),
        ("State since", time(device.state_changed_at)),
        ("State set by", device.state_changed_by.clone().unwrap_or_default()),
        ("Clone suspected", time(device.clone_suspected_at)),
        ("Tags", device.tags.join(", ")),
        ("Operating system", system(device)),
        ("Platform", device.platform.clone()),
        ("CPU", device.cpu_type.clone()),
        ("Hardware model", device.hardware_model.clone()),
        ("Hardware serial", device.hardware_serial.clone()),
        ("Hardware UUID", device.hardware_uuid.clone()),
        ("Agent version", device.orbit_version.clone()),
        ("osquery version", device.osquery_version.clone()),
        ("Team", teams::shown(teams, device.team_id)),
        ("End user", device.end_user_email.clone().unwrap_or_default()),
        ("Enrolled", time(Some(device.enrolled_at))),
        ("Agent enrolled", time(device.orbit_enrolled_at)),
        ("osquery enrolled", time(device.osquery_enrolled_at)),
        ("Last seen", time(Some(device.last_seen_at))),
        ("Last address", device.last_seen_ip.clone().unwrap_or_default()),
        ("Channels", channels(&device.update_channels)),
    ];
    let crashes = device.crash_loops.iter().map(|it| {
        let since = time(Some(it.since));
        ("Crashes", format!("{} since {since}: {}", it.component, it.detail))
    });
    let debug = device.debug_until.map(|until| ("Logs more until", time(Some(until))));
    let signs = device.signs_requests.then(|| ("Signs requests", "yes".to_owned()));
    Table::properties(known.into_iter().chain(updates).chain(crashes).chain(debug).chain(signs))
}

/// What most needs looking at of a device's updates; empty where nothing is known of them.
fn worst(device: &Device) -> &'static str {
    let state = |state: &UpdateState| match state {
        UpdateState::Current => 0,
        UpdateState::Waiting => 1,
        UpdateState::Trying => 2,
        UpdateState::Unreachable => 3,
        UpdateState::Failing => 4,
        UpdateState::Expired => 5,
        UpdateState::RolledBack => 6,
    };
    let states = device.updates.iter().map(|update| update.state);
    states.max_by_key(state).map_or("", UpdateState::as_str)
}

/// The channels that people set, e.g. `edge of orbit`.
fn channels(set: &UpdateChannels) -> String {
    let each = [("orbit", &set.orbit), ("osqueryd", &set.osqueryd), ("desktop", &set.desktop)];
    listed(
        each.into_iter().filter_map(|(component, channel)| Some((component, channel.as_deref()?))),
    )
}

/// Components with their channels, e.g. `edge of orbit, 5.19 of osqueryd`.
fn listed<'a>(channels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let each: Vec<_> =
        channels.map(|(component, channel)| format!("{channel} of {component}")).collect();
    each.join(", ")
}

/// e.g. `failing, runs 1.1.0, stable offers 1.2.0, failed 3 times: could not bring 1.2.0`.
fn stands(update: &ComponentUpdate) -> String {
    let mut text = update.state.as_str().to_owned();
    let failures = match update.failures {
        0 => None,
        1 => Some("once".to_owned()),
        times => Some(format!("{times} times")),
    };
    let mut add = |what: &str, value: &Option<String>| {
        if let Some(value) = value {
            text.push_str(what);
            text.push_str(value);
        }
    };
    add(", runs ", &update.version);
    add(&format!(", {} offers ", update.channel), &update.offered_version);
    add(", failed ", &failures);
    add(": ", &update.detail);
    text
}

fn system(device: &Device) -> String {
    if device.os_version.is_empty() { device.platform.clone() } else { device.os_version.clone() }
}

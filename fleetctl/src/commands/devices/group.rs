//! What is done to a device, or to all of a group: taking their keys, and saying what they are updated from.

use std::collections::BTreeMap;

use clap::Args;
use reqwest::Method;
use wire::{
    EnrollSecretId, TeamId,
    api::{
        ChangeDevice, DecommissionDevices, Decommissioned, DeployUpdates, Deployed, Device,
        DeviceState,
    },
};

use super::{enroll_secrets, listed, named, set_state, teams};
use crate::{client::Client, prompt, session::Session};

/// Which devices are meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Device's id, hostname, serial or hardware UUID
    #[arg(required_unless_present_any = ["team", "tag", "enroll_secret"])]
    device: Option<String>,
    /// Every device of this team (name or id)
    #[arg(long, conflicts_with_all = ["device", "tag", "enroll_secret"])]
    team: Option<String>,
    /// Every device with this tag
    #[arg(long, conflicts_with_all = ["device", "enroll_secret"])]
    tag: Option<String>,
    /// Every device that this enroll secret admitted (name or id)
    #[arg(long, conflicts_with = "device")]
    enroll_secret: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ChannelsArgs {
    #[command(flatten)]
    which: Which,
    /// Channel of orbit: stable, edge, or a version such as 1.2
    #[arg(long, value_name = "CHANNEL")]
    orbit_channel: Option<String>,
    /// Channel of osqueryd
    #[arg(long, value_name = "CHANNEL")]
    osqueryd_channel: Option<String>,
    /// Channel of fleet-desktop
    #[arg(long, value_name = "CHANNEL")]
    desktop_channel: Option<String>,
}

/// Devices that share something.
struct Group {
    team_id: Option<TeamId>,
    tag: Option<String>,
    enroll_secret_id: Option<EnrollSecretId>,
}

/// Takes the keys of a device, or of many.
pub(super) async fn decommission(
    session: &Session,
    client: &mut Client,
    which: Which,
) -> anyhow::Result<()> {
    if let Some(device) = &which.device {
        let device = named(client, device).await?;
        prompt::confirm(which.yes, &format!("Take the keys of `{}`?", device.hostname))?;
        set_state(client, &device.id.to_string(), DeviceState::Decommissioned).await?;
        session.shell.done(format!("device `{}` is decommissioned", device.hostname));
        return Ok(());
    }
    let Group { team_id, tag, enroll_secret_id } = group(client, &which).await?;
    prompt::confirm(which.yes, "Take the keys of all of these devices?")?;
    let which = DecommissionDevices { team_id, tag, enroll_secret_id };
    let done: Decommissioned = client.create("/devices/decommission", &which).await?;
    session.shell.done(format!("{} devices are decommissioned", done.devices));
    Ok(())
}

/// Says what a device, or many, are updated from. Components that are not named follow the server, or
/// their package.
pub(super) async fn set_channels(
    session: &Session,
    client: &mut Client,
    args: ChannelsArgs,
) -> anyhow::Result<()> {
    let ChannelsArgs { which, orbit_channel, osqueryd_channel, desktop_channel } = args;
    let named_channels =
        [("orbit", orbit_channel), ("osqueryd", osqueryd_channel), ("desktop", desktop_channel)];
    let update_channels: BTreeMap<String, String> = named_channels
        .into_iter()
        .filter_map(|(component, channel)| Some((component.to_owned(), channel?)))
        .collect();
    let told = told(&update_channels);
    if let Some(device) = &which.device {
        let device = named(client, device).await?;
        let change =
            ChangeDevice { update_channels: Some(update_channels), ..ChangeDevice::default() };
        let path = format!("/devices/{}", device.id);
        let device: Device = client.change(Method::PATCH, &path, &change).await?;
        session.shell.done(format!("device `{}` follows {told}", device.hostname));
        return Ok(());
    }
    let Group { team_id, tag, enroll_secret_id } = group(client, &which).await?;
    prompt::confirm(which.yes, &format!("Have all of these devices follow {told}?"))?;
    let which = DeployUpdates { team_id, tag, enroll_secret_id, update_channels };
    let done: Deployed = client.create("/devices/update-channels", &which).await?;
    session.shell.done(format!("{} devices follow {told}", done.devices));
    Ok(())
}

async fn group(client: &mut Client, which: &Which) -> anyhow::Result<Group> {
    let team_id = match &which.team {
        Some(team) => Some(teams::named(client, team).await?.id),
        None => None,
    };
    let enroll_secret_id = match &which.enroll_secret {
        Some(secret) => Some(enroll_secrets::named(client, secret).await?.id),
        None => None,
    };
    Ok(Group { team_id, tag: which.tag.clone(), enroll_secret_id })
}

fn told(channels: &BTreeMap<String, String>) -> String {
    if channels.is_empty() {
        return "the server, or their packages".to_owned();
    }
    listed(channels.iter().map(|(component, channel)| (component.as_str(), channel.as_str())))
}

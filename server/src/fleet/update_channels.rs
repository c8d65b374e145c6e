//! Which channels devices are updated from: what people set for a device goes before what the server is
//! configured with, and that before the device's package. What is published there is signed by others.

use std::collections::BTreeMap;

use serde_json::json;
use wire::{
    Permission,
    api::{DeployUpdates, Deployed},
    orbit::UpdateChannels,
};

use super::{
    Access, Actor, Fleet,
    audit::EventKind,
    devices::{group_of, wrong},
    errors::ManageError,
};

impl Fleet {
    /// Sets the channels of every accepted device of a team, with a tag, or admitted by an enroll secret.
    pub async fn deploy_updates(
        &self,
        actor: &Actor,
        which: DeployUpdates,
    ) -> Result<Deployed, ManageError> {
        let within = actor.reach(Permission::UpdatesDeploy)?.as_filter();
        let group = group_of(which.team_id, which.tag.as_deref(), which.enroll_secret_id)?;
        let channels = checked(&which.update_channels)?;
        let mut org = self.0.store.org(actor.org_id, Access::Note).await?;
        // Two groups may share devices, and rows are locked in no particular order.
        org.lock("devices").await?;
        let devices = org.set_update_channels_of(&group, &within, &channels).await?;
        let deed = (EventKind::DeviceUpdateChannelsChanged, "devices".to_owned());
        let changes = json!({"which": which, "devices": devices});
        self.record_deed(&mut org, actor, deed, changes);
        org.commit().await?;
        Ok(Deployed { devices })
    }
}

/// Channels by component, as they are kept.
pub(super) fn checked(told: &BTreeMap<String, String>) -> Result<UpdateChannels, ManageError> {
    let mut channels = UpdateChannels::default();
    for (component, channel) in told {
        let place = match component.as_str() {
            "orbit" => &mut channels.orbit,
            "osqueryd" => &mut channels.osqueryd,
            "desktop" => &mut channels.desktop,
            _ => {
                return Err(wrong("/update_channels", "knows orbit, osqueryd and desktop"));
            }
        };
        if !is_channel(channel) {
            let pointer = format!("/update_channels/{component}");
            return Err(wrong(&pointer, "must be `stable`, `edge`, or a version such as `1.2`"));
        }
        *place = Some(channel.clone());
    }
    Ok(channels)
}

/// What an agent follows: those of `own` that are set, and of `others` the rest.
pub(super) fn merged(own: UpdateChannels, others: &UpdateChannels) -> UpdateChannels {
    UpdateChannels {
        orbit: own.orbit.or_else(|| others.orbit.clone()),
        osqueryd: own.osqueryd.or_else(|| others.osqueryd.clone()),
        desktop: own.desktop.or_else(|| others.desktop.clone()),
    }
}

/// Whether a repository can have such a channel: one of the two tracks, or one to three plain numbers
/// between dots.
fn is_channel(text: &str) -> bool {
    let number = |part: &str| part.parse::<u64>().is_ok_and(|value| value.to_string() == part);
    let is_version = || text.split('.').count() <= 3 && text.split('.').all(number);
    matches!(text, "stable" | "edge") || is_version()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_tracks_and_versions() {
        for good in ["stable", "edge", "5", "5.19", "5.19.0", "0.0.1"] {
            assert!(is_channel(good), "{good}");
        }
        for bad in ["", "Stable", "beta", "5.", "5.019", "1.2.3.4", "../edge", "v1", "1.2.3-rc1"] {
            assert!(!is_channel(bad), "{bad}");
        }
    }
}

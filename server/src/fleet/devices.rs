//! Devices, as people see them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wire::{
    DeviceId, EnrollSecretId, Permission, TeamId,
    api::{ChangeDevice, DecommissionDevices, Decommissioned, Device, DeviceState, FieldError},
    orbit::MAX_DEBUG_SECONDS,
};

use super::{
    Access, Actor, Fleet,
    audit::EventKind,
    errors::ManageError,
    page::{Listed, Page},
    store::{DeviceFilter, DeviceGroup, OrgStore},
    update_channels::checked,
};

impl Fleet {
    /// A page of the organization's devices: those whose host name, serial number or hardware UUID
    /// contains `text`, in any case, and which are members of `team_id`, where these are given.
    pub async fn devices(
        &self,
        actor: &Actor,
        (text, team_id, state): (Option<String>, Option<TeamId>, Option<DeviceState>),
        page: Page,
    ) -> Result<Listed<Device>, ManageError> {
        let reach = actor.reach(Permission::DevicesRead)?;
        let text = text.unwrap_or_default();
        if text.len() > 255 || text.contains('\0') {
            return Err(ManageError::Invalid(vec![FieldError {
                pointer: "query".to_owned(),
                detail: "must have at most 255 bytes, none of them zero".to_owned(),
                rule: None,
            }]));
        }
        let filter = DeviceFilter { text, team_id, within: reach.as_filter(), state };
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let devices = org.devices(&filter, &page.keyset(), self.now()).await?;
        org.commit().await?;
        Ok(page.list(devices, |device| device.id.to_string()))
    }

    pub async fn device(&self, actor: &Actor, id: DeviceId) -> Result<Device, ManageError> {
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let device = self.visible_device(&mut org, actor, id).await?;
        org.commit().await?;
        Ok(device)
    }

    /// Deletes a device. Its keys are refused at once; it can enroll again with a good secret.
    pub async fn remove_device(&self, actor: &Actor, id: DeviceId) -> Result<(), ManageError> {
        actor.reach(Permission::DevicesDelete)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let device = self.visible_device(&mut org, actor, id).await?;
        actor.require_in(Permission::DevicesDelete, device.team_id)?;
        if !org.remove_device(id).await? {
            return Err(ManageError::Unknown("device"));
        }
        let deed = (EventKind::DeviceDeleted, format!("device {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }

    /// Has a device asked about its system the next time that its osqueryd comes.
    pub async fn refetch_device(&self, actor: &Actor, id: DeviceId) -> Result<(), ManageError> {
        actor.reach(Permission::DevicesConfigure)?;
        let mut org = self.0.store.org(actor.org_id, Access::Note).await?;
        let device = self.visible_device(&mut org, actor, id).await?;
        actor.require_in(Permission::DevicesConfigure, device.team_id)?;
        org.forget_details_at(id).await?;
        let deed = (EventKind::DeviceRefetchAskedFor, format!("device {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }

    /// Approves of a device or rejects it, decommissions it, gives it tags, says what it is updated to, or
    /// has its agent log more for a while.
    pub async fn change_device(
        &self,
        actor: &Actor,
        id: DeviceId,
        change: ChangeDevice,
    ) -> Result<Device, ManageError> {
        let tags = change.tags.map(tidy_tags).transpose()?;
        let channels = change.update_channels.as_ref().map(checked).transpose()?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        // Held first: who decides about it at the same moment waits, and then sees this decision.
        org.hold_device(id).await?.ok_or(ManageError::Unknown("device"))?;
        let before = self.visible_device(&mut org, actor, id).await?;
        let subject = format!("device {id}");
        if let Some(state) = change.state {
            actor.require_in(Permission::DevicesWrite, before.team_id)?;
            let name = moved(before.state, state)?;
            org.set_device_state(id, state, (&actor.label(), self.now())).await?;
            let changes = json!({"before": before.state, "after": state});
            self.record_deed(&mut org, actor, (name, subject.clone()), changes);
        }
        if let Some(tags) = tags {
            actor.require_in(Permission::DevicesConfigure, before.team_id)?;
            org.set_device_tags(id, &tags).await?;
            let changes = json!({"before": before.tags, "after": tags});
            let deed = (EventKind::DeviceTagged, subject.clone());
            self.record_deed(&mut org, actor, deed, changes);
        }
        if let Some(channels) = channels {
            actor.require_in(Permission::UpdatesDeploy, before.team_id)?;
            org.set_update_channels(id, &channels).await?;
            let changes = json!({"before": before.update_channels, "after": channels});
            let deed = (EventKind::DeviceUpdateChannelsChanged, subject.clone());
            self.record_deed(&mut org, actor, deed, changes);
        }
        if let Some(seconds) = change.debug_for_seconds {
            actor.require_in(Permission::DevicesConfigure, before.team_id)?;
            let until = debug_until(seconds, self.now())?;
            org.set_debug_until(id, until).await?;
            let changes = json!({"before": before.debug_until, "after": until});
            self.record_deed(&mut org, actor, (EventKind::DeviceDebugChanged, subject), changes);
        }
        let after = org.device(id, self.now()).await?.ok_or(ManageError::Unknown("device"))?;
        org.commit().await?;
        Ok(after)
    }

    /// Takes the keys of every accepted device of a team, with a tag, or admitted by an enroll secret.
    pub async fn decommission_devices(
        &self,
        actor: &Actor,
        which: DecommissionDevices,
    ) -> Result<Decommissioned, ManageError> {
        let within = actor.reach(Permission::DevicesWrite)?.as_filter();
        let group = group_of(which.team_id, which.tag.as_deref(), which.enroll_secret_id)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        // Two groups may share devices, and rows are locked in no particular order.
        org.lock("devices").await?;
        let devices = org.decommission(&group, &within, (&actor.label(), self.now())).await?;
        let deed = (EventKind::DeviceDecommissioned, "devices".to_owned());
        let changes = json!({"which": which, "devices": devices});
        self.record_deed(&mut org, actor, deed, changes);
        org.commit().await?;
        Ok(Decommissioned { devices })
    }

    /// The device, if it exists where `actor` may see devices.
    async fn visible_device(
        &self,
        org: &mut OrgStore,
        actor: &Actor,
        id: DeviceId,
    ) -> Result<Device, ManageError> {
        let reach = actor.reach(Permission::DevicesRead)?;
        let device = org.device(id, self.now()).await?;
        let device = device.filter(|device| reach.covers(device.team_id));
        device.ok_or(ManageError::Unknown("device"))
    }
}

/// The group that a request is about, which names exactly one.
pub(super) fn group_of(
    team_id: Option<TeamId>,
    tag: Option<&str>,
    enroll_secret_id: Option<EnrollSecretId>,
) -> Result<DeviceGroup, ManageError> {
    match (team_id, tag, enroll_secret_id) {
        (Some(id), None, None) => Ok(DeviceGroup::Team(id)),
        (None, Some(tag), None) if is_tag(tag) => Ok(DeviceGroup::Tag(tag.to_owned())),
        (None, None, Some(id)) => Ok(DeviceGroup::Secret(id)),
        _ => Err(wrong("", "needs one of team_id, tag and enroll_secret_id")),
    }
}

/// What it is called when a device goes from one state to another; refuses what makes no sense.
fn moved(before: DeviceState, after: DeviceState) -> Result<EventKind, ManageError> {
    use DeviceState::{Accepted, Decommissioned, Pending, Rejected};
    match (before, after) {
        (Pending | Rejected | Decommissioned, Accepted) => Ok(EventKind::DeviceAccepted),
        (Pending, Rejected) => Ok(EventKind::DeviceRejected),
        (Accepted, Decommissioned) => Ok(EventKind::DeviceDecommissioned),
        (Accepted, Accepted | Rejected | Pending)
        | (Pending, Pending | Decommissioned)
        | (Rejected, Rejected | Pending | Decommissioned)
        | (Decommissioned, Decommissioned | Pending | Rejected) => {
            Err(ManageError::DeviceState { before: before.as_str(), after: after.as_str() })
        }
    }
}

/// The end of so many seconds; none of them: there is nothing to end.
fn debug_until(seconds: u32, now: Timestamp) -> Result<Option<Timestamp>, ManageError> {
    if seconds > MAX_DEBUG_SECONDS {
        let most = format!("must be at most {MAX_DEBUG_SECONDS}, a day");
        return Err(wrong("/debug_for_seconds", &most));
    }
    Ok((seconds > 0).then(|| now + SignedDuration::from_secs(seconds.into())))
}

/// Tags to keep: sorted, each once.
fn tidy_tags(tags: Vec<String>) -> Result<Vec<String>, ManageError> {
    let tags: BTreeSet<String> = tags.into_iter().collect();
    if tags.len() > 20 || !tags.iter().all(|tag| is_tag(tag)) {
        return Err(wrong(
            "/tags",
            "must be at most 20, of 1 to 40 letters, digits, `.`, `-` and `_`",
        ));
    }
    Ok(tags.into_iter().collect())
}

fn is_tag(tag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=40).contains(&tag.len()) && tag.bytes().all(plain)
}

pub(super) fn wrong(pointer: &str, detail: &str) -> ManageError {
    let (pointer, detail) = (pointer.to_owned(), detail.to_owned());
    ManageError::Invalid(vec![FieldError { pointer, detail, rule: None }])
}

//! Devices, as people see them.

use serde_json::Value;
use wire::{
    DeviceId, Permission, TeamId,
    api::{Device, FieldError},
};

use super::{
    Access, Actor, Fleet,
    audit::Happening,
    errors::ManageError,
    page::{Listed, Page},
    store::{DeviceFilter, OrgStore},
};

impl Fleet {
    /// A page of the organization's devices: those whose host name, serial number or hardware UUID
    /// contains `text`, in any case, and which are members of `team_id`, where these are given.
    pub async fn devices(
        &self,
        actor: &Actor,
        (text, team_id): (Option<String>, Option<TeamId>),
        page: Page,
    ) -> Result<Listed<Device>, ManageError> {
        let reach = actor.reach(Permission::DevicesRead)?;
        let text = text.unwrap_or_default();
        if text.len() > 255 || text.contains('\0') {
            return Err(ManageError::Invalid(vec![FieldError {
                pointer: "query".to_owned(),
                detail: "must have at most 255 bytes, none of them zero".to_owned(),
            }]));
        }
        let filter = DeviceFilter { text, team_id, within: reach.as_filter() };
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
        let deed = (Happening::DeviceDeleted, format!("device {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null).await?;
        org.commit().await?;
        Ok(())
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

//! Devices, as people see them.

use wire::{
    DeviceId, Permission, TeamId,
    api::{Device, FieldError},
};

use super::{
    Access, Actor, Fleet,
    errors::ManageError,
    page::{Listed, Page},
    store::DeviceFilter,
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
        actor.require(Permission::DevicesRead)?;
        let text = text.unwrap_or_default();
        if text.len() > 255 || text.contains('\0') {
            return Err(ManageError::Invalid(vec![FieldError {
                pointer: "query".to_owned(),
                detail: "must have at most 255 bytes, none of them zero".to_owned(),
            }]));
        }
        let filter = DeviceFilter { text, team_id };
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let devices = org.devices(&filter, &page.keyset(), self.now()).await?;
        org.commit().await?;
        Ok(page.list(devices, |device| device.id.to_string()))
    }

    pub async fn device(&self, actor: &Actor, id: DeviceId) -> Result<Device, ManageError> {
        actor.require(Permission::DevicesRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let device = org.device(id, self.now()).await?;
        org.commit().await?;
        device.ok_or(ManageError::Unknown("device"))
    }

    /// Deletes a device. Its keys are refused at once; it can enroll again with a good secret.
    pub async fn remove_device(&self, actor: &Actor, id: DeviceId) -> Result<(), ManageError> {
        actor.require(Permission::DevicesDelete)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        if !org.remove_device(id).await? {
            return Err(ManageError::Unknown("device"));
        }
        org.commit().await?;
        actor.did("device.deleted", format!("device {id}"));
        Ok(())
    }
}

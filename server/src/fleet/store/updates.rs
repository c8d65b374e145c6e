//! How updates stand on devices, and how a version fares on all of them.

use wire::{
    DeviceId,
    orbit::{ComponentUpdate, CrashLoop, Tally, UpdateState},
};

use super::{OrgStore, StoreError, row::Columns as _};

impl OrgStore {
    /// Keeps what a device tells of its components, in the place of what it told before.
    pub(in crate::fleet) async fn set_updates(
        &mut self,
        id: DeviceId,
        components: &[ComponentUpdate],
    ) -> Result<(), StoreError> {
        let told = serde_json::to_string(components).expect("plain values serialise");
        self.query("UPDATE devices SET updates = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(told)
            .execute(self.connection())
            .await?;
        self.query("DELETE FROM device_updates WHERE org_id = $1 AND device_id = $2")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        for component in components {
            self.add_update(id, component).await?;
        }
        Ok(())
    }

    /// Keeps which of a device's components end as often as they are started.
    pub(in crate::fleet) async fn set_crash_loops(
        &mut self,
        id: DeviceId,
        loops: &[CrashLoop],
    ) -> Result<(), StoreError> {
        let told = serde_json::to_string(loops).expect("plain values serialise");
        self.query("UPDATE devices SET crash_loops = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(told)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn add_update(
        &mut self,
        id: DeviceId,
        update: &ComponentUpdate,
    ) -> Result<(), StoreError> {
        let tried = match update.state {
            UpdateState::Trying => &update.offered_version,
            UpdateState::Current
            | UpdateState::Waiting
            | UpdateState::RolledBack
            | UpdateState::Failing
            | UpdateState::Expired
            | UpdateState::Unreachable => &update.version,
        };
        self.query(
            "INSERT INTO device_updates (org_id, device_id, component, version, blocked_version)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id.to_string())
        .bind(update.component.clone())
        .bind(tried.clone().unwrap_or_default())
        .bind(update.blocked_version.clone().unwrap_or_default())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// How many of this organization's devices run or try a version of a component, or have gone
    /// back from it.
    pub(in crate::fleet) async fn tally(
        &mut self,
        component: &str,
        version: &str,
    ) -> Result<Tally, StoreError> {
        let row = self
            .query(
                "SELECT (SELECT COUNT(*) FROM device_updates WHERE org_id = $1 AND component = $2
                 AND version = $3 AND blocked_version <> $3) AS running,
                 (SELECT COUNT(*) FROM device_updates WHERE org_id = $1 AND component = $2
                 AND blocked_version = $3) AS failures",
            )
            .bind(component.to_owned())
            .bind(version.to_owned())
            .fetch_one(self.connection())
            .await?;
        let (running, failures) = (row.count("running")?, row.count("failures")?);
        Ok(Tally { attempts: u64::from(running) + u64::from(failures), failures: failures.into() })
    }
}

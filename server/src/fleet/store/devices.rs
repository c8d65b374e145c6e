//! Devices as people see them, and what osqueryd tells about them.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{
    DeviceId, EnrollSecretId, TeamId,
    api::{Device, DeviceState, DeviceStatus, ONLINE_WITHIN_SECONDS},
    orbit::UpdateChannels,
};

use super::{
    Keyset, OrgStore, StoreError,
    row::{Columns as _, corrupt},
};

/// Which devices a list shows.
#[derive(Debug, Default)]
pub(in crate::fleet) struct DeviceFilter {
    /// Part of the host name, serial number or hardware UUID, in any case; empty for all.
    pub text: String,
    pub team_id: Option<TeamId>,
    /// `*`, or the ids of the teams whose devices may be seen, separated by commas.
    pub within: String,
    pub state: Option<DeviceState>,
}

/// Which devices lose their keys at once.
#[derive(Debug, Clone)]
pub(in crate::fleet) enum DeviceGroup {
    Team(TeamId),
    Tag(String),
    /// Admitted by it the last time that they enrolled, one half or the other.
    Secret(EnrollSecretId),
}

impl DeviceGroup {
    /// The team, the tag as a pattern for `LIKE`, and the secret that it is about; empty where it is not.
    fn columns(&self) -> (String, String, String) {
        match self {
            Self::Team(id) => (id.to_string(), String::new(), String::new()),
            Self::Tag(tag) => (String::new(), tag.replace('_', "\\_"), String::new()),
            Self::Secret(id) => (String::new(), String::new(), id.to_string()),
        }
    }
}

impl DeviceFilter {
    /// The text as a pattern for `LIKE`: what is special in one stands for itself.
    fn pattern(&self) -> String {
        let text = self.text.to_lowercase();
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        format!("%{escaped}%")
    }
}

/// What detail queries found. What is absent stays as it was.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Details {
    pub hostname: Option<String>,
    pub computer_name: Option<String>,
    pub platform: Option<String>,
    pub platform_like: Option<String>,
    pub os_version: Option<String>,
    pub cpu_type: Option<String>,
    pub hardware_serial: Option<String>,
    pub hardware_model: Option<String>,
    pub osquery_version: Option<String>,
}

/// `SELECT` of a whole row, with what follows it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, hostname, computer_name, platform, platform_like, os_version, cpu_type,
             hardware_uuid, hardware_serial, hardware_model, orbit_version, osquery_version,
             team_id, end_user_email, last_seen_at, last_seen_ip, state, state_changed_at,
             state_changed_by, clone_suspected_at, tags, enrolled_at, orbit_enrolled_at,
             osquery_enrolled_at, update_channels, updates, crash_loops, debug_until, device_key
             FROM devices ",
            $rest
        )
    };
}

impl OrgStore {
    /// A page of this organization's devices.
    pub(in crate::fleet) async fn devices(
        &mut self,
        filter: &DeviceFilter,
        page: &Keyset,
        now: Timestamp,
    ) -> Result<Vec<Device>, StoreError> {
        let rows = self
            .query(select!(
                "WHERE org_id = $1 AND id > $2
                 AND ($4 = '' OR team_id = $4)
                 AND ($5 = '%%' OR search_text LIKE $5 ESCAPE '\\')
                 AND ($6 = '*' OR $6 LIKE '%' || team_id || '%')
                 AND ($7 = '' OR state = $7)
                 ORDER BY id LIMIT $3"
            ))
            .bind(page.after.clone())
            .bind(page.limit)
            .bind(filter.team_id.map(|id| id.to_string()).unwrap_or_default())
            .bind(filter.pattern())
            .bind(filter.within.clone())
            .bind(filter.state.map_or("", DeviceState::as_str))
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(|row| device(row, now)).collect()
    }

    pub(in crate::fleet) async fn device(
        &mut self,
        id: DeviceId,
        now: Timestamp,
    ) -> Result<Option<Device>, StoreError> {
        let row = self
            .query(select!("WHERE org_id = $1 AND id = $2"))
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| device(&row, now)).transpose()
    }

    /// Deletes a device with all its keys. `false` when there is no such device.
    pub(in crate::fleet) async fn remove_device(
        &mut self,
        id: DeviceId,
    ) -> Result<bool, StoreError> {
        // The row first, as enrolling does: it waits for an enrollment that is giving the device a
        // key, and then finds that key.
        let removed = self
            .query("DELETE FROM devices WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        self.forget_credentials(id).await?;
        Ok(removed.rows_affected() == 1)
    }

    async fn forget_credentials(&mut self, id: DeviceId) -> Result<(), StoreError> {
        self.query("DELETE FROM credentials WHERE org_id = $1 AND subject_id = $2")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Changes whether a device may be here. Who may not loses its keys. To be called with the device
    /// held, so that the state before is the one that the change was decided on.
    pub(in crate::fleet) async fn set_device_state(
        &mut self,
        id: DeviceId,
        state: DeviceState,
        (by, now): (&str, Timestamp),
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE devices SET state = $3, state_changed_at = $4, state_changed_by = $5
             WHERE org_id = $1 AND id = $2",
        )
        .bind(id.to_string())
        .bind(state.as_str())
        .bind(now.as_millisecond())
        .bind(by.to_owned())
        .execute(self.connection())
        .await?;
        if state == DeviceState::Accepted {
            return Ok(());
        }
        self.query(
            "UPDATE devices SET orbit_key_hash = NULL, orbit_next_hash = NULL,
             osquery_key_hash = NULL, desktop_token_hash = NULL WHERE org_id = $1 AND id = $2",
        )
        .bind(id.to_string())
        .execute(self.connection())
        .await?;
        self.forget_credentials(id).await
    }

    pub(in crate::fleet) async fn set_device_tags(
        &mut self,
        id: DeviceId,
        tags: &[String],
    ) -> Result<(), StoreError> {
        let tags = if tags.is_empty() { String::new() } else { format!(",{},", tags.join(",")) };
        self.query("UPDATE devices SET tags = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(tags)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Says which channels a device's components are updated from.
    pub(in crate::fleet) async fn set_update_channels(
        &mut self,
        id: DeviceId,
        channels: &UpdateChannels,
    ) -> Result<(), StoreError> {
        self.query("UPDATE devices SET update_channels = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(as_json(channels))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// The same of every accepted device of a group, as far as they are within `within`; says of how many.
    pub(in crate::fleet) async fn set_update_channels_of(
        &mut self,
        group: &DeviceGroup,
        within: &str,
        channels: &UpdateChannels,
    ) -> Result<u64, StoreError> {
        let (team, tag, secret) = group.columns();
        let set = self
            .query(
                "UPDATE devices SET update_channels = $6
                 WHERE org_id = $1 AND state = 'accepted'
                 AND ($2 = '' OR team_id = $2)
                 AND ($3 = '' OR tags LIKE '%,' || $3 || ',%' ESCAPE '\\')
                 AND ($4 = '' OR orbit_secret_id = $4 OR osquery_secret_id = $4)
                 AND ($5 = '*' OR $5 LIKE '%' || team_id || '%')",
            )
            .bind(team)
            .bind(tag)
            .bind(secret)
            .bind(within.to_owned())
            .bind(as_json(channels))
            .execute(self.connection())
            .await?;
        Ok(set.rows_affected())
    }

    /// Says until when a device's agent is to log more; none: no longer.
    pub(in crate::fleet) async fn set_debug_until(
        &mut self,
        id: DeviceId,
        until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.query("UPDATE devices SET debug_until = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(until.map(Timestamp::as_millisecond))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Forgets when a device last told of its system: it is asked the next time that it comes.
    pub(in crate::fleet) async fn forget_details_at(
        &mut self,
        id: DeviceId,
    ) -> Result<(), StoreError> {
        self.query("UPDATE devices SET details_at = NULL WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Takes the keys of every accepted device of a group, as far as they are within `within` (`*`, or ids of
    /// teams); says how many. A few statements, however many devices there are;
    /// each device's row says when it lost them, and to whom.
    pub(in crate::fleet) async fn decommission(
        &mut self,
        group: &DeviceGroup,
        within: &str,
        (by, now): (&str, Timestamp),
    ) -> Result<u64, StoreError> {
        let (team, tag, secret) = group.columns();
        let taken = self
            .query(
                "UPDATE devices SET state = 'decommissioned', state_changed_at = $6,
                 state_changed_by = $7, orbit_key_hash = NULL, orbit_next_hash = NULL,
                 osquery_key_hash = NULL, desktop_token_hash = NULL
                 WHERE org_id = $1 AND state = 'accepted'
                 AND ($2 = '' OR team_id = $2)
                 AND ($3 = '' OR tags LIKE '%,' || $3 || ',%' ESCAPE '\\')
                 AND ($4 = '' OR orbit_secret_id = $4 OR osquery_secret_id = $4)
                 AND ($5 = '*' OR $5 LIKE '%' || team_id || '%')",
            )
            .bind(team)
            .bind(tag)
            .bind(secret)
            .bind(within.to_owned())
            .bind(now.as_millisecond())
            .bind(by.to_owned())
            .execute(self.connection())
            .await?;
        self.query(
            "DELETE FROM credentials WHERE org_id = $1
             AND kind IN ('node_key', 'osquery_node_key', 'desktop_token')
             AND subject_id IN (SELECT id FROM devices WHERE org_id = $1 AND state = 'decommissioned')",
        )
        .execute(self.connection())
        .await?;
        Ok(taken.rows_affected())
    }

    /// Keeps what detail queries found out.
    pub(in crate::fleet) async fn set_details(
        &mut self,
        id: DeviceId,
        details: Details,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE devices SET hostname = COALESCE($3, hostname),
             computer_name = COALESCE($4, computer_name), platform = COALESCE($5, platform),
             platform_like = COALESCE($6, platform_like), os_version = COALESCE($7, os_version),
             cpu_type = COALESCE($8, cpu_type), hardware_serial = COALESCE($9, hardware_serial),
             hardware_model = COALESCE($10, hardware_model),
             osquery_version = COALESCE($11, osquery_version), details_at = $12
             WHERE org_id = $1 AND id = $2",
        )
        .bind(id.to_string())
        .bind(details.hostname)
        .bind(details.computer_name)
        .bind(details.platform)
        .bind(details.platform_like)
        .bind(details.os_version)
        .bind(details.cpu_type)
        .bind(details.hardware_serial)
        .bind(details.hardware_model)
        .bind(details.osquery_version)
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        self.note_search_text(id).await
    }

    /// Folds what the text filter looks at. To be called whenever one of the three has changed.
    pub(super) async fn note_search_text(&mut self, id: DeviceId) -> Result<(), StoreError> {
        let row = self
            .query(
                "SELECT hostname, hardware_serial, hardware_uuid FROM devices
                 WHERE org_id = $1 AND id = $2",
            )
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(()) };
        let texts =
            [row.text("hostname")?, row.text("hardware_serial")?, row.text("hardware_uuid")?];
        self.query("UPDATE devices SET search_text = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(texts.join("\n").to_lowercase())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn device(row: &AnyRow, now: Timestamp) -> Result<Device, StoreError> {
    let last_seen_at = row.time("last_seen_at")?;
    Ok(Device {
        id: row.parsed("id")?,
        hostname: row.text("hostname")?,
        computer_name: row.text("computer_name")?,
        platform: row.text("platform")?,
        platform_like: row.text("platform_like")?,
        os_version: row.text("os_version")?,
        cpu_type: row.text("cpu_type")?,
        hardware_uuid: row.text("hardware_uuid")?,
        hardware_serial: row.text("hardware_serial")?,
        hardware_model: row.text("hardware_model")?,
        orbit_version: row.text("orbit_version")?,
        osquery_version: row.text("osquery_version")?,
        team_id: row.optional_parsed("team_id")?,
        end_user_email: row.optional_text("end_user_email")?,
        status: status(last_seen_at, now),
        state: row.parsed("state")?,
        state_changed_at: row.optional_time("state_changed_at")?,
        state_changed_by: row.optional_text("state_changed_by")?,
        clone_suspected_at: row.optional_time("clone_suspected_at")?,
        tags: row
            .text("tags")?
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
        enrolled_at: row.time("enrolled_at")?,
        orbit_enrolled_at: row.optional_time("orbit_enrolled_at")?,
        osquery_enrolled_at: row.optional_time("osquery_enrolled_at")?,
        last_seen_at,
        last_seen_ip: row.optional_text("last_seen_ip")?,
        update_channels: update_channels(row)?,
        updates: serde_json::from_str(&row.text("updates")?)
            .map_err(|error| corrupt("updates", error))?,
        crash_loops: serde_json::from_str(&row.text("crash_loops")?)
            .map_err(|error| corrupt("crash_loops", error))?,
        debug_until: row.optional_time("debug_until")?.filter(|until| *until > now),
        signs_requests: row.optional_text("device_key")?.is_some(),
    })
}

/// The channels that people set.
pub(super) fn update_channels(row: &AnyRow) -> Result<UpdateChannels, StoreError> {
    serde_json::from_str(&row.text("update_channels")?)
        .map_err(|error| corrupt("update_channels", error))
}

fn as_json(channels: &UpdateChannels) -> String {
    serde_json::to_string(channels).expect("three texts are JSON")
}

fn status(last_seen_at: Timestamp, now: Timestamp) -> DeviceStatus {
    if now.as_second() - last_seen_at.as_second() <= ONLINE_WITHIN_SECONDS {
        DeviceStatus::Online
    } else {
        DeviceStatus::Offline
    }
}

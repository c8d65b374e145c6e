//! Enrollment: finding the row of the device that asks, and the keys of its two halves.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{
    DeviceId, EnrollSecretId, TeamId,
    api::DeviceState,
    orbit::{DeviceIdentity, UpdateChannels},
};

use super::{
    CredentialKind, Hash, OrgStore, StoreError,
    devices::update_channels,
    row::{Columns as _, corrupt},
};
use crate::fleet::{clones::KeyUse, origin::Origin};

/// Which of a device's two programs is meant; each has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Half {
    Orbit,
    Osquery,
}

impl Half {
    /// The program that has its key.
    pub(in crate::fleet) const fn program(self) -> &'static str {
        match self {
            Self::Orbit => "orbit",
            Self::Osquery => "osqueryd",
        }
    }

    pub(in crate::fleet) fn key_kind(self) -> CredentialKind {
        match self {
            Self::Orbit => CredentialKind::NodeKey,
            Self::Osquery => CredentialKind::OsqueryNodeKey,
        }
    }
}

/// The row of a device that is enrolling.
#[derive(Debug)]
pub(in crate::fleet) struct NodeRow {
    pub id: DeviceId,
    pub orbit_secret_id: Option<EnrollSecretId>,
    pub osquery_secret_id: Option<EnrollSecretId>,
    pub orbit_enrolled: bool,
    pub osquery_enrolled: bool,
    pub state: DeviceState,
    /// What the device signs its requests with.
    pub device_key: Option<String>,
}

/// A device that showed a key.
#[derive(Debug)]
pub(in crate::fleet) struct SeenDevice {
    pub id: DeviceId,
    pub last_seen_at: Timestamp,
    /// When detail queries last brought something.
    pub details_at: Option<Timestamp>,
    pub orbit_version: String,
    /// The channels that people set for it.
    pub update_channels: UpdateChannels,
    /// Until when its agent is to log more.
    pub debug_until: Option<Timestamp>,
    /// When orbit's key was made.
    pub orbit_key_at: Option<Timestamp>,
    /// When orbit was told the key that is to replace it.
    pub orbit_next_at: Option<Timestamp>,
    /// When osqueryd last enrolled, which is when its key was made.
    pub osquery_key_at: Option<Timestamp>,
    /// Whether osqueryd runs with orbit's present key as what it enrolls with.
    pub osqueryd_renews: bool,
    orbit_key_hash: Option<String>,
    orbit_next_hash: Option<String>,
    osquery_key_hash: Option<String>,
    orbit_certificate: Option<String>,
    osquery_certificate: Option<String>,
    /// What it signs orbit's requests with, in hexadecimal: its form tells the algorithm.
    pub device_key: Option<String>,
    hardware_uuid: String,
    osquery_identifier: String,
    orbit_use: KeyUse,
    osquery_use: KeyUse,
}

/// Which key of a half was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum ShownKey {
    Present,
    /// The one that is to replace the present one, with its first use.
    Next,
}

impl SeenDevice {
    /// Which key of this half `hash` is, if it is one.
    pub(in crate::fleet) fn shown_key(&self, half: Half, hash: &Hash) -> Option<ShownKey> {
        let (present, next) = match half {
            Half::Orbit => (&self.orbit_key_hash, self.orbit_next_hash.as_deref()),
            Half::Osquery => (&self.osquery_key_hash, None),
        };
        let is = |stored: Option<&str>| stored.is_some_and(|stored| hash.is(stored));
        if is(present.as_deref()) {
            Some(ShownKey::Present)
        } else {
            is(next).then_some(ShownKey::Next)
        }
    }

    /// Where this half's key was last used from.
    pub(in crate::fleet) fn key_use(&self, half: Half) -> &KeyUse {
        match half {
            Half::Orbit => &self.orbit_use,
            Half::Osquery => &self.osquery_use,
        }
    }

    /// The certificate that this half's key has to come with, by its SHA-256.
    pub(in crate::fleet) fn certificate(&self, half: Half) -> Option<&str> {
        match half {
            Half::Orbit => self.orbit_certificate.as_deref(),
            Half::Osquery => self.osquery_certificate.as_deref(),
        }
    }

    /// What it is called.
    pub(in crate::fleet) fn identifiers(&self) -> [&str; 2] {
        [&self.hardware_uuid, &self.osquery_identifier]
    }
}

impl OrgStore {
    /// The device that an agent in `uuid` mode speaks for: the same hardware, and the same machine
    /// id as far as both sides know one. The best match first: same machine id, then latest.
    pub(in crate::fleet) async fn device_by_hardware(
        &mut self,
        hardware_uuid: &str,
        machine_id: Option<&str>,
    ) -> Result<Option<DeviceId>, StoreError> {
        let row = self
            .query(
                "SELECT id FROM devices
                 WHERE org_id = $1 AND lower(hardware_uuid) = lower($2)
                 AND (osquery_identifier = '' OR lower(osquery_identifier) = lower($2))
                 AND ($3 = '' OR machine_id IS NULL OR machine_id = $3)
                 ORDER BY CASE WHEN machine_id = $3 THEN 0 ELSE 1 END,
                          COALESCE(orbit_enrolled_at, 0) DESC, id DESC LIMIT 1",
            )
            .bind(hardware_uuid.to_owned())
            .bind(machine_id.unwrap_or_default().to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    /// The device that calls itself `identifier` (osquery's host identifier), the most recently
    /// enrolled first.
    pub(in crate::fleet) async fn device_by_identifier(
        &mut self,
        identifier: &str,
    ) -> Result<Option<DeviceId>, StoreError> {
        let row = self
            .query(
                "SELECT id FROM devices
                 WHERE org_id = $1 AND (lower(osquery_identifier) = lower($2)
                       OR (osquery_identifier = '' AND lower(hardware_uuid) = lower($2)))
                 ORDER BY COALESCE(orbit_enrolled_at, 0) DESC, id DESC LIMIT 1",
            )
            .bind(identifier.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    /// Keeps others from changing or deleting a device until this transaction ends, and says how it
    /// is once they cannot. `None` when it is not there any more.
    pub(in crate::fleet) async fn hold_device(
        &mut self,
        id: DeviceId,
    ) -> Result<Option<NodeRow>, StoreError> {
        // SQLite has no `FOR UPDATE`; a change that changes nothing locks the row on both.
        let row = self
            .query(
                "UPDATE devices SET last_seen_at = last_seen_at WHERE org_id = $1 AND id = $2
                 RETURNING id, orbit_secret_id, osquery_secret_id, orbit_enrolled_at,
                 osquery_enrolled_at, state, device_key",
            )
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(node).transpose()
    }

    /// Adds a device that has no key yet.
    pub(in crate::fleet) async fn add_device(
        &mut self,
        id: DeviceId,
        device: &DeviceIdentity,
        (team_id, state, address): (Option<TeamId>, DeviceState, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO devices (org_id, id, team_id, hardware_uuid, machine_id, osquery_identifier,
             hostname, computer_name, platform, platform_like, os_version, cpu_type, hardware_serial,
             hardware_model, orbit_version, osquery_version, end_user_email, enrolled_at,
             last_seen_at, last_seen_ip, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, '', $16, $17,
             $18, $19, $20)",
        )
        .bind(id.to_string())
        .bind(team_id.map(|id| id.to_string()))
        .bind(device.hardware_uuid.clone())
        .bind(device.machine_id.clone())
        .bind(device.osquery_identifier.clone())
        .bind(device.hostname.clone())
        .bind(device.computer_name.clone())
        .bind(device.platform.clone())
        .bind(device.platform_like.clone())
        .bind(device.os_version.clone().unwrap_or_default())
        .bind(device.cpu_type.clone().unwrap_or_default())
        .bind(device.hardware_serial.clone())
        .bind(device.hardware_model.clone())
        .bind(device.orbit_version.clone().unwrap_or_default())
        .bind(device.end_user_email.clone())
        .bind(now.as_millisecond())
        .bind(now.as_millisecond())
        .bind(address.to_owned())
        .bind(state.as_str())
        .execute(self.connection())
        .await?;
        self.note_search_text(id).await
    }

    /// Brings a known device up to date with what its agent tells. What the agent does not know
    /// (empty or absent) stays as it was.
    pub(in crate::fleet) async fn update_device(
        &mut self,
        id: DeviceId,
        device: &DeviceIdentity,
        team_id: Option<TeamId>,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE devices SET team_id = $3, hardware_uuid = $4,
             machine_id = COALESCE($5, machine_id), osquery_identifier = $6,
             hostname = COALESCE(NULLIF($7, ''), hostname),
             computer_name = COALESCE(NULLIF($8, ''), computer_name),
             platform = COALESCE(NULLIF($9, ''), platform),
             platform_like = COALESCE(NULLIF($10, ''), platform_like),
             os_version = COALESCE($11, os_version), cpu_type = COALESCE($12, cpu_type),
             hardware_serial = COALESCE(NULLIF($13, ''), hardware_serial),
             hardware_model = COALESCE(NULLIF($14, ''), hardware_model),
             orbit_version = COALESCE($15, orbit_version),
             end_user_email = COALESCE($16, end_user_email)
             WHERE org_id = $1 AND id = $2",
        )
        .bind(id.to_string())
        .bind(team_id.map(|id| id.to_string()))
        .bind(device.hardware_uuid.clone())
        .bind(device.machine_id.clone())
        .bind(device.osquery_identifier.clone())
        .bind(device.hostname.clone())
        .bind(device.computer_name.clone())
        .bind(device.platform.clone())
        .bind(device.platform_like.clone())
        .bind(device.os_version.clone())
        .bind(device.cpu_type.clone())
        .bind(device.hardware_serial.clone())
        .bind(device.hardware_model.clone())
        .bind(device.orbit_version.clone())
        .bind(device.end_user_email.clone())
        .execute(self.connection())
        .await?;
        self.note_search_text(id).await
    }

    /// Gives one half of a device a new key in place of the old one.
    pub(in crate::fleet) async fn set_node_key(
        &mut self,
        (id, half): (DeviceId, Half),
        hash: &Hash,
        secret_id: Option<EnrollSecretId>,
        (origin, now): (&Origin, Timestamp),
    ) -> Result<(), StoreError> {
        self.remove_credentials(half.key_kind(), &id.to_string()).await?;
        self.add_credential(half.key_kind(), hash, &id.to_string()).await?;
        let sql = match half {
            Half::Orbit => {
                "UPDATE devices SET orbit_key_hash = $3, orbit_secret_id = $4,
                 orbit_enrolled_at = $5, orbit_key_at = $5, orbit_next_hash = NULL,
                 orbit_next_at = NULL, osqueryd_renews = 0, last_seen_at = $5, last_seen_ip = $6, orbit_certificate = $7
                 WHERE org_id = $1 AND id = $2"
            }
            Half::Osquery => {
                "UPDATE devices SET osquery_key_hash = $3, osquery_secret_id = $4,
                 osquery_enrolled_at = $5, last_seen_at = $5, last_seen_ip = $6, details_at = NULL,
                 osquery_certificate = $7
                 WHERE org_id = $1 AND id = $2"
            }
        };
        self.query(sql)
            .bind(id.to_string())
            .bind(hash.as_text())
            .bind(secret_id.map(|id| id.to_string()))
            .bind(now.as_millisecond())
            .bind(origin.address.to_string())
            .bind(origin.certificate.as_ref().map(|shown| shown.sha256().to_owned()))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Has orbit's requests come with signatures of this key from here on, or with none.
    pub(in crate::fleet) async fn set_device_key(
        &mut self,
        id: DeviceId,
        key: Option<&str>,
    ) -> Result<(), StoreError> {
        self.query("UPDATE devices SET device_key = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(key.map(str::to_owned))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Lets orbit's key `next` in beside the present one, instead of one that it was told before; `false`
    /// if the present one is another by now.
    pub(in crate::fleet) async fn offer_node_key(
        &mut self,
        id: DeviceId,
        (present, next): (&Hash, &Hash),
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let offered = self
            .query(
                "UPDATE devices SET orbit_next_hash = $4, orbit_next_at = $5
                 WHERE org_id = $1 AND id = $2 AND orbit_key_hash = $3 AND state = 'accepted'",
            )
            .bind(id.to_string())
            .bind(present.as_text())
            .bind(next.as_text())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        if offered.rows_affected() == 0 {
            return Ok(false);
        }
        self.remove_other_node_keys(id, present).await?;
        self.add_credential(CredentialKind::NodeKey, next, &id.to_string()).await?;
        Ok(true)
    }

    /// Puts the key that orbit was told in the place of the one before, which ends; `false` if it is
    /// there already, or is not the one any more.
    pub(in crate::fleet) async fn adopt_node_key(
        &mut self,
        id: DeviceId,
        next: &Hash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let adopted = self
            .query(
                "UPDATE devices SET orbit_key_hash = orbit_next_hash, orbit_key_at = $4,
                 orbit_next_hash = NULL, orbit_next_at = NULL, osqueryd_renews = 0
                 WHERE org_id = $1 AND id = $2 AND orbit_next_hash = $3",
            )
            .bind(id.to_string())
            .bind(next.as_text())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        if adopted.rows_affected() == 0 {
            return Ok(false);
        }
        self.remove_other_node_keys(id, next).await?;
        Ok(true)
    }

    async fn remove_other_node_keys(
        &mut self,
        id: DeviceId,
        kept: &Hash,
    ) -> Result<(), StoreError> {
        self.query(
            "DELETE FROM credentials
             WHERE org_id = $1 AND subject_id = $2 AND kind = 'node_key' AND hash <> $3",
        )
        .bind(id.to_string())
        .bind(kept.as_text())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps whether osqueryd runs with orbit's key `present` as what it enrolls with.
    pub(in crate::fleet) async fn note_osqueryd_renews(
        &mut self,
        id: DeviceId,
        (present, renews): (&Hash, bool),
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE devices SET osqueryd_renews = $4
             WHERE org_id = $1 AND id = $2 AND orbit_key_hash = $3",
        )
        .bind(id.to_string())
        .bind(present.as_text())
        .bind(i64::from(renews))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Keeps where a half's key was used from.
    pub(in crate::fleet) async fn note_key_use(
        &mut self,
        (id, half): (DeviceId, Half),
        key_use: &KeyUse,
    ) -> Result<(), StoreError> {
        let sql = match half {
            Half::Orbit => "UPDATE devices SET orbit_use = $3 WHERE org_id = $1 AND id = $2",
            Half::Osquery => "UPDATE devices SET osquery_use = $3 WHERE org_id = $1 AND id = $2",
        };
        let text = serde_json::to_string(key_use).expect("texts and numbers are JSON");
        self.query(sql).bind(id.to_string()).bind(text).execute(self.connection()).await?;
        Ok(())
    }

    /// Notes that two machines seem to use a key of a device; `false` if that was noted since `lately`.
    pub(in crate::fleet) async fn suspect_clone(
        &mut self,
        id: DeviceId,
        (lately, now): (Timestamp, Timestamp),
    ) -> Result<bool, StoreError> {
        let noted = self
            .query(
                "UPDATE devices SET clone_suspected_at = $3 WHERE org_id = $1 AND id = $2
                 AND (clone_suspected_at IS NULL OR clone_suspected_at <= $4)",
            )
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .bind(lately.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(noted.rows_affected() == 1)
    }

    /// Has a key come with a certificate from here on; `false` if it has to come with another.
    pub(in crate::fleet) async fn bind_certificate(
        &mut self,
        (id, half): (DeviceId, Half),
        sha256: &str,
    ) -> Result<bool, StoreError> {
        let sql = match half {
            Half::Orbit => {
                "UPDATE devices SET orbit_certificate = $3 WHERE org_id = $1 AND id = $2
                 AND (orbit_certificate IS NULL OR orbit_certificate = $3)"
            }
            Half::Osquery => {
                "UPDATE devices SET osquery_certificate = $3 WHERE org_id = $1 AND id = $2
                 AND (osquery_certificate IS NULL OR osquery_certificate = $3)"
            }
        };
        let query = self.query(sql).bind(id.to_string()).bind(sha256.to_owned());
        Ok(query.execute(self.connection()).await?.rows_affected() == 1)
    }

    /// Keeps which secret a device that waits has used up a use of, through one of its halves.
    pub(in crate::fleet) async fn note_waiting_secret(
        &mut self,
        (id, half): (DeviceId, Half),
        secret_id: EnrollSecretId,
    ) -> Result<(), StoreError> {
        let sql = match half {
            Half::Orbit => "UPDATE devices SET orbit_secret_id = $3 WHERE org_id = $1 AND id = $2",
            Half::Osquery => {
                "UPDATE devices SET osquery_secret_id = $3 WHERE org_id = $1 AND id = $2"
            }
        };
        self.query(sql)
            .bind(id.to_string())
            .bind(secret_id.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// The accepted device that a key led to.
    pub(in crate::fleet) async fn seen_device(
        &mut self,
        id: &str,
    ) -> Result<Option<SeenDevice>, StoreError> {
        let row = self
            .query(
                "SELECT id, last_seen_at, details_at, orbit_version, orbit_key_hash, osquery_key_hash,
                 orbit_certificate, osquery_certificate, device_key, hardware_uuid,
                 osquery_identifier, update_channels, debug_until, osquery_enrolled_at,
                 osqueryd_renews,
                 COALESCE(orbit_key_at, orbit_enrolled_at) AS orbit_key_at, orbit_next_hash,
                 orbit_next_at, orbit_use, osquery_use
                 FROM devices WHERE org_id = $1 AND id = $2 AND state = 'accepted'",
            )
            .bind(id.to_owned())
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(SeenDevice {
            id: row.parsed("id")?,
            last_seen_at: row.time("last_seen_at")?,
            details_at: row.optional_time("details_at")?,
            orbit_version: row.text("orbit_version")?,
            update_channels: update_channels(&row)?,
            debug_until: row.optional_time("debug_until")?,
            orbit_key_at: row.optional_time("orbit_key_at")?,
            orbit_next_at: row.optional_time("orbit_next_at")?,
            osquery_key_at: row.optional_time("osquery_enrolled_at")?,
            osqueryd_renews: row.number("osqueryd_renews")? != 0,
            orbit_key_hash: row.optional_text("orbit_key_hash")?,
            orbit_next_hash: row.optional_text("orbit_next_hash")?,
            osquery_key_hash: row.optional_text("osquery_key_hash")?,
            orbit_certificate: row.optional_text("orbit_certificate")?,
            osquery_certificate: row.optional_text("osquery_certificate")?,
            device_key: row.optional_text("device_key")?,
            hardware_uuid: row.text("hardware_uuid")?,
            osquery_identifier: row.text("osquery_identifier")?,
            orbit_use: key_use(&row, "orbit_use")?,
            osquery_use: key_use(&row, "osquery_use")?,
        }))
    }

    /// Notes that a device was heard of.
    pub(in crate::fleet) async fn note_seen(
        &mut self,
        id: DeviceId,
        (address, orbit_version): (&str, Option<&str>),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE devices SET last_seen_at = $3, last_seen_ip = $4,
             orbit_version = COALESCE($5, orbit_version) WHERE org_id = $1 AND id = $2",
        )
        .bind(id.to_string())
        .bind(now.as_millisecond())
        .bind(address.to_owned())
        .bind(orbit_version.map(str::to_owned))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// When the device's desktop token was set, if there is one.
    pub(in crate::fleet) async fn desktop_token_set_at(
        &mut self,
        id: DeviceId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row = self
            .query("SELECT desktop_token_at FROM devices WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.map_or(Ok(None), |row| row.optional_time("desktop_token_at"))
    }

    /// Puts a new desktop token in place of the old one. A token of another device is a duplicate.
    /// `false` when the device is not accepted, or not there any more.
    pub(in crate::fleet) async fn set_desktop_token(
        &mut self,
        id: DeviceId,
        hash: &Hash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let set = self
            .query(
                "UPDATE devices SET desktop_token_hash = $3, desktop_token_at = $4
                 WHERE org_id = $1 AND id = $2 AND state = 'accepted'",
            )
            .bind(id.to_string())
            .bind(hash.as_text())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        if set.rows_affected() == 0 {
            return Ok(false);
        }
        self.remove_credentials(CredentialKind::DesktopToken, &id.to_string()).await?;
        self.add_credential(CredentialKind::DesktopToken, hash, &id.to_string()).await?;
        Ok(true)
    }
}

fn node(row: &AnyRow) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        id: row.parsed("id")?,
        orbit_secret_id: row.optional_parsed("orbit_secret_id")?,
        osquery_secret_id: row.optional_parsed("osquery_secret_id")?,
        orbit_enrolled: row.optional_number("orbit_enrolled_at")?.is_some(),
        osquery_enrolled: row.optional_number("osquery_enrolled_at")?.is_some(),
        state: row.parsed("state")?,
        device_key: row.optional_text("device_key")?,
    })
}

fn key_use(row: &AnyRow, column: &'static str) -> Result<KeyUse, StoreError> {
    serde_json::from_str(&row.text(column)?).map_err(|error| corrupt(column, error))
}

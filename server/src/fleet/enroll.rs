//! Enrollment: a device shows an enroll secret and gets a key of its own. orbit and osqueryd of one
//! device enroll apart, land on the same row, and count one use of the secret.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;
use wire::{
    DeviceId, EnrollSecret, EnrollSecretId, NodeKey, OrgId, OsqueryNodeKey,
    api::{DeviceState, EnrollSecretInfo, FieldError},
    orbit::DeviceIdentity,
    osquery,
};

use super::{
    Access, Fleet, StoreError,
    audit::{self, Event, EventKind},
    errors::{FieldErrors, TooMany},
    identity::{check_identifier, tidy_identity},
    limiter::{Trial, network_of},
    limits::LimitError,
    node_rotation::replaced,
    origin::Origin,
    osquery_details::{self, identity_of},
    secrets,
    signatures::SignatureError,
    store::{Credential, CredentialKind, Half, Hash, NodeRow, OrgStore},
};

/// Why a device was not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// Unknown, expired, revoked, used up: the caller is not told which.
    #[error("the enroll secret is not valid (unknown, expired, revoked or used up)")]
    Refused,
    /// Somebody has to approve of it, or did not.
    #[error("the device waits for approval, or is not admitted any more")]
    NotAccepted,
    #[error("{}", .0.iter().map(|error| format!("{} {}", error.pointer, error.detail)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    #[error("here devices enroll with a key of their own (--device-key)")]
    KeyRequired,
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LimitError> for EnrollError {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::TooMany(error) => error.into(),
            LimitError::Store(error) => error.into(),
        }
    }
}

/// Why a device was not admitted.
enum Refusal {
    /// The secret is not good. Why, as the audit trail has it, and whose secret it was, if anybody's.
    Secret { org_id: Option<OrgId>, why: &'static str },
    /// The device may not be here, or not yet.
    Device(DeviceState),
    /// It is not signed as its device's requests have to be.
    Unsigned { org_id: OrgId, error: EnrollError },
}

/// What an enrollment is about: who it is for, and how to find their row.
struct Application<'a> {
    half: Half,
    device: &'a DeviceIdentity,
    /// What the device is going to sign its requests with.
    key: Option<&'a str>,
    origin: &'a Origin,
    /// Nothing that admits it is kept before [`Trial::may_succeed`].
    trial: &'a Trial<'a>,
    now: Timestamp,
}

impl Fleet {
    /// Admits a device whose orbit knows an enroll secret, and gives it a fresh node key. A device
    /// that is known keeps its row, and its old key ends. `device_key` is what it signs its requests with
    /// from here on, and has signed this one with.
    pub async fn enroll(
        &self,
        secret: &EnrollSecret,
        device: DeviceIdentity,
        device_key: Option<&str>,
        origin: &Origin,
    ) -> Result<NodeKey, EnrollError> {
        let device = tidy_identity(device).map_err(EnrollError::Invalid)?;
        let key = self.admit(secret, (Half::Orbit, device_key), &device, origin).await;
        self.0.metrics.count_enrollment("orbit", &key);
        let key = key?;
        Ok(NodeKey::new(key).expect("base64 of 24 bytes is a key"))
    }

    /// The same for osqueryd, which finds the row that orbit made. orbit's node key does for it, too.
    pub async fn enroll_osquery(
        &self,
        request: osquery::EnrollRequest,
        origin: &Origin,
    ) -> Result<OsqueryNodeKey, EnrollError> {
        let identifier = request.host_identifier.trim();
        let mut errors = FieldErrors::default();
        errors.refuse_if(identifier.is_empty(), "/host_identifier", "must not be empty");
        check_identifier(&mut errors, identifier, "/host_identifier");
        errors.into_result().map_err(EnrollError::Invalid)?;
        let device = identity_of(identifier, &request.host_details);
        let key = self.admit(&request.enroll_secret, (Half::Osquery, None), &device, origin).await;
        self.0.metrics.count_enrollment("osqueryd", &key);
        let key = key?;
        Ok(OsqueryNodeKey::new(key).expect("base64 of 24 bytes is a key"))
    }

    /// Limits, admits and logs.
    async fn admit(
        &self,
        secret: &EnrollSecret,
        asked: (Half, Option<&str>),
        device: &DeviceIdentity,
        origin: &Origin,
    ) -> Result<String, EnrollError> {
        let admitted = self.try_admit(secret, asked, device, origin).await;
        if matches!(admitted, Err(EnrollError::TooMany(_))) {
            audit::log_limited(EventKind::DeviceEnrollment, origin.address);
        }
        admitted
    }

    async fn try_admit(
        &self,
        secret: &EnrollSecret,
        (half, key): (Half, Option<&str>),
        device: &DeviceIdentity,
        origin: &Origin,
    ) -> Result<String, EnrollError> {
        let (now, store) = (self.now(), &self.0.store);
        let trial = &self.0.enrollments.enter(network_of(origin.address), now).await?;
        if half == Half::Orbit
            && let Err(error) = self.check_device_key(key, origin, now)
        {
            if is_attempt(&error) {
                trial.failed(store).await?;
            }
            return Err(error);
        }
        let application = Application { half, device, key, origin, trial, now };
        match self.admit_application(secret, &application).await? {
            Ok(key) => Ok(key),
            Err(Refusal::Device(state)) => {
                trial.failed(store).await?;
                // The trail has the decision about the device. It asks again and again.
                audit::log_refused(EventKind::DeviceEnrollment, origin.address, state.as_str());
                Err(EnrollError::NotAccepted)
            }
            Err(Refusal::Secret { org_id, why }) => {
                trial.failed(store).await?;
                self.record(org_id, &application.event(why)).await?;
                Err(EnrollError::Refused)
            }
            Err(Refusal::Unsigned { org_id, error }) => {
                if is_attempt(&error) {
                    trial.failed(store).await?;
                    let event = application.event("without its device's signature");
                    self.record(Some(org_id), &event).await?;
                }
                Err(error)
            }
        }
    }

    /// The new key, or the reason for a refusal, as the audit trail has it.
    async fn admit_application(
        &self,
        secret: &EnrollSecret,
        application: &Application<'_>,
    ) -> Result<Result<String, Refusal>, EnrollError> {
        let hash = Hash::of(secret.expose());
        let found = self.0.store.credential(CredentialKind::EnrollSecret, &hash).await?;
        let Some(Credential { org_id, subject_id }) = found else {
            return self.admit_with_node_key(&hash, application).await;
        };
        let refused = |why| Ok(Err(Refusal::Secret { org_id: Some(org_id), why }));
        let mut org = self.0.store.org(org_id, Access::Note).await?;
        org.lock(&application.lock_name()).await?;
        let Some(secret) = org.enroll_secret(&subject_id).await? else {
            return refused("unknown secret");
        };
        if let Some(why) = why_over(&secret, application.now) {
            return refused(why);
        }
        if !self.may_enroll(application.origin, &application.identifiers()) {
            return refused("certificate of somebody else, or none");
        }
        let row = application.find(&mut org).await?;
        let key = match application.half {
            Half::Orbit => application.key,
            Half::Osquery => row.as_ref().and_then(|row| row.device_key.as_deref()),
        };
        if let Some(error) = self.refuse_unsigned(&mut org, key, application).await? {
            return Ok(Err(Refusal::Unsigned { org_id, error }));
        }
        if !application.is_listed(row.as_ref(), &secret) {
            return refused("hardware that the secret is not for");
        }
        if let Some(state) = row.as_ref().map(|row| row.state)
            && state != DeviceState::Accepted
        {
            return Ok(Err(Refusal::Device(state)));
        }
        if let Err(why) = application.use_secret(&mut org, row.as_ref(), &secret).await? {
            return refused(why);
        }
        if row.is_none() && secret.needs_approval {
            application.wait_for_approval(&mut org, &secret).await?;
            self.record_in(&mut org, &application.event("waits for approval"));
            // It is kept, so it may be no more than what succeeds.
            application.trial.may_succeed(org.apart()).await?;
            org.commit().await?;
            return Ok(Err(Refusal::Device(DeviceState::Pending)));
        }
        let key = application.settle(&mut org, row, &secret).await?;
        self.record_in(&mut org, &application.event("ok"));
        application.trial.may_succeed(org.apart()).await?;
        org.commit().await?;
        Ok(Ok(key))
    }

    /// The same for an osqueryd that shows the node key of its device's orbit, which was admitted with
    /// a secret: none is used, so a secret that has ended since costs the device nothing.
    async fn admit_with_node_key(
        &self,
        hash: &Hash,
        application: &Application<'_>,
    ) -> Result<Result<String, Refusal>, EnrollError> {
        let unknown = Ok(Err(Refusal::Secret { org_id: None, why: "unknown secret" }));
        if application.half == Half::Orbit {
            return unknown;
        }
        let found = self.0.store.credential(CredentialKind::NodeKey, hash).await?;
        let Some(Credential { org_id, subject_id }) = found else { return unknown };
        let refused = |why| Ok(Err(Refusal::Secret { org_id: Some(org_id), why }));
        let mut org = self.0.store.org(org_id, Access::Note).await?;
        org.lock(&application.lock_name()).await?;
        let row = match subject_id.parse() {
            Ok(id) => org.hold_device(id).await?,
            Err(_) => None,
        };
        let device = org.seen_device(&subject_id).await?;
        let device = device.filter(|device| device.shown_key(Half::Orbit, hash).is_some());
        let (Some(row), Some(device)) = (row, device) else { return unknown };
        if !device.identifiers().iter().any(|name| application.is_called(name)) {
            return refused("node key of another device");
        }
        if !self.may_enroll(application.origin, &application.identifiers())
            || !self.shows_certificate((&device, Half::Orbit), application.origin)
        {
            return refused("certificate of somebody else, or none");
        }
        let key = device.device_key.as_deref();
        if let Some(error) = self.refuse_unsigned(&mut org, key, application).await? {
            return Ok(Err(Refusal::Unsigned { org_id, error }));
        }
        let (id, secret_id) = (row.id, row.orbit_secret_id);
        let key = application.give_key(&mut org, id, secret_id).await?;
        let subject = format!("device {id}");
        let event = match row.osquery_enrolled {
            true => replaced(Half::Osquery, &subject, application.origin),
            false => application.event("ok"),
        };
        self.record_in(&mut org, &event);
        application.trial.may_succeed(org.apart()).await?;
        org.commit().await?;
        Ok(Ok(key))
    }

    /// Why the enrollment does not count as that of the device whose `key` has to sign it, if it does not.
    async fn refuse_unsigned(
        &self,
        org: &mut OrgStore,
        key: Option<&str>,
        application: &Application<'_>,
    ) -> Result<Option<EnrollError>, StoreError> {
        let origin = application.origin;
        // orbit's signature was looked at before the database was asked for anything.
        if application.half == Half::Osquery
            && let Err(error) = self.check_enrollment(key, origin, application.now)
        {
            return Ok(Some(error));
        }
        let is_repeated = key.is_some() && !self.is_first(org.apart(), origin).await?;
        Ok(is_repeated.then_some(SignatureError::Repeated.into()))
    }
}

impl Application<'_> {
    fn event<'a>(&'a self, outcome: &'a str) -> Event<'a> {
        Event {
            name: EventKind::DeviceEnrollment,
            actor: self.half.program(),
            subject: &self.device.hardware_uuid,
            address: self.origin.address,
            outcome,
            changes: Value::Null,
        }
    }

    /// Two enrollments of one device wait for each other, so that it gets one row.
    fn lock_name(&self) -> String {
        format!("device/{}", self.identifier().to_lowercase())
    }

    /// What the device is called.
    fn identifiers(&self) -> [&str; 2] {
        [&self.device.hardware_uuid, &self.device.osquery_identifier]
    }

    fn is_called(&self, name: &str) -> bool {
        self.identifier().eq_ignore_ascii_case(name)
    }

    fn identifier(&self) -> &str {
        if self.device.osquery_identifier.is_empty() {
            &self.device.hardware_uuid
        } else {
            &self.device.osquery_identifier
        }
    }

    /// Whether the secret is for this hardware. osqueryd may tell less of it than orbit: it follows an
    /// orbit that the same secret admitted.
    fn is_listed(&self, row: Option<&NodeRow>, secret: &EnrollSecretInfo) -> bool {
        let names = [&self.device.hardware_uuid, &self.device.hardware_serial];
        let names = names.map(|name| name.to_lowercase());
        let follows = self.half == Half::Osquery
            && row.is_some_and(|row| row.orbit_secret_id == Some(secret.id));
        secret.hardware_ids.is_empty()
            || follows
            || secret.hardware_ids.iter().any(|id| names.contains(id))
    }

    /// The device's row, if it has one, held until the transaction ends: who deletes the device or
    /// decides about it waits, and what others did since it was found shows in the row.
    async fn find(&self, org: &mut OrgStore) -> Result<Option<NodeRow>, StoreError> {
        let Some(id) = self.look_up(org).await? else { return Ok(None) };
        org.hold_device(id).await
    }

    async fn look_up(&self, org: &mut OrgStore) -> Result<Option<DeviceId>, StoreError> {
        let device = self.device;
        match self.half {
            Half::Orbit if device.osquery_identifier.is_empty() => {
                org.device_by_hardware(&device.hardware_uuid, device.machine_id.as_deref()).await
            }
            Half::Orbit | Half::Osquery => org.device_by_identifier(self.identifier()).await,
        }
    }

    /// Writes the row of a device that nobody knew, which waits, and whose use of the secret is
    /// counted already.
    async fn wait_for_approval(
        &self,
        org: &mut OrgStore,
        secret: &EnrollSecretInfo,
    ) -> Result<(), StoreError> {
        let id = DeviceId(Uuid::now_v7());
        let about = (secret.team_id, DeviceState::Pending, &*self.origin.address.to_string());
        org.add_device(id, self.device, about, self.now).await?;
        org.note_waiting_secret((id, self.half), secret.id).await
    }

    /// Counts a use of the secret, unless one was counted for this device: when its other half was
    /// admitted by the same, or while it waited.
    async fn use_secret(
        &self,
        org: &mut OrgStore,
        row: Option<&NodeRow>,
        secret: &EnrollSecretInfo,
    ) -> Result<Result<(), &'static str>, StoreError> {
        let admitted = if row.is_some_and(|row| self.shares_use(row, secret.id)) {
            org.share_enroll_secret(secret.id, self.now).await?
        } else {
            org.use_enroll_secret(secret.id, self.now).await?
        };
        Ok(if admitted {
            Ok(())
        } else {
            Err(why_over(secret, self.now).unwrap_or("used-up secret"))
        })
    }

    /// osqueryd follows orbit at any time; orbit follows an osqueryd that came first, once. A half
    /// that has a secret and never enrolled waited for approval with it.
    fn shares_use(&self, row: &NodeRow, secret_id: EnrollSecretId) -> bool {
        let by_orbit = row.orbit_secret_id == Some(secret_id);
        let by_osquery = row.osquery_secret_id == Some(secret_id);
        match self.half {
            Half::Osquery => by_orbit || (by_osquery && !row.osquery_enrolled),
            Half::Orbit if row.orbit_enrolled => false,
            Half::Orbit => by_orbit || (by_osquery && row.orbit_secret_id.is_none()),
        }
    }

    /// Writes the device's row, new or known, and gives this half its key.
    async fn settle(
        &self,
        org: &mut OrgStore,
        row: Option<NodeRow>,
        secret: &EnrollSecretInfo,
    ) -> Result<String, StoreError> {
        let id = match row {
            Some(row) => row.id,
            None => {
                let id = DeviceId(Uuid::now_v7());
                let address = self.origin.address.to_string();
                let about = (secret.team_id, DeviceState::Accepted, address.as_str());
                org.add_device(id, self.device, about, self.now).await?;
                id
            }
        };
        if self.half == Half::Orbit {
            org.update_device(id, self.device, secret.team_id).await?;
        }
        self.give_key(org, id, Some(secret.id)).await
    }

    /// Gives this half of a device another key.
    async fn give_key(
        &self,
        org: &mut OrgStore,
        id: DeviceId,
        secret_id: Option<EnrollSecretId>,
    ) -> Result<String, StoreError> {
        if self.half == Half::Osquery {
            org.set_details(id, osquery_details::of_identity(self.device), self.now).await?;
        }
        let key = secrets::new_key();
        let hash = Hash::of(&key);
        org.set_node_key((id, self.half), &hash, secret_id, (self.origin, self.now)).await?;
        if self.half == Half::Orbit {
            org.set_device_key(id, self.key).await?;
        }
        Ok(key)
    }
}

/// A wrong clock is no attempt at anything.
const fn is_attempt(error: &EnrollError) -> bool {
    !matches!(error, EnrollError::Signature(SignatureError::Stale))
}

/// Why the secret admits nobody any more, however often it was used.
fn why_over(secret: &EnrollSecretInfo, now: Timestamp) -> Option<&'static str> {
    if secret.revoked_at.is_some() {
        Some("revoked secret")
    } else if secret.expires_at.is_some_and(|end| end <= now) {
        Some("expired secret")
    } else {
        None
    }
}

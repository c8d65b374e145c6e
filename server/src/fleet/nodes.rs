//! Enrolled agents: what they ask once they have a key.

use std::{io, net::IpAddr};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use wire::{
    DesktopToken, NodeKey, OrgId, OsqueryNodeKey,
    api::{Device, DeviceState, Hidden},
    orbit::{AgentConfig, ConfigRequest, DeviceSummary},
    osquery::{DistributedQueries, DistributedResults, LogRequest},
};

use super::{
    Access, Fleet, StoreError,
    audit::{Event, EventKind},
    errors::TooMany,
    identity::tidy_optional,
    keys::KeyError,
    limiter::{Trial, network_of},
    limits::LimitError,
    metrics::TokenWork,
    origin::Origin,
    osquery_details::{detail_queries, details_in},
    signatures::SignatureError,
    store::{Credential, CredentialKind, Half, Hash, SeenDevice, ShownKey},
    tokens::DEVICE_TTL,
    update_channels::merged,
};

/// How old the last sighting of a device is before it is written down anew, in milliseconds.
const SEEN_EVERY_MS: i64 = 30_000;

/// While two machines go on using one key, the audit trail says so once in this time.
const TOLD_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// How long a desktop token opens the device's page: an hour, after which the agent renews it, and
/// time for an agent that is late.
const DESKTOP_TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(75);

/// How many lines one request may log. osqueryd sends 1024 at most unless told otherwise, and each
/// line takes more room here than it took on the way.
const MAX_LOG_LINES: usize = 10_000;

/// Why an agent's request was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Unknown or replaced, or its device was deleted, or it came without its certificate: the agent
    /// has to enroll again.
    #[error("the node key is not valid; enroll again")]
    UnknownKey,
    /// It is good, and osqueryd is to have another.
    #[error("the node key is to be replaced; enroll again")]
    OldKey,
    /// Unknown, replaced by a newer one, or too old.
    #[error("the desktop token is not valid")]
    UnknownToken,
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error("a device's key speaks for that device alone")]
    OtherDevice,
    #[error("could not sign a token")]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the desktop token is another device's")]
    TokenTaken,
    #[error("a request may log at most {MAX_LOG_LINES} lines")]
    TooManyLines,
    #[error("could not write the osquery log")]
    Log(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LimitError> for NodeError {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::TooMany(error) => error.into(),
            LimitError::Store(error) => error.into(),
        }
    }
}

/// A device that showed a good key.
pub(super) struct Node {
    pub(super) org_id: OrgId,
    pub(super) device: SeenDevice,
    pub(super) now: Timestamp,
    /// Of the key that it showed.
    pub(super) hash: Hash,
    /// Whether this was the first use of that key, which ended the one before.
    pub(super) adopted: bool,
}

/// What an agent tells of itself with a request.
#[derive(Debug, Default)]
struct Told {
    version: Option<String>,
    instance: Option<String>,
}

impl Fleet {
    /// What the server wants of an agent.
    pub async fn agent_config(
        &self,
        request: ConfigRequest,
        origin: &Origin,
    ) -> Result<AgentConfig, NodeError> {
        let told = Told {
            version: tidy_optional(request.orbit_version.as_deref()),
            instance: tidy_optional(request.instance.as_deref()),
        };
        let key = request.orbit_node_key.expose();
        let node = self.node(Half::Orbit, key, (origin, told)).await?;
        self.note_renewing(&node, request.osqueryd_renews).await?;
        let orbit_node_key =
            if request.takes_node_key { self.renewed_key(&node).await? } else { None };
        let orbit = &self.0.config.orbit;
        Ok(AgentConfig {
            command_line_startup_flags: orbit.command_line_startup_flags.clone(),
            update_channels: merged(node.device.update_channels, &orbit.update_channels),
            orbit_node_key,
            osqueryd_enrolls_with_node_key: true,
            debug_for_seconds: node.device.debug_until.and_then(|until| left(until, node.now)),
            extensions: orbit.extensions.clone(),
        })
    }

    /// A short proof of which device an agent speaks for, to be checked by others with the published
    /// keys alone.
    pub async fn device_token(
        &self,
        key: &NodeKey,
        origin: &Origin,
    ) -> Result<(Hidden, SignedDuration), NodeError> {
        let node = self.orbit(key, origin).await?;
        let ring = self.ring().await?;
        let device = (node.device.id, node.org_id);
        let issue = || self.0.tokens.issue_to_device(&ring, device, self.now());
        let token = self.0.metrics.measured(TokenWork::Issue, issue).map_err(KeyError::from)?;
        Ok((Hidden(token), DEVICE_TTL))
    }

    /// Takes the token that opens the end user's page of this device.
    pub async fn set_desktop_token(
        &self,
        key: &NodeKey,
        token: &DesktopToken,
        origin: &Origin,
    ) -> Result<(), NodeError> {
        let node = self.orbit(key, origin).await?;
        let hash = Hash::of(token.expose());
        let mut org = self.0.store.org(node.org_id, Access::Note).await?;
        let set = org.set_desktop_token(node.device.id, &hash, node.now).await;
        let set = set.map_err(|error| match error.is_duplicate() {
            true => NodeError::TokenTaken,
            false => error.into(),
        })?;
        if !set {
            return Err(NodeError::UnknownKey);
        }
        org.commit().await?;
        Ok(())
    }

    /// Refuses a key that is no device's.
    pub async fn check_osquery_key(&self, key: &OsqueryNodeKey) -> Result<(), NodeError> {
        let hash = Hash::of(key.expose());
        let found = self.0.store.credential(Half::Osquery.key_kind(), &hash).await?;
        found.map(drop).ok_or(NodeError::UnknownKey)
    }

    /// What the user of a device may know of it, who shows the token that its agent has set last.
    /// From one network only so many wrong tokens are looked at.
    pub async fn device_summary(
        &self,
        token: &DesktopToken,
        address: IpAddr,
    ) -> Result<DeviceSummary, NodeError> {
        let now = self.now();
        let trial = self.0.desktop_tokens.enter(network_of(address), now).await?;
        let hash = Hash::of(token.expose());
        let kind = CredentialKind::DesktopToken;
        let found = self.0.store.credential(kind, &hash).await?;
        let summary = match found {
            Some(credential) => self.summary(&credential, (&trial, now)).await?,
            None => None,
        };
        if summary.is_none() {
            trial.failed(&self.0.store).await?;
        }
        summary.ok_or(NodeError::UnknownToken)
    }

    async fn summary(
        &self,
        credential: &Credential,
        (trial, now): (&Trial<'_>, Timestamp),
    ) -> Result<Option<DeviceSummary>, NodeError> {
        let Ok(id) = credential.subject_id.parse() else { return Ok(None) };
        let mut org = self.0.store.org(credential.org_id, Access::Read).await?;
        let set_at = org.desktop_token_set_at(id).await?;
        let device = org.device(id, now).await?;
        trial.may_succeed(org.apart()).await?;
        org.commit().await?;
        let fresh = set_at.is_some_and(|at| now.duration_since(at) < DESKTOP_TOKEN_LIFETIME);
        let accepted = |device: &Device| device.state == DeviceState::Accepted;
        Ok(device.filter(|device| fresh && accepted(device)).map(summary_of))
    }

    /// osquery's configuration; or, for an osqueryd whose key is to be replaced, the order to enroll again.
    pub async fn osquery_config(
        &self,
        key: &OsqueryNodeKey,
        origin: &Origin,
    ) -> Result<Map<String, Value>, NodeError> {
        let node = self.osquery(key, origin).await?;
        if self.is_to_renew(&node) {
            return Err(NodeError::OldKey);
        }
        Ok(self.0.config.osquery.config.clone())
    }

    /// The queries that a device is to answer: about its system, when that was long ago.
    pub async fn queries_for(
        &self,
        key: &OsqueryNodeKey,
        origin: &Origin,
    ) -> Result<DistributedQueries, NodeError> {
        let node = self.osquery(key, origin).await?;
        let interval = self.0.config.osquery.details_interval.as_signed();
        Ok(match node.device.details_at {
            None => detail_queries(true),
            Some(at) if node.now.duration_since(at) >= interval => detail_queries(false),
            Some(_) => DistributedQueries::default(),
        })
    }

    /// Keeps what a device answered.
    pub async fn take_results(
        &self,
        results: DistributedResults,
        origin: &Origin,
    ) -> Result<(), NodeError> {
        let node = self.osquery(&results.node_key, origin).await?;
        let Some(details) = details_in(&results) else { return Ok(()) };
        let mut org = self.0.store.org(node.org_id, Access::Note).await?;
        org.set_details(node.device.id, details, node.now).await?;
        org.commit().await?;
        Ok(())
    }

    /// Keeps log lines.
    pub async fn log(&self, request: LogRequest, origin: &Origin) -> Result<(), NodeError> {
        let node = self.osquery(&request.node_key, origin).await?;
        if request.data.len() > MAX_LOG_LINES {
            return Err(NodeError::TooManyLines);
        }
        let mut lines = Vec::new();
        for line in request.data {
            let entry = json!({
                "device_id": node.device.id,
                "org_id": node.org_id,
                "received_at": node.now.to_string(),
                "line": line,
            });
            lines.extend_from_slice(entry.to_string().as_bytes());
            lines.push(b'\n');
        }
        self.0.osquery_logs.append(request.log_type, lines).await.map_err(NodeError::Log)
    }

    pub(super) async fn orbit(&self, key: &NodeKey, origin: &Origin) -> Result<Node, NodeError> {
        self.node(Half::Orbit, key.expose(), (origin, Told::default())).await
    }

    async fn osquery(&self, key: &OsqueryNodeKey, origin: &Origin) -> Result<Node, NodeError> {
        self.node(Half::Osquery, key.expose(), (origin, Told::default())).await
    }

    /// Finds the device that shows `key` and has signed the request, if it signs, and notes that it was
    /// heard of.
    async fn node(
        &self,
        half: Half,
        key: &str,
        (origin, told): (&Origin, Told),
    ) -> Result<Node, NodeError> {
        let node = self.known_node(half, key, origin).await?;
        self.check_signature(&node.device, origin, node.now).inspect_err(|error| {
            tracing::warn!(device.id = %node.device.id, address = %origin.address,
                "a node key came without the signature that it has to come with: {error}");
        })?;
        if !self.bind_certificate(node.org_id, (&node.device, half), origin).await? {
            return Err(NodeError::UnknownKey);
        }
        if node.adopted {
            self.adopt_key(node.org_id, (&node.device, &node.hash), origin).await?;
        }
        self.note_sighting(&node, half, (origin, told)).await?;
        Ok(node)
    }

    /// Finds the device that shows `key`, signed or not.
    pub(super) async fn known_node(
        &self,
        half: Half,
        key: &str,
        origin: &Origin,
    ) -> Result<Node, NodeError> {
        let now = self.now();
        let hash = Hash::of(key);
        let found = self.0.store.credential(half.key_kind(), &hash).await?;
        let Credential { org_id, subject_id } = found.ok_or(NodeError::UnknownKey)?;
        let mut org = self.0.store.org(org_id, Access::Read).await?;
        let device = org.seen_device(&subject_id).await?;
        org.commit().await?;
        let device = device.ok_or(NodeError::UnknownKey)?;
        let shown = device.shown_key(half, &hash).ok_or(NodeError::UnknownKey)?;
        if !self.shows_certificate((&device, half), origin) {
            tracing::warn!(device.id = %device.id, address = %origin.address,
                "a node key came without the certificate that it has to come with");
            return Err(NodeError::UnknownKey);
        }
        Ok(Node { org_id, device, now, hash, adopted: shown == ShownKey::Next })
    }

    /// Writes down that a device was heard of, if that is news, and where its key is used from.
    async fn note_sighting(
        &self,
        node: &Node,
        half: Half,
        (origin, told): (&Origin, Told),
    ) -> Result<(), StoreError> {
        let Node { device, now, .. } = node;
        let stale = now.as_millisecond() - device.last_seen_at.as_millisecond() >= SEEN_EVERY_MS;
        let updated = told.version.as_ref().is_some_and(|it| *it != device.orbit_version);
        let (address, before) = (origin.address, device.key_use(half));
        let most = self.0.config.orbit.network_switches;
        let (after, suspicion) = before.then(address, told.instance.as_deref(), (most, *now));
        if !stale && !updated && after == *before && suspicion.is_none() {
            return Ok(());
        }
        let mut org = self.0.store.org(node.org_id, Access::Note).await?;
        let version = told.version.as_deref();
        if stale || updated {
            org.note_seen(device.id, (&address.to_string(), version), *now).await?;
        }
        if after != *before {
            org.note_key_use((device.id, half), &after).await?;
        }
        if let Some(suspicion) = suspicion
            && org.suspect_clone(device.id, (*now - TOLD_AGAIN, *now)).await?
        {
            let name = format!("device {}", device.id);
            let event = Event {
                name: EventKind::DeviceCloneSuspected,
                actor: &name,
                subject: &name,
                address,
                outcome: suspicion.as_str(),
                changes: Value::Null,
            };
            self.record_in(&mut org, &event);
        }
        org.commit().await
    }
}

/// The whole seconds from `now` to `until`, if there are any.
fn left(until: Timestamp, now: Timestamp) -> Option<u32> {
    u32::try_from(until.duration_since(now).as_secs()).ok().filter(|seconds| *seconds > 0)
}

fn summary_of(device: Device) -> DeviceSummary {
    DeviceSummary {
        hostname: device.hostname,
        computer_name: device.computer_name,
        platform: device.platform,
        os_version: device.os_version,
        hardware_serial: device.hardware_serial,
        hardware_model: device.hardware_model,
        orbit_version: device.orbit_version,
        osquery_version: device.osquery_version,
        status: device.status,
        enrolled_at: device.enrolled_at,
        last_seen_at: device.last_seen_at,
    }
}

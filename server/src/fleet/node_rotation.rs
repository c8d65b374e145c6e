//! Node keys that are replaced while their device goes on: orbit is told the new one with its
//! configuration, and the old one is good until the new one is first used. So nothing is lost when the
//! answer is, or when the device cannot write the key down. osqueryd knows no such thing: it gets another
//! key by enrolling again, which it is told to do once its orbit has started it with a node key to enroll
//! with, and its present key is good until it has the next.

use jiff::SignedDuration;
use serde_json::Value;
use wire::{NodeKey, OrgId};

use super::{
    Access, Fleet, StoreError,
    audit::{Event, EventKind},
    nodes::Node,
    origin::Origin,
    secrets,
    store::{Half, Hash, SeenDevice},
};

/// A key that was not used after so long never arrived: the next configuration brings another.
const OFFER_AGAIN: SignedDuration = SignedDuration::from_mins(10);

impl Fleet {
    /// Another key for an orbit whose own is older than keys are to be.
    pub(super) async fn renewed_key(&self, node: &Node) -> Result<Option<NodeKey>, StoreError> {
        let Some(longest) = self.0.config.orbit.node_key_max_age.0 else { return Ok(None) };
        let device = &node.device;
        let made_at = device.orbit_key_at.unwrap_or(node.now);
        let waits = |at| node.now.duration_since(at) < OFFER_AGAIN;
        let due = node.now.duration_since(made_at) >= longest.as_signed();
        if !due || node.adopted || device.orbit_next_at.is_some_and(waits) {
            return Ok(None);
        }
        let key = secrets::new_key();
        let mut org = self.0.store.org(node.org_id, Access::Note).await?;
        if !org.offer_node_key(device.id, (&node.hash, &Hash::of(&key)), node.now).await? {
            return Ok(None);
        }
        org.commit().await?;
        Ok(Some(NodeKey::new(key).expect("base64 of 24 bytes is a key")))
    }

    /// Whether an osqueryd is to enroll again: its key is older than keys are to be, and it can.
    pub(super) fn is_to_renew(&self, node: &Node) -> bool {
        let Some(longest) = self.0.config.orbit.node_key_max_age.0 else { return false };
        let made_at = node.device.osquery_key_at.unwrap_or(node.now);
        node.device.osqueryd_renews && node.now.duration_since(made_at) >= longest.as_signed()
    }

    /// Notes what an orbit tells of its osqueryd, if that is news.
    pub(super) async fn note_renewing(&self, node: &Node, renews: bool) -> Result<(), StoreError> {
        // Where the key has just become the present one, nothing is known of it.
        let known = node.device.osqueryd_renews && !node.adopted;
        if renews == known {
            return Ok(());
        }
        let mut org = self.0.store.org(node.org_id, Access::Note).await?;
        org.note_osqueryd_renews(node.device.id, (&node.hash, renews)).await?;
        org.commit().await
    }

    /// Ends the old key of a device that shows the one which it was told.
    pub(super) async fn adopt_key(
        &self,
        org_id: OrgId,
        (device, hash): (&SeenDevice, &Hash),
        origin: &Origin,
    ) -> Result<(), StoreError> {
        let mut org = self.0.store.org(org_id, Access::Note).await?;
        // Of several requests that show it at once, one ends the old key.
        if org.adopt_node_key(device.id, hash, self.now()).await? {
            let subject = format!("device {}", device.id);
            self.record_in(&mut org, &replaced(Half::Orbit, &subject, origin));
        }
        org.commit().await
    }
}

/// The event of a key that took the place of another.
pub(super) fn replaced<'a>(half: Half, subject: &'a str, origin: &Origin) -> Event<'a> {
    Event {
        name: EventKind::DeviceKeyReplaced,
        actor: half.program(),
        subject,
        address: origin.address,
        outcome: "ok",
        changes: Value::Null,
    }
}

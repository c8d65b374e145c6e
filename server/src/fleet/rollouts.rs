//! Updates, and components that crash, as devices tell of them. The server counts and decides nothing:
//! what is offered to whom is signed by others.

use std::collections::BTreeMap;

use serde_json::json;
use wire::orbit::{ComponentUpdate, CrashLoop, UpdateReport, UpdateReportReply};

use super::{
    Access, Fleet, StoreError,
    audit::{Event, EventKind},
    identity::{tidy, tidy_optional},
    nodes::{Node, NodeError},
    origin::Origin,
    store::OrgStore,
};

/// What agents update. Of anything else nothing is kept.
const COMPONENTS: [&str; 3] = ["orbit", "osqueryd", "desktop"];

impl Fleet {
    /// Keeps how a device's components stand, and tells how what they are offered fares elsewhere.
    pub async fn take_updates(
        &self,
        report: UpdateReport,
        origin: &Origin,
    ) -> Result<UpdateReportReply, NodeError> {
        let node = self.orbit(&report.orbit_node_key, origin).await?;
        let components = tidy_components(report.components);
        let mut org = self.0.store.org(node.org_id, Access::Note).await?;
        org.set_updates(node.device.id, &components).await?;
        let mut tallies = BTreeMap::new();
        for update in components {
            if let Some(version) = &update.offered_version {
                let tally = org.tally(&update.component, version).await?;
                tallies.insert(update.component, tally);
            }
        }
        if let Some(loops) = report.crash_loops {
            self.take_crash_loops(&mut org, (&node, origin), loops).await?;
        }
        org.commit().await?;
        Ok(UpdateReportReply { tallies })
    }

    /// Keeps which of a device's components crash; the audit trail has those that began to.
    async fn take_crash_loops(
        &self,
        org: &mut OrgStore,
        (node, origin): (&Node, &Origin),
        told: Vec<CrashLoop>,
    ) -> Result<(), StoreError> {
        let id = node.device.id;
        let before = org.device(id, node.now).await?.map(|device| device.crash_loops);
        let loops = tidy_crash_loops(told);
        org.set_crash_loops(id, &loops).await?;
        let was_known =
            |it: &CrashLoop| before.iter().flatten().any(|known| known.component == it.component);
        for begun in loops.iter().filter(|it| !was_known(it)) {
            let name = format!("device {id}");
            let event = Event {
                name: EventKind::DeviceCrashLooped,
                actor: &name,
                subject: &name,
                address: origin.address,
                outcome: "ok",
                changes: json!({"component": begun.component, "detail": begun.detail}),
            };
            self.record_in(org, &event);
        }
        Ok(())
    }
}

/// Each component once, without what cannot be stored.
fn tidy_crash_loops(told: Vec<CrashLoop>) -> Vec<CrashLoop> {
    let known = told.into_iter().filter(|it| COMPONENTS.contains(&it.component.as_str()));
    let once: BTreeMap<_, _> = known.map(|it| (it.component.clone(), it)).collect();
    once.into_values().map(|it| CrashLoop { detail: tidy(&it.detail), ..it }).collect()
}

/// Each component once, without what cannot be stored.
fn tidy_components(told: Vec<ComponentUpdate>) -> Vec<ComponentUpdate> {
    let known = told.into_iter().filter(|it| COMPONENTS.contains(&it.component.as_str()));
    let once: BTreeMap<_, _> = known.map(|it| (it.component.clone(), it)).collect();
    let tidied = once.into_values().map(|it| ComponentUpdate {
        channel: tidy(&it.channel),
        version: tidy_optional(it.version.as_deref()),
        offered_version: tidy_optional(it.offered_version.as_deref()),
        blocked_version: tidy_optional(it.blocked_version.as_deref()),
        blocked_sha256: tidy_optional(it.blocked_sha256.as_deref()),
        detail: tidy_optional(it.detail.as_deref()),
        ..it
    });
    tidied.collect()
}

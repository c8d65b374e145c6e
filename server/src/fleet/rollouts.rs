//! Updates, as devices tell of them. The server counts and decides nothing: what is offered to whom
//! is signed by others.

use std::collections::BTreeMap;

use wire::orbit::{ComponentUpdate, UpdateReport, UpdateReportReply};

use super::{
    Access, Fleet,
    identity::{tidy, tidy_optional},
    nodes::NodeError,
    origin::Origin,
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
        org.commit().await?;
        Ok(UpdateReportReply { tallies })
    }
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

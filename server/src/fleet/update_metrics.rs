//! How updates stand on all devices of an organization, what crashes on them, and which seem to be cloned,
//! as numbers for a monitoring system, in the text format of Prometheus.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::{SignedDuration, Timestamp};
use wire::{Permission, api::Device, orbit::UpdateState};

use super::{
    Access, Actor, Fleet,
    errors::ManageError,
    store::{DeviceFilter, Keyset},
};

/// Devices that are read at a time.
const AT_ONCE: i64 = 1_000;

/// The gauges, with what each is for.
const GAUGES: [(&str, &str); 6] = [
    (DEVICES, "Devices by component, channel, version that runs and state of its updates"),
    (WAITING, "Devices whose wave of an offered version has not started"),
    (ROLLED_BACK, "Devices on which a version has failed, so that they went back from it"),
    (CLONED, "Devices one of whose keys two machines seemed to use within the last day"),
    (CRASHING, "Devices on which a component ends as often as it is started"),
    (FAILURES, "Attempts in a row in which what is offered could not be had, on all devices"),
];

const DEVICES: &str = "fleet_update_devices";
const WAITING: &str = "fleet_update_wave_pending_devices";
const ROLLED_BACK: &str = "fleet_update_rolled_back_devices";
const CLONED: &str = "fleet_device_clones_suspected";
const CRASHING: &str = "fleet_device_crash_loops";
const FAILURES: &str = "fleet_update_failures";

impl Fleet {
    /// The gauges of the devices that the actor may see.
    pub async fn update_metrics(&self, actor: &Actor) -> Result<String, ManageError> {
        let within = actor.reach(Permission::TelemetryRead)?.as_filter();
        let filter = DeviceFilter { within, ..DeviceFilter::default() };
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let (mut metrics, mut after, now) = (Metrics::default(), String::new(), self.now());
        loop {
            let devices = org.devices(&filter, &Keyset { after, limit: AT_ONCE }, now).await?;
            devices.iter().for_each(|device| metrics.count(device, now));
            match devices.last() {
                Some(last) => after = last.id.to_string(),
                None => break,
            }
        }
        org.commit().await?;
        Ok(metrics.text())
    }
}

/// Values by gauge and labels.
#[derive(Debug, Default)]
struct Metrics(BTreeMap<(&'static str, String), u64>);

impl Metrics {
    fn count(&mut self, device: &Device, now: Timestamp) {
        let lately = |at| now.duration_since(at) < SignedDuration::from_hours(24);
        let cloned = device.clone_suspected_at.is_some_and(lately);
        self.add(CLONED, &[], u64::from(cloned));
        for crashing in &device.crash_loops {
            self.add(CRASHING, &[("component", &crashing.component)], 1);
        }
        for update in &device.updates {
            let (component, channel) =
                (("component", update.component.as_str()), ("channel", update.channel.as_str()));
            let version = update.version.as_deref().unwrap_or_default();
            let state = ("state", update.state.as_str());
            self.add(DEVICES, &[component, channel, ("version", version), state], 1);
            self.add(FAILURES, &[component, channel], update.failures.into());
            let is_early = update.due_at.is_some_and(|due| due > now);
            if let Some(offered) = update.offered_version.as_deref()
                && is_early
                && update.state == UpdateState::Waiting
            {
                self.add(WAITING, &[component, channel, ("version", offered)], 1);
            }
            if let Some(blocked) = update.blocked_version.as_deref() {
                self.add(ROLLED_BACK, &[component, channel, ("version", blocked)], 1);
            }
        }
    }

    fn add(&mut self, gauge: &'static str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        *self.0.entry((gauge, labels.join(","))).or_default() += value;
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (gauge, help) in GAUGES {
            let _ = writeln!(text, "# HELP {gauge} {help}.\n# TYPE {gauge} gauge");
            for ((_, labels), value) in self.0.iter().filter(|((name, _), _)| *name == gauge) {
                let labels =
                    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                let _ = writeln!(text, "{gauge}{labels} {value}");
            }
        }
        text
    }
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

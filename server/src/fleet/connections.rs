//! Connections that devices keep: a node key opens one for its own device, and it lasts as long as the
//! key is good, the device opens no other, and the server goes on.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use wire::{DeviceId, NodeKey};

use super::{Fleet, nodes::NodeError, origin::Origin, store::Half};

/// The connections that are open: one of a device.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<BTreeMap<DeviceId, watch::Sender<()>>>);

/// One device's connection.
#[derive(Debug)]
pub struct Connection {
    fleet: Fleet,
    key: NodeKey,
    origin: Origin,
    device_id: DeviceId,
    /// Closed when the device has opened another.
    newest: watch::Receiver<()>,
}

impl Connections {
    /// Opens one, which ends the one before.
    fn open(&self, device_id: DeviceId) -> watch::Receiver<()> {
        let (sender, receiver) = watch::channel(());
        self.all().insert(device_id, sender);
        receiver
    }

    /// Forgets a device's connection, unless there is another.
    fn close(&self, device_id: DeviceId, closed: &watch::Receiver<()>) {
        let mut all = self.all();
        if all.get(&device_id).is_some_and(|sender| closed.same_channel(&sender.subscribe())) {
            all.remove(&device_id);
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<DeviceId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    /// Opens a connection for the device whose key it is; a device that it names has to be that one.
    pub async fn connect(
        &self,
        key: NodeKey,
        named: Option<DeviceId>,
        origin: Origin,
    ) -> Result<Connection, NodeError> {
        let device_id = self.orbit(&key, &origin).await?.device.id;
        if named.is_some_and(|named| named != device_id) {
            return Err(NodeError::OtherDevice);
        }
        let newest = self.0.connections.open(device_id);
        Ok(Connection { fleet: self.clone(), key, origin, device_id, newest })
    }

    /// Ends all connections: the server stops.
    pub fn end_connections(&self) {
        self.0.stopping.send_replace(true);
    }
}

impl Connection {
    /// Whose it is.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// Waits until the key is to be looked at again. Whether the connection goes on: while the database
    /// is away nobody knows whether the key is good, and the device is to come again.
    pub async fn goes_on(&mut self) -> bool {
        let fleet = &self.fleet.0;
        let mut stopping = fleet.stopping.subscribe();
        let period = fleet.config.orbit.connection_check.as_duration();
        let ended = async {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => {}
                _ = self.newest.changed() => {}
            }
        };
        if tokio::time::timeout(period, ended).await.is_ok() {
            return false;
        }
        // That it is open says nothing of where the device is by now.
        self.fleet.known_node(Half::Orbit, self.key.expose(), &self.origin).await.is_ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.fleet.0.connections.close(self.device_id, &self.newest);
    }
}

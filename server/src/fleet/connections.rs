//! Connections that devices keep: a node key opens one for its own device, and it lasts as long as the
//! key is good and the server goes on.

use wire::{DeviceId, NodeKey};

use super::{Fleet, nodes::NodeError, origin::Origin};

/// One device's connection.
#[derive(Debug)]
pub struct Connection {
    fleet: Fleet,
    key: NodeKey,
    origin: Origin,
    device_id: DeviceId,
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
        Ok(Connection { fleet: self.clone(), key, origin, device_id })
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
    pub async fn goes_on(&self) -> bool {
        let fleet = &self.fleet.0;
        let mut stopping = fleet.stopping.subscribe();
        let period = fleet.config.orbit.connection_check.as_duration();
        let stopped = stopping.wait_for(|stopping| *stopping);
        if tokio::time::timeout(period, stopped).await.is_ok() {
            return false;
        }
        self.fleet.orbit(&self.key, &self.origin).await.is_ok()
    }
}

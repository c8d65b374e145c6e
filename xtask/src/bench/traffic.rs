//! What passes over the network, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters that several threads add to.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    connections: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// New connections, requests, and bytes with their heads. Who cannot read what passes counts no requests.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Passed {
    pub(super) connections: u64,
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

impl Traffic {
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn passed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What has passed since the last call.
    pub(super) fn take(&self) -> Passed {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Self { connections, requests, bytes } = self;
        Passed { connections: take(connections), requests: take(requests), bytes: take(bytes) }
    }
}

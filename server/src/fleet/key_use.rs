//! What API keys are used for, in numbers: a row of the audit trail a minute and key, not one a call.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::SignedDuration;
use serde_json::json;
use wire::ApiKeyId;

use super::{Access, Actor, Fleet, StoreError, audit::EventKind, store::ApiKeyRow};

/// How long after a use the next is noted.
const NOTE_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// How many keys' calls are counted at once. Beyond it, counts are lost, not memory.
const MAX_KEYS: usize = 10_000;

/// Calls that were not written down yet, of this process.
#[derive(Debug, Default)]
pub(super) struct KeyCalls(Mutex<BTreeMap<ApiKeyId, u64>>);

impl KeyCalls {
    fn count(&self, id: ApiKeyId) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < MAX_KEYS || calls.contains_key(&id) {
            *calls.entry(id).or_default() += 1;
        }
    }

    fn take(&self, id: ApiKeyId) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id).unwrap_or_default()
    }
}

impl Fleet {
    /// Counts a call, and notes at most once a minute how many there were. Of several processes or
    /// requests that want to note the same minute, one does. Whether somebody did by now.
    pub(super) async fn note_key_use(
        &self,
        actor: &Actor,
        row: &ApiKeyRow,
    ) -> Result<bool, StoreError> {
        let (now, id) = (self.now(), row.key.id);
        self.0.key_calls.count(id);
        let long_ago = now - NOTE_EVERY;
        if row.key.last_used_at.is_some_and(|noted| noted > long_ago) {
            return Ok(false);
        }
        let address = actor.address.to_string();
        let mut org = self.0.store.org(actor.org_id, Access::Note).await?;
        if !org.note_api_key_use(id, &address, (long_ago, now)).await? {
            return Ok(true);
        }
        let elsewhere = row.key.last_used_ip.as_deref() != Some(&address);
        let name = match (row.key.last_used_at, elsewhere) {
            (Some(_), true) => EventKind::ApiKeyUsedFromNewAddress,
            (Some(_), false) | (None, _) => EventKind::ApiKeyUsed,
        };
        let changes = json!({
            "calls": self.0.key_calls.take(id), "first": row.key.last_used_at.is_none(),
        });
        self.record_deed(&mut org, actor, (name, format!("api key {id}")), changes);
        org.commit().await?;
        Ok(true)
    }
}

//! Mail: queued with what it tells of, written and sent later, so that a request takes as long
//! whether anybody gets one or not. What is queued is who to and why; tokens are made when the mail
//! is written, and only their hashes are kept.

mod messages;
mod outbox;

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

pub use self::outbox::OutboxError;
pub(super) use self::{messages::MailKind, outbox::Outbox};
use super::{
    Fleet, StoreError,
    store::{MailRow, Tx},
};

/// How long one process may take to send a mail before another tries.
const LEASE: SignedDuration = SignedDuration::from_mins(5);

/// When a mail that could not be sent is given up.
const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(72);

/// The longest wait between two attempts.
const MAX_WAIT: SignedDuration = SignedDuration::from_hours(4);

/// What became of the mails that were due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    pub sent: u32,
    /// To be tried again.
    pub postponed: u32,
    /// There was nobody to send it to, or it was given up.
    pub dropped: u32,
}

/// Tells who sends mail that there is some.
#[derive(Debug, Default)]
pub(super) struct MailSignal(Arc<Notify>);

impl MailSignal {
    pub(super) fn notify(&self) {
        self.0.notify_one();
    }
}

impl Fleet {
    /// Whether mail goes anywhere.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.0.config.mail.is_some()
    }

    /// Queues a mail with whatever else `tx` does. Without mail configured, nothing is queued.
    pub(super) async fn queue_mail(
        &self,
        tx: &mut Tx,
        (kind, recipient): (MailKind, &str),
        data: Value,
    ) -> Result<(), StoreError> {
        if !self.has_mail() {
            return Ok(());
        }
        tx.add_mail(&MailRow {
            id: Uuid::now_v7().to_string(),
            kind: kind.as_str().to_owned(),
            recipient: recipient.to_owned(),
            data: data.to_string(),
            created_at: self.now(),
            attempts: 0,
        })
        .await
    }

    /// Queues a notice for somebody about their account: no token, no link.
    pub(super) async fn queue_notice(
        &self,
        tx: &mut Tx,
        (kind, recipient): (MailKind, &str),
        address: std::net::IpAddr,
    ) -> Result<(), StoreError> {
        self.queue_mail(tx, (kind, recipient), json!({"address": address})).await
    }

    /// Sends every mail that is due. Several processes may do so at once.
    pub async fn deliver_mail(&self) -> Result<Delivery, StoreError> {
        let mut delivery = Delivery::default();
        while let Some(mail) = self.0.store.claim_mail(self.now(), self.now() + LEASE).await? {
            self.deliver(&mail, &mut delivery).await?;
        }
        self.0.metrics.count_mails(delivery);
        Ok(delivery)
    }

    /// Waits until a mail may be due: one was queued here, or some seconds have passed.
    pub async fn await_mail(&self) {
        let pause = std::time::Duration::from_secs(10);
        let _ = tokio::time::timeout(pause, self.0.mail_queued.0.notified()).await;
    }

    async fn deliver(&self, mail: &MailRow, delivery: &mut Delivery) -> Result<(), StoreError> {
        let Some(message) = self.write_message(mail).await? else {
            delivery.dropped += 1;
            return self.0.store.remove_mail(&mail.id).await;
        };
        let Err(error) = self.0.outbox.send(message).await else {
            delivery.sent += 1;
            return self.0.store.remove_mail(&mail.id).await;
        };
        let now = self.now();
        let (mail_id, attempt) = (mail.id.as_str(), mail.attempts + 1);
        if now.duration_since(mail.created_at) > GIVE_UP_AFTER {
            tracing::error!(mail.id = mail_id, attempt, %error, "gave up sending a mail");
            delivery.dropped += 1;
            return self.0.store.remove_mail(&mail.id).await;
        }
        tracing::warn!(mail.id = mail_id, attempt, %error, "could not send a mail yet");
        delivery.postponed += 1;
        self.0.store.postpone_mail(&mail.id, now + wait(mail.attempts)).await
    }
}

/// How long to wait after so many attempts failed: half a minute, then twice as long each time.
fn wait(attempts: u32) -> SignedDuration {
    let seconds = 30_i64.saturating_mul(1 << attempts.min(20));
    SignedDuration::from_secs(seconds).min(MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_at_four_hours() {
        let waits: Vec<_> = [0, 1, 2, 8, 9, 40].map(|n| wait(n).as_secs()).into();
        assert_eq!(waits, [30, 60, 120, 7680, 14_400, 14_400]);
    }
}

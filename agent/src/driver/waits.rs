//! What the loop waits for beside its tasks, each for ever where there is nothing to wait for.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use tokio::{
    sync::{RwLock, mpsc},
    time::{self, Interval},
};

use crate::platform::{self, Notice};

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

pub(super) async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => pending().await,
    }
}

/// Other settings count. None: they never will.
pub(super) async fn change(changes: Option<&mut mpsc::Receiver<()>>) -> Option<()> {
    match changes {
        Some(changes) => changes.recv().await,
        None => pending().await,
    }
}

/// How long a thread may take to end that nobody can stop: a TPM takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody holds `work` any more, so that whoever comes next has it alone. Is patient for a while only.
pub(super) async fn idle(work: &RwLock<()>, watchdog: Option<&mut Interval>) {
    let watched = async {
        match watchdog {
            Some(interval) => loop {
                interval.tick().await;
                platform::notify(Notice::Alive);
            },
            None => pending::<()>().await,
        }
    };
    tokio::select! {
        ended = time::timeout(PATIENCE, work.write()) => if ended.is_err() {
            tracing::warn!("a key has been in the making for {} s, and is not waited for", PATIENCE.as_secs());
        },
        () = watched => {}
    }
}

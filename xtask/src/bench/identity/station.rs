//! A server that is measured: its process, and what it is asked.

use std::{thread, time::Duration};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::node::Node;
use crate::{
    bench::measure::{cpu_of, memory_of},
    process::Daemon,
};

/// Somebody who can sign in, and is signed in.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Person {
    pub(super) email: String,
    pub(super) token: String,
    #[serde(default)]
    pub(super) refresh: String,
}

/// A device that has enrolled.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Device {
    pub(super) node_key: String,
    /// For the client; none: the device signs nothing.
    pub(super) signer: Option<Value>,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) url: String,
    pub(super) people: Vec<Person>,
    pub(super) keys: Vec<String>,
    pub(super) daemon: Daemon,
}

/// One kind of request. `$` in headers and body is what it carries.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Exchange {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    /// What each request is signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signer: Option<Value>,
    /// The field of the answer that the next request carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) carries: Option<&'static str>,
    /// What requests carry in turn.
    #[serde(skip)]
    pub(super) carried: Vec<String>,
}

/// How many requests are sent, and how.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many, over so many connections, one after the other on each.
    Total { requests: usize, workers: usize },
    /// As many as are answered in so many seconds.
    Flood { seconds: usize, workers: usize },
    /// So many a second, whether the ones before were answered or not.
    Rate { per_second: usize, seconds: usize },
}

/// What became of them.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Answered {
    pub(super) count: usize,
    pub(super) seconds: f64,
    pub(super) p99_ms: f64,
    failures: Vec<String>,
}

impl Station {
    pub(super) fn new(daemon: Daemon, url: String) -> Self {
        Self { url, people: Vec::new(), keys: Vec::new(), daemon }
    }

    /// Sends requests; fails if one was refused.
    pub(super) fn load(
        &self,
        node: &Node,
        exchange: &Exchange,
        pace: Pace,
    ) -> anyhow::Result<Answered> {
        let mut settings = match pace {
            Pace::Total { requests, workers } => json!({"total": requests, "workers": workers}),
            Pace::Flood { seconds, workers } => json!({"seconds": seconds, "workers": workers}),
            Pace::Rate { per_second, seconds } => json!({"rate": per_second, "seconds": seconds}),
        };
        settings["url"] = json!(self.url);
        settings["carried"] = json!(exchange.carried);
        settings["exchange"] = json!(exchange);
        let answered = node.client("load", &settings)?;
        let answered: Answered =
            serde_json::from_value(answered).context("the client reported something else")?;
        if let Some(failure) = answered.failures.first() {
            bail!("{} {} was refused: {failure}", exchange.method, exchange.path);
        }
        Ok(answered)
    }

    /// Seconds of the server's processor time that one request takes. Everything is asked for once
    /// before, and forgotten where it is known for a second.
    pub(super) fn cost(
        &self,
        node: &Node,
        exchange: &Exchange,
        requests: usize,
    ) -> anyhow::Result<f64> {
        let pace = |requests| Pace::Total { requests, workers: 2 };
        if exchange.carries.is_none() {
            self.load(node, exchange, pace(exchange.carried.len().max(requests / 10)))?;
            thread::sleep(Duration::from_millis(1100));
        }
        let before = self.cpu()?;
        let answered = self.load(node, exchange, pace(requests))?;
        Ok((self.cpu()? - before) / super::as_f64(answered.count))
    }

    /// Seconds of processor time that the server has used.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        cpu_of(self.daemon.pid())
    }

    /// Bytes of memory that the server has at this moment.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        memory_of(self.daemon.pid())
    }
}

//! Timestamps over HTTP. Source: RFC 3161, §3.4.

use std::{error::Error, sync::OnceLock, time::Duration};

use packager::sign::Timestamper;
use url::Url;

/// How long an authority may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Authorities are often busy.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// An authority at an address.
#[derive(Debug)]
pub(super) struct Authority {
    url: Url,
    client: OnceLock<reqwest::Client>,
}

impl Authority {
    pub(super) fn new(url: Url) -> Self {
        Self { url, client: OnceLock::new() }
    }

    fn client(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Installed at most once; a second call finds the same provider there.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(self.client.get_or_init(|| client))
    }

    async fn ask(&self, request: &[u8]) -> Result<Vec<u8>, reqwest::Error> {
        let post = self.client()?.post(self.url.clone());
        let post = post.header("Content-Type", "application/timestamp-query");
        let answer = post.body(request.to_vec()).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }

    async fn insist(&self, request: &[u8]) -> Result<Vec<u8>, reqwest::Error> {
        for _ in 1..TRIES {
            match self.ask(request).await {
                Err(error) if is_passing(&error) => tokio::time::sleep(PAUSE).await,
                result => return result,
            }
        }
        self.ask(request).await
    }
}

/// Whether it may go better the next time.
fn is_passing(error: &reqwest::Error) -> bool {
    error.is_timeout() || error.status().is_some_and(|status| status.is_server_error())
}

impl Timestamper for Authority {
    fn timestamp(&self, request: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(self.insist(request))?)
    }
}

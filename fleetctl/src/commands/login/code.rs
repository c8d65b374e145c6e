//! Signing in with a code that is approved in a browser (RFC 8628).

use std::time::Duration;

use url::Url;
use wire::{
    api::{DeviceCode, DeviceCodeRequest, DeviceTokenRequest, SessionTokens},
    settings::endpoint,
};

use crate::{client::Client, config::has_display, exit::Stop, session::Session};

/// How much longer to wait between two questions, when told that they come too fast.
const SLOWER: Duration = Duration::from_secs(5);

/// Shows a code, opens the page for it if there is a browser, and waits until it is approved.
pub(super) async fn sign_in(
    session: &Session,
    client: &mut Client,
    server: &Url,
    with_browser: bool,
) -> anyhow::Result<SessionTokens> {
    let request = DeviceCodeRequest { client: format!("fleetctl {}", wire::VERSION) };
    let codes: DeviceCode = client.create("/auth/device/code", &request).await?;
    // The address is the one that was asked for, not one that the reply names.
    let page = endpoint(server, "/auth/device");
    session.shell.note(format!("open {page} and approve the code {}", codes.user_code));
    if with_browser && has_display() {
        let mut page = page;
        page.query_pairs_mut().append_pair("user_code", &codes.user_code);
        if let Err(error) = opener::open(page.as_str()) {
            session.shell.verbose(format!("could not open a browser: {error}"));
        }
    }
    wait(client, codes).await
}

async fn wait(client: &mut Client, codes: DeviceCode) -> anyhow::Result<SessionTokens> {
    let mut pause = Duration::from_secs(codes.interval);
    let request = DeviceTokenRequest { device_code: codes.device_code };
    loop {
        tokio::time::sleep(pause).await;
        let problem = match client.attempt("/auth/device/token", &request).await? {
            Ok(tokens) => return Ok(tokens),
            Err(problem) => problem,
        };
        match problem.error.as_deref() {
            Some("authorization_pending") => {}
            Some("slow_down") => pause += SLOWER,
            _ => {
                let help = "`fleetctl login` shows another code";
                return Err(Stop::unauthenticated(problem.title, help).into());
            }
        }
    }
}

//! Programs from the repository of the server that the package is for, where nobody names another.
//!
//! Whom to trust there has to come by a way that can be trusted: over the connection of somebody who
//! is signed in, to a server whose certificate is checked. What it publishes is not believed for
//! that; the root metadata is, once, as the server is believed about everything else that a package
//! tells an agent.

use anyhow::Context as _;
use update::repository::{check_next_root, check_root};
use url::{Host, Url};
use wire::settings::{endpoint, server_url};

use super::args::PackageArgs;
use crate::{client::Client, exit::Stop, session::Session};

/// The most roots that are followed: as many as readers follow.
const MAX_ROOTS: u32 = 1024;

/// Fills in `--update-url`, and `--update-roots` from where the user is signed in.
pub(super) fn fill_in(args: &mut PackageArgs, session: &Session) -> anyhow::Result<()> {
    let update = &mut args.update;
    if update.components.is_some() || update.update_url.is_some() {
        return Ok(());
    }
    let server = args.server.fleet_url.as_deref().and_then(|it| server_url(it).ok());
    let Some(server) = server else { return Ok(()) };
    if update.update_roots.is_none() {
        let client =
            if is_private(&server) && !update.offline { session.client_of(&server)? } else { None };
        let Some(mut client) = client else { return Ok(()) };
        update.update_roots = Some(session.wait(newest_root(&mut client, &server))?);
    }
    update.update_url = Some(endpoint(&server, wire::updates::PREFIX).into());
    update.of_the_server = true;
    Ok(())
}

/// Whether nobody on the way can answer in the server's place.
fn is_private(server: &Url) -> bool {
    let is_here = match server.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    server.scheme() == "https" || is_here
}

/// The newest root metadata that follows from the server's first.
async fn newest_root(client: &mut Client, server: &Url) -> anyhow::Result<String> {
    let from = endpoint(server, wire::updates::PREFIX);
    let mut newest: Option<Vec<u8>> = None;
    for version in 1..=MAX_ROOTS {
        let name = format!("{}/{version}.root.json", wire::updates::PREFIX);
        let Some(bytes) = client.file(&name).await? else { break };
        let followed = match &newest {
            None => check_root(&bytes),
            Some(before) => check_next_root(before, &bytes),
        };
        followed.with_context(|| format!("could not trust `{from}/{version}.root.json`"))?;
        newest = Some(bytes);
    }
    let help =
        "set `updates.dir` of the server, or give --update-url and --update-roots, or --components";
    let newest = newest
        .ok_or_else(|| Stop::failed(format!("`{from}` has no repository of updates"), help))?;
    String::from_utf8(newest).context("root metadata is no text")
}

//! A certificate authority as organizations have them: its certificates name where it tells what it
//! has revoked. Windows asks there before it trusts one, and wine trusts none without.

use std::fs;

use anyhow::Context as _;

use super::surroundings::NAME;
use crate::{deployment::Desk, process::Daemon};

/// Its certificate, in the desk's folder, where [`Deployment`](crate::deployment::Deployment) has it.
pub(super) const CERTIFICATE: &str = "tls/ca.pem";

const CONFIG: &str = include_str!("authority.cnf");

/// What it has revoked, served to everybody.
#[derive(Debug)]
pub(super) struct Authority {
    _lists: Daemon,
}

impl Authority {
    /// Makes an authority and, in `tls`, a certificate for a server that is called [`NAME`] or is on
    /// this machine.
    pub(super) fn new(desk: &Desk) -> anyhow::Result<Self> {
        desk.run("mkdir tls lists")?;
        let line = "python3 -u -m http.server 0 --bind 127.0.0.1 --directory lists";
        let lists = desk.start("lists", line)?;
        let url = lists.wait_for("its address", |log| {
            let (_, rest) = log.split_once("(http://")?;
            let (address, _) = rest.split_once("/)")?;
            Some(format!("http://{address}"))
        })?;
        let hosts = format!("DNS:{NAME}, DNS:localhost, IP:127.0.0.1");
        let config = CONFIG.replace("HOSTS", &hosts).replace("LISTS", &url);
        fs::write(desk.dir.join("tls/authority.cnf"), config)
            .context("could not write openssl's configuration")?;
        // RSA: wine 8 has called an ECDSA signature wrong that openssl had made, one in many.
        let key = "-config authority.cnf -newkey rsa:2048 -nodes";
        desk.run(&format!(
            "cd tls && : > index.txt \
             && openssl req -x509 {key} -keyout ca.key -out ca.pem -days 30 \
             && openssl req {key} -keyout server.key -out server.csr -subj /CN={NAME} \
             && openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                -extfile authority.cnf -extensions server -days 30 -out server.pem \
             && openssl ca -config authority.cnf -gencrl -cert ca.pem -keyfile ca.key -out list.pem \
             && openssl crl -in list.pem -outform DER -out ../lists/revoked.crl"
        ))
        .context("could not make a certificate authority")?;
        Ok(Self { _lists: lists })
    }
}

//! A relay to a server that counts what passes.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::Context as _;

use crate::bench::traffic::{Passed, Traffic};

#[derive(Debug)]
pub(super) struct Meter {
    pub(super) port: u16,
    traffic: Arc<Traffic>,
}

impl Meter {
    /// Relays to `server`, a port of this machine, until the program ends.
    pub(super) fn start(server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not listen")?;
        let port = listener.local_addr().context("could not listen")?.port();
        let traffic = Arc::new(Traffic::default());
        let of_thread = Arc::clone(&traffic);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                of_thread.connected();
                // Whom nobody answers goes away and tries again.
                let _ = relay(client, server, &of_thread);
            }
        });
        Ok(Self { port, traffic })
    }

    /// What has passed since the last call.
    pub(super) fn take(&self) -> Passed {
        self.traffic.take()
    }
}

fn relay(client: TcpStream, server: u16, traffic: &Arc<Traffic>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let traffic = Arc::clone(traffic);
        thread::spawn(move || copy(from, to, &traffic));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, traffic: &Traffic) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer)
        && to.write_all(&buffer[..read]).is_ok()
    {
        traffic.passed(read);
    }
    let _gone = to.shutdown(Shutdown::Write);
}

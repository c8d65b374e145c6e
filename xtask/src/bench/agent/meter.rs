//! A relay to a server that counts what passes.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Context as _;

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    bytes: AtomicU64,
}

/// New connections, and bytes in both directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) connections: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Meter {
    pub(super) port: u16,
    counters: Arc<Counters>,
}

impl Meter {
    /// Relays to `server`, a port of this machine, until the program ends.
    pub(super) fn start(server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not listen")?;
        let port = listener.local_addr().context("could not listen")?.port();
        let counters = Arc::new(Counters::default());
        let of_thread = Arc::clone(&counters);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                of_thread.connections.fetch_add(1, Ordering::Relaxed);
                // Whom nobody answers goes away and tries again.
                let _ = relay(client, server, &of_thread);
            }
        });
        Ok(Self { port, counters })
    }

    /// What has passed since the last call.
    pub(super) fn take(&self) -> Passed {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Counters { connections, bytes } = &*self.counters;
        Passed { connections: take(connections), bytes: take(bytes) }
    }
}

fn relay(client: TcpStream, server: u16, counters: &Arc<Counters>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let counters = Arc::clone(counters);
        thread::spawn(move || copy(from, to, &counters));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, counters: &Counters) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer)
        && to.write_all(&buffer[..read]).is_ok()
    {
        counters.bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
    let _gone = to.shutdown(Shutdown::Write);
}

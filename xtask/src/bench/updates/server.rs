//! A server of a folder, for one client after the other, that counts what passes.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use serde::Serialize;

/// What has passed since somebody asked.
#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Connections, requests, and bytes that were sent, heads included.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Passed {
    pub(super) connections: u64,
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: String,
    counters: Arc<Counters>,
}

impl Server {
    /// Serves until the program ends.
    pub(super) fn start(folder: PathBuf) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("could not listen")?;
        let address = listener.local_addr().context("could not listen")?;
        let counters = Arc::new(Counters::default());
        let of_thread = Arc::clone(&counters);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_thread.connections.fetch_add(1, Ordering::Relaxed);
                let (folder, counters) = (folder.clone(), Arc::clone(&of_thread));
                // Whoever goes away ends the connection.
                thread::spawn(move || serve(&stream, &folder, &counters).ok());
            }
        });
        Ok(Self { url: format!("http://{address}"), counters })
    }

    /// What has passed since the last call.
    pub(super) fn take(&self) -> Passed {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Counters { connections, requests, bytes } = &*self.counters;
        Passed { connections: take(connections), requests: take(requests), bytes: take(bytes) }
    }
}

fn serve(
    mut stream: &TcpStream,
    folder: &std::path::Path,
    counters: &Counters,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while line.trim() != "" || line.is_empty() {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let (status, body) = match fs::read(folder.join(path)) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), &body].concat();
        counters.requests.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(answer.len() as u64, Ordering::Relaxed);
        stream.write_all(&answer)?;
    }
}

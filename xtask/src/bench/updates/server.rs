//! A server of a folder, for one client after the other, that counts what passes.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
};

use anyhow::Context as _;

use crate::bench::traffic::{Passed, Traffic};

#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: String,
    traffic: Arc<Traffic>,
}

impl Server {
    /// Serves until the program ends.
    pub(super) fn start(folder: PathBuf) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("could not listen")?;
        let address = listener.local_addr().context("could not listen")?;
        let traffic = Arc::new(Traffic::default());
        let of_thread = Arc::clone(&traffic);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_thread.connected();
                let (folder, traffic) = (folder.clone(), Arc::clone(&of_thread));
                // Whoever goes away ends the connection.
                thread::spawn(move || serve(&stream, &folder, &traffic).ok());
            }
        });
        Ok(Self { url: format!("http://{address}"), traffic })
    }

    /// What has passed since the last call.
    pub(super) fn take(&self) -> Passed {
        self.traffic.take()
    }
}

fn serve(
    mut stream: &TcpStream,
    folder: &std::path::Path,
    traffic: &Traffic,
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
        traffic.requested();
        traffic.passed(answer.len());
        stream.write_all(&answer)?;
    }
}

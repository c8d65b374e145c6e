//! What a look costs that finds nothing new: counted between a reader and its server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    fixture::{Fixture, now},
    server::Server,
};

/// What has passed.
#[derive(Debug, Default)]
struct Passed {
    connections: AtomicU64,
    received: AtomicU64,
}

impl Passed {
    fn take(&self) -> (u64, u64) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::SeqCst);
        (take(&self.connections), take(&self.received))
    }
}

/// Passes on to `server` what comes at the address that it gives.
async fn between(server: &Server) -> (String, Arc<Passed>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let to = server.url().trim_start_matches("http://").to_owned();
    let passed = Arc::new(Passed::default());
    let counts = Arc::clone(&passed);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            counts.connections.fetch_add(1, Ordering::SeqCst);
            let (up, down) = TcpStream::connect(&to).await.unwrap().into_split();
            let (from, back) = client.into_split();
            tokio::spawn(pass_on(from, down, None));
            tokio::spawn(pass_on(up, back, Some(Arc::clone(&counts))));
        }
    });
    (url, passed)
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counts: Option<Arc<Passed>>,
) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if let Some(counts) = &counts {
            counts.received.fetch_add(length as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn a_look_with_nothing_new_is_two_requests_on_one_connection_and_a_few_hundred_bytes() {
    let fixture = Fixture::with_orbit().await;
    let server = Server::start(fixture.editor.repository_dir()).await;
    let (url, passed) = between(&server).await;
    let mut reader = fixture.reader(url.parse().unwrap());
    reader.refresh(now()).await.unwrap();
    let (connections, _) = passed.take();
    assert_eq!(connections, 1);
    for _ in 0..2 {
        server.take_requests();
        reader.refresh(now()).await.unwrap();
        assert_eq!(server.take_requests(), ["2.root.json", "timestamp.json"]);
        let (connections, received) = passed.take();
        assert_eq!(connections, 0, "the connection stays open");
        assert!((1..=600).contains(&received), "{received} bytes, heads included");
    }
    // Whoever has begun anew has no entity tag yet, and a timestamp is less than 500 bytes.
    let mut reader = fixture.reader(url.parse().unwrap());
    server.take_requests();
    reader.refresh(now()).await.unwrap();
    assert_eq!(server.take_requests(), ["2.root.json", "timestamp.json"]);
    let (connections, received) = passed.take();
    assert_eq!(connections, 1);
    let timestamp = fixture.editor.repository_dir().join("timestamp.json");
    let body = timestamp.metadata().unwrap().len();
    assert!(body <= 500 && received <= body + 300, "{received} bytes for {body}");
}

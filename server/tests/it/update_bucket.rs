//! The repository of updates in a bucket, for whoever asks the server. The bucket is SeaweedFS's, and
//! opens to nobody without keys.

use rusty_s3::{Credentials, actions::PutObject};
use server::config::{Secret, updates::Bucket};

use crate::{
    harness::{Engine, Reply, TestServer, runtime},
    seaweedfs::{KEY, Service, bucket, send},
};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn put(url: &str, name: &str, content: &'static [u8]) {
    let (bucket, name) = (bucket(url, "closed"), format!("fleet/{name}"));
    let keys = Credentials::new(KEY.0, KEY.1);
    send(&PutObject::new(&bucket, Some(&keys), &name), |client, url| client.put(url).body(content));
}

/// A server that reads a bucket at `url` with this secret.
async fn serving(url: &str, secret: &str) -> TestServer {
    let start = TestServer::start_with(Engine::Sqlite, |config| {
        config.updates.bucket = Some(Bucket {
            address: "s3://closed/fleet/".to_owned(),
            endpoint: Some(url.to_owned()),
            region: "us-east-1".to_owned(),
            access_key_id: Some(Secret::new(KEY.0)),
            secret_access_key: Some(Secret::new(secret)),
        });
    });
    start.await
}

fn shows_nothing(reply: &Reply, url: &str) {
    let said = format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.body));
    let secrets = [KEY.1, "hunter2", "X-Amz", "x-amz", "closed", url.trim_start_matches("http://")];
    for secret in secrets {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_bucket_is_read_for_those_who_cannot_open_it() {
    let service = Service::start("closed");
    let target = format!("targets/orbit/linux/stable/{HASH}.orbit");
    for (name, content) in [
        ("timestamp.json", &b"{\"signed\": 1}"[..]),
        ("1.root.json", b"{}"),
        (&target, b"0123456789"),
        ("notes.txt", b"x"),
        ("keys/root.json", b"x"),
    ] {
        put(&service.url, name, content);
    }
    runtime().block_on(async {
        let server = serving(&service.url, KEY.1).await;
        let first = server.get("/updates/timestamp.json").await;
        assert_eq!(first.expect(200).body, b"{\"signed\": 1}");
        assert_eq!(first.header("cache-control"), Some("no-cache"));
        assert_eq!(first.header("content-type"), Some("application/json"));
        shows_nothing(&first, &service.url);
        let tag = first.header("etag").unwrap();
        let ask = || server.get("/updates/timestamp.json").header("if-none-match", tag);
        let again = ask().await;
        again.expect(304);
        assert_eq!((again.body.len(), again.header("cache-control")), (0, Some("no-cache")));
        put(&service.url, "timestamp.json", b"{\"signed\": 22}");
        assert_eq!(ask().await.expect(200).body, b"{\"signed\": 22}");
        // What was begun may be another file by now.
        let part = server.get("/updates/timestamp.json").header("range", "bytes=4-");
        assert_eq!(part.header("if-range", tag).await.expect(200).body, b"{\"signed\": 22}");

        let target = format!("/updates/{target}");
        let whole = server.get(&target).await;
        assert_eq!(whole.expect(200).body, b"0123456789");
        assert_eq!(whole.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let tag = whole.header("etag").unwrap();
        let part = server.get(&target).header("range", "bytes=4-").header("if-range", tag).await;
        assert_eq!(part.expect(206).body, b"456789");
        assert_eq!(part.header("content-range"), Some("bytes 4-9/10"));
        let none = server.get(&target).header("range", "bytes=10-").await;
        assert_eq!(none.expect(416).header("cache-control"), Some("no-store"));
        shows_nothing(&none, &service.url);
        let head = server.call("HEAD", &target).await;
        assert_eq!((head.expect(200).body.len(), head.header("content-length")), (0, Some("10")));

        for path in [
            "2.root.json",
            "notes.txt",
            "keys/root.json",
            "targets/",
            "targets/%2e%2e/timestamp.json",
        ] {
            let reply = server.get(&format!("/updates/{path}")).await;
            reply.expect(404).problem("not-found");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
            shows_nothing(&reply, &service.url);
        }

        // Keys that do not open it are the operator's matter, as is a bucket that does not answer.
        let stranger = serving(&service.url, "hunter2").await;
        let refused = stranger.get("/updates/timestamp.json").await;
        refused.expect(500).problem("internal");
        shows_nothing(&refused, &service.url);
        let (url, _) = (service.url.clone(), drop(service));
        let silent = server.get("/updates/timestamp.json").await;
        silent.expect(500).problem("internal");
        shows_nothing(&silent, &url);
    });
}

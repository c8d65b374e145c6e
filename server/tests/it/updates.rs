//! The repository of updates below `/updates`, for whoever asks.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use crate::harness::{Call, Engine, TestServer, runtime};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn serving(test: impl AsyncFnOnce(TestServer, &Utf8Path, &str)) {
    runtime().block_on(async {
        let outside = tempfile::tempdir().unwrap();
        let outside = Utf8Path::from_path(outside.path()).unwrap();
        let dir = outside.join("repository");
        let target = format!("targets/orbit/linux/stable/{HASH}.orbit");
        for (name, content) in [
            ("repository/timestamp.json", "{\"signed\": 1}"),
            ("repository/1.root.json", "{}"),
            (&format!("repository/{target}"), "0123456789"),
            ("repository/.lock", ""),
            ("repository/notes.txt", "x"),
            ("secret.json", "not for you"),
        ] {
            let path = outside.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let server = TestServer::start_with(Engine::Sqlite, |config| {
            config.updates.dir = Some(dir.clone());
        });
        test(server.await, &dir, &format!("/updates/{target}")).await;
    });
}

#[test]
fn a_timestamp_is_asked_for_each_time_and_costs_nothing_while_it_is_the_same() {
    serving(async |server, dir, _| {
        let first = server.get("/updates/timestamp.json").await;
        first.expect(200);
        assert_eq!(first.header("cache-control"), Some("no-cache"));
        assert_eq!(first.header("content-type"), Some("application/json"));
        assert_eq!(first.header("x-content-type-options"), Some("nosniff"));
        let tag = first.header("etag").unwrap();
        let ask = || server.get("/updates/timestamp.json").header("if-none-match", tag);
        let again = ask().await;
        again.expect(304);
        assert_eq!((again.body.len(), again.header("cache-control")), (0, Some("no-cache")));
        fs::write(dir.join("timestamp.json"), "{\"signed\": 22}").unwrap();
        assert_eq!(ask().await.expect(200).body, b"{\"signed\": 22}");
    });
}

#[test]
fn what_never_changes_is_kept_and_comes_in_parts() {
    serving(async |server, _, target| {
        let whole = server.get(target).await;
        assert_eq!(whole.expect(200).body, b"0123456789");
        assert_eq!(whole.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let part = server.get(target).header("range", "bytes=4-").await;
        assert_eq!(part.expect(206).body, b"456789");
        assert_eq!(part.header("content-range"), Some("bytes 4-9/10"));
        let none = server.get(target).header("range", "bytes=10-").await;
        assert_eq!(none.expect(416).header("cache-control"), Some("no-store"));
        let head = server.call("HEAD", target).await;
        assert_eq!((head.expect(200).body.len(), head.header("content-length")), (0, Some("10")));
        let root = server.get("/updates/1.root.json").await;
        assert!(root.expect(200).header("cache-control").unwrap().contains("immutable"));
        server.post(target).await.expect(405).problem("method-not-allowed");
    });
}

#[test]
fn nothing_else_is_handed_out() {
    serving(async |server, dir, target| {
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, dir.join(name)).unwrap();
        };
        link("../secret.json", "2.root.json");
        link("../../", "targets/out");
        for path in [
            "",
            "/",
            "/targets",
            "/targets/",
            "/.lock",
            "/notes.txt",
            "/2.root.json",
            "/targets/out/secret.json",
            "/../secret.json",
            "/%2e%2e/secret.json",
            "/targets/..%2f..%2fsecret.json",
            "/targets/%00",
            "/%ff.json",
            "/none.json",
        ] {
            let reply = server.get(&format!("/updates{path}")).await;
            reply.expect(404).problem("not-found");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        }
        // A folder that is exchanged as a whole is one.
        let moved = Utf8PathBuf::from(format!("{dir}-2"));
        fs::rename(dir, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, dir).unwrap();
        server.get(target).await.expect(200);
        let plain = |call: Call| call.from("203.0.113.7");
        plain(server.get(target)).await.expect(200);
    });
}

#[test]
fn without_a_folder_there_is_nothing() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Sqlite).await;
        server.get("/updates/timestamp.json").await.expect(404).problem("not-found");
    });
}

//! Publishing to buckets: to somebody else's server, and to one that does not go along.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use camino::Utf8Path;
use jiff::Timestamp;
use update::{Connection, Location, Repository, RepositoryConfig};

use crate::{
    run::Home,
    updates::{ADD, with_passphrases},
};

mod broken_off;
mod packages;
mod seaweedfs;

use self::seaweedfs::Service;

/// A repository with orbit 1.2.3, and what opens s3rver's bucket.
fn publisher(secret: &str) -> Home {
    let home = with_passphrases()
        .with("AWS_ACCESS_KEY_ID", "publisher")
        .with("AWS_SECRET_ACCESS_KEY", secret);
    home.write("orbit", "#!/bin/sh\necho orbit\n".repeat(200));
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    home.fleetctl([&ADD[..], &["--tag", "stable"]].concat()).ok();
    home
}

fn publish(home: &Home, endpoint: &str, more: &[&str]) -> crate::run::Ended {
    let to = ["updates", "publish", "--path", "tuf", "s3://updates/fleet", "--endpoint", endpoint];
    home.fleetctl([&to[..], &["-o", "json"], more].concat())
}

/// The stable version, as a reader has it who trusts the first root and was never here.
fn read(home: &Home, url: &str) -> String {
    let cache = tempfile::tempdir().unwrap();
    let config = RepositoryConfig {
        location: format!("{url}/updates/fleet").parse::<Location>().unwrap(),
        pinned_root: fs::read(home.path("tuf/repository/1.root.json")).unwrap(),
        cache_dir: Utf8Path::from_path(cache.path()).unwrap().to_owned(),
        connection: Connection::default(),
        offline: false,
    };
    #[expect(clippy::disallowed_methods, reason = "the program under test has this clock, too")]
    let now = Timestamp::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime.block_on(async {
        let mut repository = Repository::open(config).unwrap();
        repository.refresh(now).await.unwrap();
        let name = "orbit/linux/stable/orbit".parse().unwrap();
        repository.fetch(&[name], now, &|_| ()).await.unwrap()[0].version.clone()
    })
}

#[test]
fn a_bucket_is_filled_in_order_and_brought_up_to_date() {
    let service = Service::start("updates");
    let home = publisher("correct horse");
    let told = publish(&home, &service.url, &["--dry-run"]).ok();
    let files: Vec<String> = serde_json::from_str(&publish(&home, &service.url, &[]).ok()).unwrap();
    assert_eq!(serde_json::from_str::<Vec<String>>(&told).unwrap(), files);
    let is_target = |name: &&String| name.starts_with("targets/");
    let targets = files.iter().take_while(is_target).count();
    assert_eq!(targets, files.iter().filter(is_target).count(), "{files:?}");
    let metadata = ["1.snapshot.json", "1.targets.json", "2.snapshot.json", "2.targets.json"];
    assert_eq!(files[targets..], [&metadata[..], &["1.root.json", "timestamp.json"]].concat());
    assert_eq!(read(&home, &service.url), "1.2.3");

    assert_eq!(publish(&home, &service.url, &[]).ok().trim(), "[]", "there is nothing to do");
    home.write("orbit", "#!/bin/sh\necho orbit, the second\n");
    let add = ADD.map(|it| if it == "1.2.3" { "1.3.0" } else { it });
    home.fleetctl([&add[..], &["--tag", "stable"]].concat()).ok();
    let files: Vec<String> = serde_json::from_str(&publish(&home, &service.url, &[]).ok()).unwrap();
    assert_eq!((files.len(), files.last().unwrap().as_str()), (5, "timestamp.json"), "{files:?}");
    assert_eq!(read(&home, &service.url), "1.3.0");

    let other = publisher("correct horse");
    let said = publish(&other, &service.url, &[]).fails(2);
    assert!(said.contains("`s3://updates/fleet` is a copy of another repository"), "{said}");
}

#[test]
fn a_bucket_that_does_not_open_is_told_without_what_opens_it() {
    let service = Service::start("updates");
    let home = publisher("hunter2");
    let said = publish(&home, &service.url, &[]).fails(1);
    assert!(said.contains("could not look into `s3://updates/fleet`"), "{said}");
    assert!(said.contains("403 Forbidden: SignatureDoesNotMatch"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("X-Amz"), "{said}");
    let home = with_passphrases();
    home.fleetctl(["updates", "init", "--path", "tuf"]).ok();
    let said = publish(&home, &service.url, &[]).fails(2);
    assert!(said.contains("AWS_ACCESS_KEY_ID"), "{said}");
}

/// A bucket in which somebody else publishes while we look.
async fn contested(State(seen): State<Arc<Mutex<Vec<String>>>>, request: Request) -> Response {
    if request.method() != Method::PUT {
        let list = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                    <Name>updates</Name></ListBucketResult>";
        return list.into_response();
    }
    let (request, body) = request.into_parts();
    // Whoever is answered before all is sent may lose the answer.
    axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let name = request.uri.path().rsplit_once('/').unwrap().1.to_owned();
    let header = |name| request.headers.get(name).map(|it| it.to_str().unwrap().to_owned());
    let condition = header(header::IF_NONE_MATCH);
    let caching = header(header::CACHE_CONTROL).unwrap();
    seen.lock().unwrap().push(format!("{name} {} {caching}", condition.as_deref().unwrap_or("-")));
    let is_decisive = ["timestamp.json", "fleetctl.json"].contains(&name.as_str());
    if is_decisive { StatusCode::PRECONDITION_FAILED } else { StatusCode::OK }.into_response()
}

/// What `publish` says when it is told the address of such a bucket, and what it wrote there: names,
/// conditions, and how long readers may keep them.
fn contest(publish: impl FnOnce(&str) -> crate::run::Ended) -> (String, Vec<String>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let app = Router::new().fallback(contested).with_state(Arc::clone(&seen));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async { axum::serve(listener, app).await.unwrap() });
    let said = publish(&url).fails(1);
    let seen = seen.lock().unwrap().clone();
    (said, seen)
}

fn is_kept(line: &str) -> bool {
    line.ends_with(" public, max-age=31536000, immutable")
}

#[test]
fn what_somebody_else_has_published_meanwhile_is_not_replaced() {
    let (said, seen) = contest(|url| publish(&publisher("correct horse"), url, &[]));
    assert!(said.contains("timestamp.json`: somebody else has written it meanwhile"), "{said}");
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(last, "timestamp.json * no-cache");
    assert!(before.iter().all(|line| is_kept(line)), "{before:?}");
    let metadata: Vec<_> = before.iter().filter(|line| line.contains(".json ")).collect();
    assert!(metadata.iter().all(|line| line.contains(".json * ")), "{metadata:?}");
}

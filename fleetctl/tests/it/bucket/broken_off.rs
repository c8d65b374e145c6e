//! A bucket that stops answering well at any of the writes of a publication.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::{publish, publisher, read};
use crate::updates::ADD;

type Objects = BTreeMap<String, Vec<u8>>;

/// What is in the bucket `updates`, and how many writes it has seen.
#[derive(Default)]
struct Store {
    objects: Objects,
    writes: usize,
    breaks: Option<Break>,
}

/// This write is answered with a failure, and so are all after it.
#[derive(Clone, Copy)]
struct Break {
    at: usize,
    /// Whether the first of them is done all the same.
    is_done: bool,
}

impl Store {
    fn get(&self, path: &str, query: &str) -> Response {
        let key = path.trim_start_matches("/updates/");
        if query.contains("list-type=2") {
            let listed = self.objects.iter().map(|(key, content)| {
                let length = content.len();
                format!("<Contents><Key>{key}</Key><Size>{length}</Size></Contents>")
            });
            let listed: String = listed.collect();
            let space = "http://s3.amazonaws.com/doc/2006-03-01/";
            return format!("<ListBucketResult xmlns=\"{space}\">{listed}</ListBucketResult>")
                .into_response();
        }
        match self.objects.get(key) {
            Some(content) => ([(header::ETAG, tag(content))], content.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn put(&mut self, path: &str, headers: &HeaderMap, content: Vec<u8>) -> StatusCode {
        let number = self.writes;
        self.writes += 1;
        let broken = self.breaks.filter(|it| number >= it.at);
        if broken.is_some_and(|it| number > it.at || !it.is_done) {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        let key = path.trim_start_matches("/updates/");
        let there = self.objects.get(key).map(|it| tag(it));
        let demanded = headers.get(header::IF_MATCH).map(|it| it.to_str().unwrap());
        let must_be_absent = headers.contains_key(header::IF_NONE_MATCH);
        if (must_be_absent && there.is_some())
            || demanded.is_some_and(|it| there.as_deref() != Some(it))
        {
            return StatusCode::PRECONDITION_FAILED;
        }
        self.objects.insert(key.to_owned(), content);
        if broken.is_some() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    }
}

fn tag(content: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Sha256::digest(content)))
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let content = to_bytes(body, usize::MAX).await.unwrap();
    let mut store = store.lock().unwrap();
    match head.method {
        Method::PUT => store.put(head.uri.path(), &head.headers, content.into()).into_response(),
        _ => store.get(head.uri.path(), head.uri.query().unwrap_or_default()),
    }
}

struct Bucket {
    url: String,
    store: Arc<Mutex<Store>>,
    _runtime: tokio::runtime::Runtime,
}

impl Bucket {
    fn start() -> Self {
        let store = Arc::<Mutex<Store>>::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&store));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { url, store, _runtime: runtime }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn begin_with(&self, objects: &Objects, breaks: Option<Break>) {
        *self.store() = Store { objects: objects.clone(), writes: 0, breaks };
    }
}

#[test]
fn a_publication_that_is_broken_off_anywhere_is_before_or_after_and_goes_on() {
    let (bucket, home) = (Bucket::start(), publisher("correct horse"));
    publish(&home, &bucket.url, &[]).ok();
    let before = bucket.store().objects.clone();
    assert_eq!(read(&home, &bucket.url), "1.2.3");
    home.write("orbit", "#!/bin/sh\necho orbit, the second\n");
    let add = ADD.map(|it| if it == "1.2.3" { "1.3.0" } else { it });
    home.fleetctl([&add[..], &["--tag", "stable"]].concat()).ok();
    bucket.begin_with(&before, None);
    publish(&home, &bucket.url, &[]).ok();
    let writes = bucket.store().writes;
    assert_eq!(writes, 5, "two targets, their metadata, the snapshot, the timestamp");
    for at in 0..writes {
        for is_done in [false, true] {
            bucket.begin_with(&before, Some(Break { at, is_done }));
            publish(&home, &bucket.url, &[]).fails(1);
            let is_last = at + 1 == writes;
            let seen = if is_last && is_done { "1.3.0" } else { "1.2.3" };
            assert_eq!(read(&home, &bucket.url), seen, "write {at}, done: {is_done}");
            bucket.store().breaks = None;
            publish(&home, &bucket.url, &[]).ok();
            assert_eq!(read(&home, &bucket.url), "1.3.0", "write {at}, done: {is_done}");
        }
    }
}

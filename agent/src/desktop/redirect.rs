//! Brings a browser to an address with a secret in it, which must not be seen in the arguments of
//! the programs that open browsers: they get an address on this machine that works once, and that
//! leads on.
//!
//! A file with a redirection would do too, but browsers that are confined (Snap, Flatpak) cannot
//! read it.

use std::{convert::Infallible, io, net::Ipv4Addr, time::Duration};

use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode, body::Bytes, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify, time};
use url::Url;
use uuid::Uuid;

/// How long a browser may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address on this machine that leads to another, once.
#[derive(Debug)]
pub struct Redirect {
    listener: TcpListener,
    /// Nobody guesses it.
    path: String,
    target: Url,
}

impl Redirect {
    /// Listens for a browser that is to be led to `target`. Needs a tokio runtime.
    pub async fn to(target: Url) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self { listener, path: format!("/{}", Uuid::new_v4()), target })
    }

    /// What the browser is to open.
    pub fn url(&self) -> io::Result<Url> {
        let address = format!("http://{}{}", self.listener.local_addr()?, self.path);
        Url::parse(&address).map_err(io::Error::other)
    }

    /// Waits for the browser and leads it on. Tells whether one came in time.
    pub async fn serve(self) -> bool {
        time::timeout(PATIENCE, self.lead_one()).await.is_ok()
    }

    async fn lead_one(self) {
        let led = Notify::new();
        loop {
            let Ok((stream, _)) = self.listener.accept().await else { continue };
            let service = service_fn(|request: Request<Incoming>| {
                let fits = request.uri().path() == self.path;
                if fits {
                    led.notify_one();
                }
                let answer = self.answer(fits);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            // A browser that only connects ahead must not keep the one that asks from being heard.
            let connection =
                builder.keep_alive(false).serve_connection(TokioIo::new(stream), service);
            let _ = time::timeout(Duration::from_secs(2), connection).await;
            if time::timeout(Duration::ZERO, led.notified()).await.is_ok() {
                return;
            }
        }
    }

    fn answer(&self, fits: bool) -> Response<Empty<Bytes>> {
        let answer = if fits {
            Response::builder()
                .status(StatusCode::SEE_OTHER)
                .header(header::LOCATION, self.target.as_str())
                .header(header::REFERRER_POLICY, "no-referrer")
                .header(header::CACHE_CONTROL, "no-store")
        } else {
            Response::builder().status(StatusCode::NOT_FOUND)
        };
        answer.body(Empty::new()).expect("an address is a header's value")
    }
}

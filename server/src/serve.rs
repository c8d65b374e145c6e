//! Binding, and a graceful stop.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum_server::{
    Address, Handle, Server,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;

use crate::{
    Fleet, app,
    tls::{Certified, TlsError, read_tls},
};

/// How often what ended long ago is deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// How often leases of requests are, of which strangers make many.
const SWEEP_LEASES_EVERY: Duration = Duration::from_secs(60);

/// How often the files for TLS are read, unless somebody says otherwise.
const READ_TLS_EVERY: Duration = Duration::from_secs(60);

/// How many requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 100;

/// Why the server could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    #[error("could not listen on `{address}`")]
    Bind { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("could not go on serving")]
    Serve(#[source] io::Error),
}

/// A server that has its port, and its certificate if it has one.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
    read_tls_every: Duration,
    fleet: Fleet,
}

impl Bound {
    /// Takes the port and reads the certificate that the configuration names.
    pub fn new(fleet: Fleet) -> Result<Self, ServeError> {
        let config = fleet.config();
        let tls = config.tls.as_ref().map(read_tls).transpose()?.map(RustlsConfig::from_config);
        let wanted = config.listen.address;
        let bind = || {
            let listener = TcpListener::bind(wanted)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) =
            bind().map_err(|source| ServeError::Bind { address: wanted, source })?;
        Ok(Self { listener, address, tls, read_tls_every: READ_TLS_EVERY, fleet })
    }

    /// Reads the files for TLS again this often, instead of once a minute.
    #[must_use]
    pub fn reading_tls_every(self, read_tls_every: Duration) -> Self {
        Self { read_tls_every, ..self }
    }

    /// Where it listens, e.g. `https://127.0.0.1:8443`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `stop` is done; then open requests may end, for a while.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let Self { listener, tls, read_tls_every, fleet, .. } = self;
        let handle = Handle::new();
        let patience = fleet.config().limits.shutdown_timeout.as_duration();
        let (stopping, connected) = (handle.clone(), fleet.clone());
        tokio::spawn(async move {
            stop.await;
            connected.end_connections();
            stopping.graceful_shutdown(Some(patience));
        });
        let read_again = |tls| tokio::spawn(read_again(fleet.clone(), tls, read_tls_every));
        let reader = tls.clone().map(read_again);
        let sweeper = tokio::spawn(sweep(fleet.clone()));
        let postman = tokio::spawn(send_mail(fleet.clone()));
        let service = app(fleet.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let headers = fleet.config().limits.header_timeout.as_duration();
        let served = match tls {
            Some(tls) => {
                let acceptor = Certified(RustlsAcceptor::new(tls));
                let mut server = axum_server::from_tcp(listener)
                    .map_err(ServeError::Serve)?
                    .acceptor(acceptor)
                    .handle(handle);
                limit(&mut server, headers);
                server.serve(service).await
            }
            None => {
                let mut server =
                    axum_server::from_tcp(listener).map_err(ServeError::Serve)?.handle(handle);
                limit(&mut server, headers);
                server.serve(service).await
            }
        };
        reader.inspect(tokio::task::JoinHandle::abort);
        sweeper.abort();
        postman.abort();
        fleet.close().await;
        served.map_err(ServeError::Serve)
    }
}

/// Bounds what a connection that says nothing, or speaks slowly, can hold.
fn limit<A: Address, Acceptor>(server: &mut Server<A, Acceptor>, headers: Duration) {
    let builder = server.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(headers)
        .keep_alive_timeout(headers)
        .max_concurrent_streams(MAX_STREAMS);
}

/// Takes what the files for TLS say after a while: certificates are renewed, others are revoked.
async fn read_again(fleet: Fleet, tls: RustlsConfig, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let Some(files) = &fleet.config().tls else { return };
        match read_tls(files) {
            Ok(read) => tls.reload_from_config(read),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "could not read the files for TLS again; what was read before holds"
                );
            }
        }
    }
}

/// Sends mail as it is queued, here or by another process, or left by one before.
async fn send_mail(fleet: Fleet) {
    while fleet.has_mail() {
        if let Err(error) = fleet.deliver_mail().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "could not look for mail to be sent");
        }
        fleet.await_mail().await;
    }
}

async fn sweep(fleet: Fleet) {
    let mut hours = tokio::time::interval(SWEEP_EVERY);
    let mut minutes = tokio::time::interval(SWEEP_LEASES_EVERY);
    loop {
        let swept = tokio::select! {
            _ = hours.tick() => fleet.sweep().await,
            _ = minutes.tick() => fleet.sweep_leases().await,
        };
        if let Err(error) = swept {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "could not delete what has ended");
        }
    }
}

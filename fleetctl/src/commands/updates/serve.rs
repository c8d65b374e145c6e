//! `fleetctl updates serve`: the published files over HTTP, to try things out.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use http_body_util::{Either, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CACHE_CONTROL, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;
use tower_http::services::{ServeFile, fs::ServeFileSystemResponseBody};
use wire::updates::Keeping;

use super::signing::{PathArgs, open};
use crate::session::Session;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
}

/// Serves until it is interrupted.
pub(crate) async fn serve(args: &ServeArgs, session: &Session) -> anyhow::Result<()> {
    let editor = open(&args.path.path)?;
    let dir = editor.repository_dir();
    let real = dir.canonicalize_utf8().with_context(|| format!("could not read `{dir}`"))?;
    let bind = async {
        let listener = TcpListener::bind(args.listen).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    let (listener, address) =
        bind.await.with_context(|| format!("could not listen on `{}`", args.listen))?;
    session.shell.done(format!("`{dir}` is at http://{address} until you interrupt this"));
    tokio::select! {
        never = accept(listener, Arc::new(real)) => never,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("could not wait for the end"),
    }
}

async fn accept(listener: TcpListener, dir: Arc<Utf8PathBuf>) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("could not go on serving")?;
        tokio::spawn(converse(stream, Arc::clone(&dir)));
    }
}

/// A connection that breaks is the other side's matter.
async fn converse(stream: TcpStream, dir: Arc<Utf8PathBuf>) {
    let answer = service_fn(move |request| {
        let dir = Arc::clone(&dir);
        async move { Ok::<_, Infallible>(answer(&dir, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
}

type Answer = Response<Either<ServeFileSystemResponseBody, Empty<Bytes>>>;

/// As the server hands out its folder of updates. Names of targets have nothing to be encoded.
async fn answer(dir: &Utf8Path, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let found = async {
        let keeping = Keeping::of(&path)?;
        let file = tokio::fs::canonicalize(dir.join(&path)).await.ok()?;
        (file.starts_with(dir) && file.is_file()).then_some((file, keeping))
    };
    let Some((file, keeping)) = found.await else {
        let mut nothing = Response::new(Either::Right(Empty::new()));
        *nothing.status_mut() = StatusCode::NOT_FOUND;
        return nothing;
    };
    let Ok(mut response) = ServeFile::new(file).oneshot(request).await;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        let value = HeaderValue::from_static(keeping.cache_control());
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response.map(Either::Left)
}

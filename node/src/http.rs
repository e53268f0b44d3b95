//! HTTP/1.1 server on any listener. It closes connections above its limit at once.

use std::{sync::Arc, time::Duration};

use axum::{Router, serve::Listener};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};

/// Most concurrent connections of one listener.
const CONNECTIONS_MAX: usize = 512;
/// Longest time for a handshake and for the header of a request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts and serves connections until dropped. The listener pauses by itself when accept fails.
pub(crate) async fn serve<L: Listener, A>(mut listener: L, answer: impl Fn(L::Io, L::Addr) -> A)
where
    A: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, remote) = listener.accept().await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let answering = answer(stream, remote);
        tokio::spawn(async move {
            answering.await;
            drop(place);
        });
    }
}

/// Serves one connection.
pub(crate) async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
) {
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let service = TowerToHyperService::new(router);
    if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(event = "http.connection_ended", %error);
    }
}

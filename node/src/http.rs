//! HTTP/1.1 server on any listener, with bounds on what clients without a token can hold.

mod guests;
pub(crate) mod limits;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Router,
    http::{HeaderValue, header::CONNECTION},
    middleware::map_response,
    response::Response,
    serve::Listener,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};

pub(crate) use guests::{Guest, Places};
use limits::{HEAD_TIMEOUT, SOCKET_CONNECTIONS_MAX};

/// Accepts and serves connections of the admin socket until dropped. The listener pauses by itself
/// when accept fails.
pub(crate) async fn serve_socket<A>(mut listener: UnixListener, answer: impl Fn(UnixStream) -> A)
where
    A: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(SOCKET_CONNECTIONS_MAX));
    loop {
        let (stream, _) = Listener::accept(&mut listener).await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let answering = answer(stream);
        tokio::spawn(async move {
            answering.await;
            drop(place);
        });
    }
}

/// Accepts and serves connections of strangers until dropped.
pub(crate) async fn serve_guests<A>(
    mut listener: TcpListener,
    places: Arc<Places>,
    answer: impl Fn(TcpStream, SocketAddr, Guest) -> A,
) where
    A: Future<Output = ()> + Send + 'static,
{
    loop {
        let (stream, remote) = Listener::accept(&mut listener).await;
        places.spawn(remote.ip(), |guest| answer(stream, remote, guest));
    }
}

/// Returns a router for the connection of a guest. After a failure the connection is closed, unless
/// its client has shown a valid token.
pub(crate) fn guest_router(router: Router, guest: Guest) -> Router {
    let closing = guest.clone();
    let closes = move |mut response: Response| {
        let guest = closing.clone();
        async move {
            if !guest.is_admitted() && !response.status().is_success() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    router.layer(map_response(closes)).layer(Extension(guest))
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

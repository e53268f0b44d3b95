//! HTTP/1.1 server on any listener, with bounds on what clients without a token can hold.

mod guests;
pub mod limits;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    http::{Extensions, HeaderValue, Request, header::CONNECTION},
    serve::Listener,
};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
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

/// Returns what the requests of a connection carry, with one thing of the server.
pub(crate) fn known(one: impl Clone + Send + Sync + 'static) -> Extensions {
    let mut known = Extensions::new();
    known.insert(one);
    known
}

/// Serves one connection. Each request carries what is `known` about it. If that is a guest, the
/// connection is closed after a failure, unless its client has shown a valid token.
pub(crate) async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    known: Extensions,
) {
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let guest = known.get::<Guest>().cloned();
    // Not by layers of the router: they are put around each of its routes, and that takes longer
    // than everything else about a connection that asks for nothing.
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(known.clone());
        let (answering, guest) = (router.call(request), guest.clone());
        async move {
            let mut response = answering.await?;
            let is_stranger = guest.is_some_and(|guest| !guest.is_admitted());
            if is_stranger && !response.status().is_success() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(event = "http.connection_ended", %error);
    }
}

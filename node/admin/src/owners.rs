//! The page and the API for owners of accounts.
//!
//! They have their own port, off by default, and their own router, which has no path of operators.
//! The port is one of this machine: a listener of the cluster stands before it, where TLS ends, and
//! tells the address of each client by a PROXY header. Without one a connection is closed.

use std::{io, net::SocketAddr, sync::Arc};

use conclave_cluster::node::Node;
use conclave_page::Connection;
use conclave_preface::{limits::PROXY_HEADER_BYTES_MAX, proxy_protocol};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    auth::Door,
    http::{
        self, Places,
        limits::{HEAD_TIMEOUT, OWNER_CONNECTIONS_MAX},
    },
    routes::owner_router,
};

/// Serves owners until dropped.
pub async fn serve(mut listener: TcpListener, node: Node) {
    let api = owner_router(node);
    let router = conclave_page::owner_router(api.clone()).merge(api);
    let (places, heads) =
        (Places::new(OWNER_CONNECTIONS_MAX), Arc::new(Semaphore::new(OWNER_CONNECTIONS_MAX)));
    loop {
        let (stream, peer) = axum::serve::Listener::accept(&mut listener).await;
        let Ok(place) = Arc::clone(&heads).try_acquire_owned() else { continue };
        let (router, places) = (router.clone(), Arc::clone(&places));
        tokio::spawn(async move {
            let begun = timeout(HEAD_TIMEOUT, client(stream)).await;
            drop(place);
            let (stream, told) = match begun {
                Ok(Ok(begun)) => begun,
                Ok(Err(error)) => {
                    tracing::debug!(event = "owners.refused", %error);
                    return;
                }
                Err(_) => return,
            };
            let remote = told.unwrap_or(peer);
            places.spawn(remote.ip(), |guest| {
                let mut known = http::known(Door::Owners { remote });
                known.insert(guest);
                let connection = Connection { known: known.clone(), has_certificate: false };
                known.insert(connection);
                http::connection(stream, router, known)
            });
        });
    }
}

/// Reads the PROXY header of a connection. Returns what follows, with the address of the client.
async fn client(
    mut stream: TcpStream,
) -> io::Result<(impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Option<SocketAddr>)> {
    let mut received = Vec::new();
    let header = loop {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        if let Some(header) = proxy_protocol::parse(&received).map_err(invalid)? {
            break header;
        }
        if received.len() > PROXY_HEADER_BYTES_MAX + 16
            || stream.read_buf(&mut received).await? == 0
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = received.split_off(header.bytes.min(received.len()));
    let (reader, writer) = stream.into_split();
    let reader = io::Cursor::new(rest).chain(reader);
    Ok((tokio::io::join(reader, writer), header.ends.map(|ends| ends.source)))
}

//! Bytes between a client and its upstream, both ways, each with its own end.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes},
    net::TcpStream,
    time::timeout,
};

use super::{
    Upstream,
    limits::{BUFFER_BYTES, UPSTREAM_TIMEOUT},
};

/// Connects to the upstream and copies until both directions have ended. An end of one
/// direction is passed on, the other goes on.
pub(crate) async fn forward(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    upstream: &Upstream,
    forbidden: &[SocketAddr],
) -> io::Result<()> {
    let connected = match timeout(UPSTREAM_TIMEOUT, connect(upstream, forbidden)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the upstream does not answer")),
    };
    let mut server = match connected {
        Ok(server) => server,
        Err(error) => {
            // The client gets a clean end rather than a cut.
            let _ = client.shutdown().await;
            return Err(error);
        }
    };
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER_BYTES, BUFFER_BYTES)
        .await
        .map(|_| ())
}

async fn connect(upstream: &Upstream, forbidden: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the upstream has no address");
    for address in tokio::net::lookup_host(upstream.as_str()).await? {
        if Upstream::check_address(address, forbidden).is_err() {
            last = io::Error::new(io::ErrorKind::PermissionDenied, "a forbidden upstream");
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

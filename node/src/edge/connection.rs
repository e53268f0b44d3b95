//! One connection: hello, choice, handshake, upstream, bytes.

use std::{io, net::SocketAddr, sync::atomic::Ordering};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{
    LazyConfigAcceptor, StartHandshake, rustls::server::Acceptor, server::TlsStream,
};

use super::{
    Edge, forward,
    listener::Accepting,
    tls::{self, Alert},
};
use crate::live::Refusal;

/// A handshake that did not come to its end; already logged if there is more to say.
struct Ended;

impl Edge {
    pub(super) async fn connection(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        accepting: &Accepting,
    ) {
        let listener = &accepting.name;
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok();
        let shaking = self.handshake(stream, local, remote, accepting);
        let tls = match timeout(self.shared.options.handshake_timeout, shaking).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(Ended)) => return,
            Err(_) => {
                tracing::info!(event = "tls.handshake_timeout", %listener, %remote);
                return;
            }
        };
        self.shared.handshakes.fetch_add(1, Ordering::Relaxed);
        if let Err(error) =
            forward::forward(tls, &accepting.upstream, &self.shared.options.forbidden).await
        {
            let upstream = accepting.upstream.as_str();
            tracing::info!(event = "tls.connection_ended", %listener, %remote, upstream, %error);
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        accepting: &Accepting,
    ) -> Result<TlsStream<TcpStream>, Ended> {
        let listener = &accepting.name;
        let start = match LazyConfigAcceptor::new(Acceptor::default(), stream).await {
            Ok(start) => start,
            Err(error) => {
                // Wrong versions, plain text, scanners: the alert is sent already.
                tracing::debug!(event = "tls.no_hello", %listener, %remote, %error);
                return Err(Ended);
            }
        };
        let hello = start.client_hello();
        let server_name = hello.server_name().map(ToOwned::to_owned);
        let (domain, chosen) =
            self.shared.live.choose(server_name.as_deref(), local.map(|one| one.ip()));
        let domain = domain.as_ref().map_or("-", |name| name.as_str());
        // Names from clients are escaped: they may hold anything.
        let server_name = server_name.as_deref().unwrap_or("-").escape_debug().to_string();
        let config = match chosen {
            Ok(keys) => {
                tracing::debug!(event = "tls.chosen", %listener, %remote, server_name, domain);
                tls::config(keys)
            }
            Err(refusal) => {
                let reason = refusal.reason();
                tracing::info!(event = "tls.refused", %listener, %remote, server_name, domain, reason);
                refuse(start, &refusal).await;
                return Err(Ended);
            }
        };
        let shaken = match config {
            Ok(config) => start.into_stream(config).await,
            Err(error) => Err(io::Error::other(error)),
        };
        shaken.map_err(|error| {
            tracing::info!(event = "tls.handshake_failed", %listener, %remote, server_name, %error);
            Ended
        })
    }
}

/// Tells the client why, as far as TLS has a word for it, and closes.
async fn refuse(start: StartHandshake<TcpStream>, refusal: &Refusal) {
    let alert = match refusal {
        Refusal::Unknown => Alert::UnrecognizedName,
        Refusal::Disabled | Refusal::Incomplete => Alert::AccessDenied,
        Refusal::KeyUnavailable(_) => Alert::InternalError,
    };
    let mut stream = start.io;
    // The client may be gone already.
    let _ = stream.write_all(&alert.record()).await;
    let _ = stream.shutdown().await;
}

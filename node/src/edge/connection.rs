//! One connection: handshake, upstream, bytes.

use std::net::SocketAddr;

use tokio::{net::TcpStream, time::timeout};

use super::{
    Edge, forward,
    handshake::{Arrival, Ended},
    listener::Accepting,
};

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
        let arrival = Arrival { door: &accepting.door, remote, local, stream_to: None };
        let shaking = self.handshake(stream, &arrival);
        let (tls, _) = match timeout(self.shared.options.handshake_timeout, shaking).await {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(Ended)) => return,
            Err(_) => {
                self.shared.failures.count("timeout");
                tracing::info!(event = "tls.handshake_timeout", %listener, %remote);
                return;
            }
        };
        if let Err(error) =
            forward::forward(tls, &accepting.upstream, &self.shared.options.forbidden).await
        {
            let upstream = accepting.upstream.as_str();
            tracing::info!(event = "tls.connection_ended", %listener, %remote, upstream, %error);
        }
    }
}

//! The network in production: QUIC with mutual TLS 1.3 and pinned keys.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::pki_types::CertificateDer;
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

use super::{
    BoxFuture, Calls, Identity, Peers,
    accept::Accept,
    frame,
    identity::{self, ALPN_JOIN, ALPN_MEMBER, EXPORTER_JOIN, EXPORTER_MEMBER},
    transport::{Close, Connection, DialError, Stream, Transport, Urgency},
};
use crate::{
    limits::{CONNECTIONS_MAX, IDLE_TIMEOUT, JOIN_BYTES_MAX, JOIN_TIMEOUT},
    types::NodeId,
    wire::CallV1,
};

/// Priority of urgent streams; quinn's default is 0.
const URGENT: i32 = 1;

/// One socket for outgoing and incoming connections.
#[derive(Clone)]
pub(crate) struct Quic {
    endpoint: quinn::Endpoint,
    identity: Arc<Identity>,
    peers: Arc<dyn Peers>,
}

impl Quic {
    /// Opens the socket.
    pub(crate) fn open(
        bind: SocketAddr,
        identity: Identity,
        peers: Arc<dyn Peers>,
    ) -> Result<Quic, identity::SetupError> {
        let endpoint = identity::endpoint(bind, &identity)?;
        Ok(Quic { endpoint, identity: Arc::new(identity), peers })
    }

    /// Accepts and answers connections until the socket is closed.
    pub(crate) async fn serve(self, accept: Accept, calls: Arc<dyn Calls>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let server = Server { peers: self.peers, accept, calls };
        while let Some(incoming) = self.endpoint.accept().await {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let server = server.clone();
            tokio::spawn(async move {
                let remote = incoming.remote_address();
                let served = match incoming.await {
                    Ok(connection) => server.connection(connection).await,
                    Err(error) => Err(io::Error::other(error)),
                };
                if let Err(error) = served {
                    tracing::debug!(event = "raft.connection_ended", %remote, %error);
                }
                drop(place);
            });
        }
    }
}

impl Transport for Quic {
    fn dial(
        &self,
        target: NodeId,
        address: String,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        let quic = self.clone();
        Box::pin(async move {
            let failed = |error: io::Error| DialError { is_another: false, error };
            let address = resolve(&address).await.map_err(failed)?;
            let config = identity::member_client(&quic.identity, quic.peers, target)
                .map_err(|error| failed(io::Error::other(error)))?;
            let connecting = quic
                .endpoint
                .connect_with(config, address, "member.conclave.internal")
                .map_err(|error| failed(io::Error::other(error)))?;
            match connecting.await {
                Ok(connection) => {
                    let connection: Arc<dyn Connection> = Arc::new(connection);
                    Ok(connection)
                }
                Err(error) => Err(DialError {
                    is_another: identity::is_refused_by_tls(&error),
                    error: io::Error::other(error),
                }),
            }
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.endpoint.close(0u32.into(), b"shutting down");
        let endpoint = self.endpoint.clone();
        Box::pin(async move {
            let _ = tokio::time::timeout(IDLE_TIMEOUT, endpoint.wait_idle()).await;
        })
    }
}

/// Resolves `HOST:PORT` to the first address that the system returns.
async fn resolve(address: &str) -> io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(address).await?;
    found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn stream((send, receive): (quinn::SendStream, quinn::RecvStream)) -> Stream {
    Stream { send: Box::new(send), receive: Box::new(receive) }
}

impl Connection for quinn::Connection {
    fn open(&self, urgency: Urgency) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (send, receive) = self.open_bi().await.map_err(io::Error::other)?;
            if let Urgency::Urgent = urgency {
                send.set_priority(URGENT).map_err(io::Error::other)?;
            }
            Ok(stream((send, receive)))
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { self.accept_bi().await.map(stream).map_err(io::Error::other) })
    }

    fn ended(&self) -> Option<String> {
        self.close_reason().map(|reason| reason.to_string())
    }

    fn exporter(&self) -> Option<[u8; 32]> {
        identity::exporter(self, EXPORTER_MEMBER)
    }

    fn close(&self, why: Close) {
        let (code, reason): (u32, &[u8]) = match why {
            Close::Done => (0, b"sent"),
            Close::Stranger => (1, b"not a member"),
            Close::Malformed => (2, b"malformed"),
        };
        quinn::Connection::close(self, code.into(), reason);
    }
}

/// Handler of incoming connections.
#[derive(Clone)]
struct Server {
    peers: Arc<dyn Peers>,
    accept: Accept,
    calls: Arc<dyn Calls>,
}

impl Server {
    async fn connection(&self, connection: quinn::Connection) -> io::Result<()> {
        let alpn = connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match alpn.as_deref() {
            Some(ALPN_MEMBER) => self.member(connection).await,
            Some(ALPN_JOIN) => {
                let joined = tokio::time::timeout(JOIN_TIMEOUT, self.joining(&connection)).await;
                joined.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no known protocol")),
        }
    }

    async fn member(&self, connection: quinn::Connection) -> io::Result<()> {
        let certificates = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let from = certificates
            .as_deref()
            .and_then(|chain| identity::public_key(chain.first()?).ok())
            .and_then(|key| self.peers.identify(&key));
        let Some(from) = from else {
            Connection::close(&connection, Close::Stranger);
            let remote = connection.remote_address();
            tracing::warn!(event = "raft.stranger", %remote, "refused a node that is no member");
            return Ok(());
        };
        self.accept.member(from, Arc::new(connection)).await
    }

    async fn joining(&self, connection: &quinn::Connection) -> io::Result<()> {
        let exporter = identity::exporter(connection, EXPORTER_JOIN)
            .ok_or_else(|| io::Error::other("no TLS exporter"))?;
        let mut stream = Connection::accept(connection).await?;
        let request: CallV1 = frame::receive_one(&mut stream.receive).await?;
        if request.0.len() > JOIN_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a join is too large"));
        }
        let remote = connection.remote_address();
        let answer = self.calls.join(exporter, remote, request.0.into_vec()).await;
        frame::send(&mut stream.send, &CallV1(ByteBuf::from(answer))).await?;
        frame::finish(&mut stream.send).await;
        // Wait until the peer has read the answer and closes. Dropping the connection earlier could
        // lose the answer.
        connection.closed().await;
        Ok(())
    }
}

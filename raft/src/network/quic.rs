//! The network in production: QUIC with mutual TLS 1.3 and pinned keys.

mod serve;

use std::{io, net::SocketAddr, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};

use super::{
    BoxFuture, Calls, Certificates, Identity, Peers, Renewable,
    accept::Accept,
    addresses::{Addresses, Candidate, OwnAddress},
    guard::Guard,
    identity,
    places::Places,
    transport::{Connection, DialError, Transport},
};
use crate::{
    limits::{ADDRESS_DELAY, IDLE_TIMEOUT},
    types::NodeId,
};

/// One socket for outgoing and incoming connections.
#[derive(Clone)]
pub(crate) struct Quic {
    endpoint: quinn::Endpoint,
    identity: Arc<Renewable>,
    peers: Arc<dyn Peers>,
    guard: Arc<Guard>,
    addresses: Arc<Addresses>,
}

impl Quic {
    /// Opens the socket.
    pub(crate) fn open(
        bind: SocketAddr,
        identity: Identity,
        peers: Arc<dyn Peers>,
        own: Option<OwnAddress>,
    ) -> Result<Quic, identity::SetupError> {
        let endpoint = identity::endpoint(bind, &identity)?;
        let identity = Renewable::new(identity);
        let guard = Guard::new(Arc::clone(&identity), Arc::clone(&peers));
        Ok(Quic { endpoint, identity, peers, guard, addresses: Addresses::new(own) })
    }

    /// Accepts and answers connections until the socket is closed.
    pub(crate) async fn serve(self, accept: Accept, calls: Arc<dyn Calls>) {
        let server = serve::Server {
            guard: self.guard,
            addresses: self.addresses,
            places: Arc::new(Places::default()),
            accept,
            calls,
        };
        server.serve(self.endpoint).await;
    }

    /// Tries all addresses of a member, each a little later than the one before. The first one at
    /// which it proves its identity wins.
    async fn dial_any(
        self,
        target: NodeId,
        address: String,
    ) -> Result<Arc<dyn Connection>, DialError> {
        let failed = |error: io::Error| DialError { is_another: false, error };
        let config =
            identity::member_client(&self.identity.present(), Arc::clone(&self.peers), target)
                .map_err(|error| failed(io::Error::other(error)))?;
        let candidates = self.addresses.candidates(target, &address).await;
        let attempts = candidates.into_iter().zip(0u32..).map(|(candidate, place)| {
            let (quic, config) = (&self, config.clone());
            async move {
                tokio::time::sleep(ADDRESS_DELAY * place).await;
                quic.attempt(target, config, candidate).await
            }
        });
        let mut attempts: FuturesUnordered<_> = attempts.collect();
        let mut failure: Option<DialError> = None;
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(connection) => return Ok(connection),
                Err(error) if failure.as_ref().is_none_or(|first| !first.is_another) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        let unknown = || failed(io::Error::new(io::ErrorKind::NotFound, "no address is found"));
        Err(failure.unwrap_or_else(unknown))
    }

    async fn attempt(
        &self,
        target: NodeId,
        config: quinn::ClientConfig,
        candidate: Candidate,
    ) -> Result<Arc<dyn Connection>, DialError> {
        let failed = |error: io::Error| DialError { is_another: false, error };
        let connecting = self
            .endpoint
            .connect_with(config, candidate.address, "member.conclave.internal")
            .map_err(|error| failed(io::Error::other(error)))?;
        let connection = connecting.await.map_err(|error| DialError {
            // Anybody may be at an address that is only likely.
            is_another: candidate.is_known && identity::is_refused_by_tls(&error),
            error: io::Error::other(error),
        })?;
        let proven = self.guard.admit(connection);
        let proven = proven.filter(|proven| proven.member() == target);
        match proven {
            Some(proven) => Ok(proven),
            None => Err(failed(io::Error::other("the peer is no longer a member"))),
        }
    }
}

impl Transport for Quic {
    fn dial(
        &self,
        target: NodeId,
        address: String,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        Box::pin(self.clone().dial_any(target, address))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    fn renew(&self, certificates: Certificates) -> io::Result<()> {
        let renewed = self.identity.renew(certificates);
        let config = identity::server(&renewed).map_err(io::Error::other)?;
        self.endpoint.set_server_config(Some(config));
        Ok(())
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.endpoint.close(0u32.into(), b"shutting down");
        let endpoint = self.endpoint.clone();
        Box::pin(async move {
            let _ = tokio::time::timeout(IDLE_TIMEOUT, endpoint.wait_idle()).await;
        })
    }
}

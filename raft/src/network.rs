//! Network between nodes: QUIC with mutual TLS 1.3, carrying this crate's own frames. The frames
//! run over any [`Transport`], so that a simulation can cut, delay and lose its streams.
//!
//! A peer is identified by its public key, which the members in the state pin. The cluster's
//! certificate authority only identifies the cluster to joining nodes.

mod accept;
mod addresses;
mod dial;
mod frame;
mod guard;
mod identity;
pub(crate) mod join;
mod lane;
mod link;
mod places;
mod quic;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
pub mod transport;

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
};

use crate::types::NodeId;

pub use accept::Accept;
pub use addresses::OwnAddress;
pub(crate) use dial::Factory;
pub(crate) use link::Links;
pub(crate) use quic::Quic;
pub(crate) use transport::Transport;

/// Boxed future, as returned by methods of trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Identity of this node.
#[derive(Clone)]
pub struct Identity {
    /// Its number.
    pub id: NodeId,
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// Certificate of its identity key, issued by the cluster's authority, DER.
    pub certificate_der: Vec<u8>,
    /// Its identity key, PKCS#8 DER.
    pub private_key_der: Vec<u8>,
    /// Certificate of the cluster's authority, DER.
    pub authority_der: Vec<u8>,
    /// Certificates that lead from this authority to an earlier one that is still trusted, DER.
    pub earlier_der: Vec<Vec<u8>>,
}

/// The present certificates of this node; its key never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// See [`Identity::certificate_der`].
    pub certificate_der: Vec<u8>,
    /// See [`Identity::authority_der`].
    pub authority_der: Vec<u8>,
    /// See [`Identity::earlier_der`].
    pub earlier_der: Vec<Vec<u8>>,
}

/// The identity of this node, whose certificates are renewed from time to time.
pub(crate) struct Renewable(RwLock<Arc<Identity>>);

impl Renewable {
    pub(crate) fn new(identity: Identity) -> Arc<Renewable> {
        Arc::new(Renewable(RwLock::new(Arc::new(identity))))
    }

    pub(crate) fn present(&self) -> Arc<Identity> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the identity with other certificates, and keeps it.
    fn renew(&self, certificates: Certificates) -> Arc<Identity> {
        let Certificates { certificate_der, authority_der, earlier_der } = certificates;
        let before = Identity::clone(&self.present());
        let renewed = Arc::new(Identity { certificate_der, authority_der, earlier_der, ..before });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&renewed);
        renewed
    }
}

/// Directory of the members, by their pinned keys.
pub trait Peers: Send + Sync + 'static {
    /// Returns the member with this identity key (SubjectPublicKeyInfo, DER).
    fn identify(&self, public_key_der: &[u8]) -> Option<NodeId>;

    /// Returns whether the node with this certificate, which the cluster's authority has issued,
    /// was a member and has been removed.
    fn was_removed(&self, certificate_der: &[u8]) -> bool;
}

/// A node that wants to join.
#[derive(Debug, Clone)]
pub struct Joiner {
    /// Keying material of its connection (RFC 8446 §7.5): a proof made with it is worthless on any
    /// other connection.
    pub exporter: [u8; 32],
    /// Its address.
    pub remote: SocketAddr,
    /// The key of its certificate, proved by TLS (SubjectPublicKeyInfo, DER). Nodes before version
    /// 0.3.0 show no certificate.
    pub public_key_der: Option<Vec<u8>>,
}

/// Handler of requests from other nodes, provided by the layer above.
pub trait Calls: Send + Sync + 'static {
    /// Answers a member's request. Request and answer are opaque to this crate. `exporter` is keying
    /// material of this one connection, the same at both ends (RFC 8446 §7.5): a proof made with it
    /// is worthless on any other connection.
    fn call(
        &self,
        from: NodeId,
        exporter: [u8; 32],
        request: Vec<u8>,
    ) -> BoxFuture<'static, Vec<u8>>;

    /// Answers a node that wants to join.
    fn join(&self, joiner: Joiner, request: Vec<u8>) -> BoxFuture<'static, Vec<u8>>;
}

/// Error of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request was not sent, so it was not processed.
    #[error("node {0} cannot be reached")]
    Unreachable(NodeId),
    /// The request was sent. Whether it was processed is unknown.
    #[error("node {0} did not answer")]
    Lost(NodeId),
}

/// Error of a join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There is no address to connect to.
    #[error("no address is given")]
    NoAddress,
    /// No node answers at the address.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// The cause.
        reason: String,
    },
    /// A node of another cluster answers at the address. The request was not sent.
    #[error("the node at {address} does not belong to the cluster of this token")]
    OtherCluster {
        /// The address.
        address: SocketAddr,
    },
    /// The connection broke after the request was sent.
    #[error("the answer of {address} was lost: {reason}")]
    Lost {
        /// The address.
        address: SocketAddr,
        /// The cause.
        reason: String,
    },
}

//! The network among nodes: QUIC, mutual TLS 1.3, frames of our own. The frames run over any
//! [`Transport`], so that a simulation can cut, delay and lose its streams.
//!
//! A peer is who the state's members say it is: its public key is pinned there. The cluster's
//! authority only names the cluster, for nodes that want to join.

mod accept;
mod dial;
mod frame;
mod identity;
pub(crate) mod join;
mod lane;
mod link;
mod quic;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
pub mod transport;

use std::{future::Future, net::SocketAddr, pin::Pin};

use crate::types::NodeId;

pub use accept::Accept;
pub(crate) use dial::Factory;
pub(crate) use link::Links;
pub(crate) use quic::Quic;
pub(crate) use transport::Transport;

/// A future that a trait object gives.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who this node is.
#[derive(Clone)]
pub struct Identity {
    /// Its number.
    pub id: NodeId,
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// Certificate of its identity key, by the cluster's authority, DER.
    pub certificate_der: Vec<u8>,
    /// Its identity key, PKCS#8 DER.
    pub private_key_der: Vec<u8>,
    /// Certificate of the cluster's authority, DER.
    pub authority_der: Vec<u8>,
}

/// Who the members are.
pub trait Peers: Send + Sync + 'static {
    /// The member whose identity key this is (SubjectPublicKeyInfo, DER).
    fn identify(&self, public_key_der: &[u8]) -> Option<NodeId>;
}

/// What other nodes may ask of the node above.
pub trait Calls: Send + Sync + 'static {
    /// Answers a member's request; both are opaque here.
    fn call(&self, from: NodeId, request: Vec<u8>) -> BoxFuture<'static, Vec<u8>>;

    /// Answers a node that wants to join. `exporter` is bound to this one TLS connection: proof
    /// made with it is worth nothing on another.
    fn join(
        &self,
        exporter: [u8; 32],
        remote: SocketAddr,
        request: Vec<u8>,
    ) -> BoxFuture<'static, Vec<u8>>;
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It never reached the peer, so it was not done.
    #[error("node {0} cannot be reached")]
    Unreachable(NodeId),
    /// It was sent; whether it was done is unknown.
    #[error("node {0} did not answer")]
    Lost(NodeId),
}

/// Why a join has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Nobody answers there.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Another cluster answers there; nothing was told to it.
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
        /// Why.
        reason: String,
    },
}

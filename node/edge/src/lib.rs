//! TLS and DTLS termination, in three modules. Each module knows only the ones before it.
//!
//! - [`tls`]: TLS and DTLS parameters: policy, client certificates, tickets, contexts.
//! - [`live`]: the current configuration of this node, as one immutable index.
//! - [`socket`]: listeners, handshakes, and forwarding between clients and upstreams.
//!
//! The edge receives State and its changes from outside. It knows no Raft, no commands and no API,
//! so it keeps serving when the cluster has no leader.

pub mod live;
pub mod socket;
pub mod tls;

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

//! Where TLS and DTLS end: three rooms, each of which knows only those before it.
//!
//! - [`tls`]: how TLS and DTLS are spoken: policy, client certificates, tickets, contexts.
//! - [`live`]: what is served right now, as one immutable index.
//! - [`socket`]: listeners, handshakes, and the bytes between clients and upstreams.
//!
//! The edge follows State by what it is told of it, and knows no Raft, no commands and no API: it
//! goes on serving when the cluster does not.

pub mod live;
pub mod socket;
pub mod tls;

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

//! Real clusters for tests: processes, sockets, handshakes.

// For its features only, see Cargo.toml.
use conclave_keys as _;

mod authority;
mod browser;
mod cluster;
mod datagram;
mod datagram_peer;
mod forge;
pub mod fuzz;
mod measure;
mod peer;
mod port;
mod probe;
mod relay;
pub mod release;
mod scrape;
mod traffic;
mod wait;

pub use authority::{Authority, Issued, authority, authority_with};
pub use browser::{Browser, Opened, Way};
pub use cluster::{Cluster, Earlier, Node, Ran, binary, run_alone};
pub use datagram::{DtlsClient, echo_datagrams, echo_datagrams_at};
pub use datagram_peer::{DatagramPeer, Identity};
pub use forge::{Forged, Hostile, NOON, forge, hostile, longest};
pub use measure::measured;
pub use peer::{
    Pair, earlier_program, has_program, openssl, openssl_chain, openssl_chain_of, resident_mib,
    sign,
};
pub use port::free_port;
pub use probe::{
    Refused, Shown, client_config, echo_upstream, echo_upstream_at, probe, probe_stream,
};
pub use relay::{Relay, Sent, Weather};
pub use scrape::{Answer, Metrics};
pub use traffic::Traffic;
pub use wait::{DEADLINE, Ends, wait_for};

//! Raft for Conclave, built on openraft: a segmented log that survives power cuts, a QUIC network
//! between nodes, and this crate's own formats on disk and wire.
//!
//! Payloads are opaque bytes and the state machine is a trait, [`Machine`]. No openraft type is
//! serialised to disk or wire, so that upgrading openraft cannot change a format.

mod engine;
pub mod limits;
mod log;
mod machine;
mod mark;
mod migrate;
#[cfg(conclave_sim)]
pub mod mutant;
mod network;
mod raft;
mod recover;
mod rt;
mod segments;
mod snapshot;
mod state_machine;
mod types;
mod wire;
mod writer;

#[cfg(test)]
#[path = "../../tests/src/samples.rs"]
mod samples;

pub use engine::LogDamage;
pub use machine::{Entry, Machine, MachineFault, Staged, Stager, View};
pub use mark::{LogOpenError, payloads};
pub use network::{
    Accept, BoxFuture, CallError, Calls, Certificates, Identity, JoinError, Joiner, OwnAddress,
    Peers,
    join::{JoinOptions, Joined, join_call},
    transport,
};
#[cfg(conclave_sim)]
pub use raft::Simulated;
pub use raft::{Committed, MembershipError, Options, ProposeError, Raft, StartError, Status};
pub use raft::{Handover, PeerStatus, Retention, Role};
pub use recover::{LogLock, RecoverError, RecoverOptions, Report, Survivor};
#[cfg(conclave_sim)]
pub use rt::sim as executor;
pub use types::{NodeId, Position};
pub use wire::checkpoint_index;
pub use writer::FlushTimer;

//! openraft made ours: a log of segments that survives power cuts, a network on QUIC, and formats
//! of our own on both.
//!
//! Payloads are opaque bytes and the state machine is a trait, [`Machine`]. Nothing of
//! openraft's types reaches disk or wire, so that a new version of it cannot change either.

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
    Accept, BoxFuture, CallError, Calls, Identity, JoinError, Peers, join::join_call, transport,
};
#[cfg(conclave_sim)]
pub use raft::Simulated;
pub use raft::{Committed, MembershipError, Options, ProposeError, Raft, StartError, Status};
pub use raft::{Handover, PeerStatus, Retention, Role};
#[cfg(conclave_sim)]
pub use rt::sim as executor;
pub use types::{NodeId, Position};
pub use wire::checkpoint_index;

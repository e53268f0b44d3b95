//! The replica: applies and proposes commands, forwards them to the leader, reads, and tracks which
//! nodes serve which command.

mod apply;
mod audit;
mod call;
mod counters;
mod drain;
mod gate;
mod handover;
mod keyring;
mod level;
mod limits;
mod load;
mod outlook;
mod propose;
mod proposer;
mod read;
mod report;
mod reports;
#[cfg(test)]
mod samples;
mod session_keys;
mod test_key;
mod transfer;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use conclave_edge::live::Live;
use conclave_keys::Keyring;
use conclave_raft::Raft;
use conclave_store::{id::NodeId, state::State};
use tokio::time::Instant;

use self::{counters::Counters, proposer::Proposer};

pub(crate) use apply::Applier;
pub(crate) use audit::{AuditHeadV1, AuditQueue};
pub use counters::Contact;
pub use drain::Drain;
pub(crate) use drain::DrainedV1;
pub(crate) use level::{UPGRADE_HINT, known_level, version_of};
pub use load::LoadV1;
pub use outlook::Outlook;
pub use propose::Wait;
pub(crate) use propose::{ExecuteError, Executed};
pub(crate) use report::Attention;
pub use report::NodeReport;
pub(crate) use reports::Reports;
pub use session_keys::session_key_rotation_ms;
pub(crate) use transfer::TransferredV1;
pub use transfer::{KeptV1, TransferError};

/// The State after the last applied command. Readers take an immutable copy.
#[derive(Default)]
pub(crate) struct Published(ArcSwap<Point>);

/// A State at one point of the order of commands.
#[derive(Clone, Default)]
pub struct Point {
    /// The State.
    pub state: State,
}

impl Published {
    pub(crate) fn load(&self) -> Arc<Point> {
        self.0.load_full()
    }

    pub(crate) fn store(&self, state: State) {
        self.0.store(Arc::new(Point { state }));
    }
}

/// A handle to the replica; cheap to clone.
#[derive(Clone)]
pub struct Replica {
    shared: Arc<Shared>,
}

struct Shared {
    id: NodeId,
    raft: Raft,
    proposer: Proposer,
    counters: Arc<Counters>,
    published: Arc<Published>,
    live: Live,
    keyring: Arc<Keyring>,
    reports: Reports,
    election_timeout: Duration,
    started: Instant,
}

impl Replica {
    pub(crate) fn new(
        raft: Raft,
        published: Arc<Published>,
        live: Live,
        keyring: Arc<Keyring>,
        reports: Reports,
        election_timeout: Duration,
    ) -> Replica {
        let id = NodeId(raft.status().id.0);
        let counters: Arc<Counters> = Arc::default();
        let timed = Arc::clone(&counters);
        raft.time_flushes(Box::new(move |took| timed.flushes.observe(took)));
        let (points, of_proposer) = (Arc::clone(&published), Arc::clone(&counters));
        let proposer = Proposer::start(raft.clone(), points, of_proposer);
        let shared = Shared {
            id,
            raft,
            proposer,
            counters,
            published,
            live,
            keyring,
            reports,
            election_timeout,
            started: Instant::now(),
        };
        Replica { shared: Arc::new(shared) }
    }

    /// Returns the id of this node.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// Returns the Raft node.
    pub fn raft(&self) -> &Raft {
        &self.shared.raft
    }

    /// Notes what needs attention on this node, for its reports.
    pub fn note_attention(&self, attention: Vec<Attention>) {
        self.shared.reports.note_attention(attention);
    }

    /// Returns the current State of this node.
    pub fn point(&self) -> Arc<Point> {
        self.shared.published.load()
    }
}

//! Batches waiting commands into shared log entries.
//!
//! An entry has the same cost with one command or with many: a place in the log, a frame to each
//! member, a round of answers. So only a few entries are in flight at once, and new commands wait
//! for the next one. Members of version 0.1.0 read one command per entry. As long as the cluster
//! has such a member, the level is 0 and entries are not shared.

use std::sync::Arc;

use conclave_raft::{Committed, ProposeError, Raft};
use conclave_store::{
    limits::{COMMANDS_BYTES_MAX, COMMANDS_PER_ENTRY_MAX},
    wire,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};

use super::{Published, counters::Counters};

/// Most entries in flight.
const ENTRIES_MAX: usize = 2;
/// Most commands in the queue. Further callers wait until the queue has room.
const WAITING_MAX: usize = 1024;

/// A queued command, and the channel for its outcome.
struct Waiting {
    command: Vec<u8>,
    done: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// The queue of a task that proposes commands. The task ends when the proposer is dropped.
pub(super) struct Proposer {
    queue: mpsc::Sender<Waiting>,
}

impl Proposer {
    pub(super) fn start(
        raft: Raft,
        published: Arc<Published>,
        counters: Arc<Counters>,
    ) -> Proposer {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(raft, published, counters, waiting));
        Proposer { queue }
    }

    /// Returns the number of queued commands.
    pub(super) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Proposes an encoded command as the leader. Returns its encoded outcome.
    pub(super) async fn propose(&self, command: Vec<u8>) -> Result<Committed, ProposeError> {
        let (done, wait) = oneshot::channel();
        // The task may or may not have proposed the command.
        let stopped = || ProposeError::Unknown("the proposer has ended".to_owned());
        self.queue.send(Waiting { command, done }).await.map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

async fn run(
    raft: Raft,
    published: Arc<Published>,
    counters: Arc<Counters>,
    mut queue: mpsc::Receiver<Waiting>,
) {
    let places = Arc::new(Semaphore::new(ENTRIES_MAX));
    let mut left_over = None;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let first = match left_over.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let may_share = published.load().state.level() > 0;
        let mut group = vec![first];
        if may_share {
            left_over = gather(&mut group, &mut queue);
        }
        tokio::spawn(propose(raft.clone(), Arc::clone(&counters), group, place));
    }
}

/// Moves waiting commands into the group as long as they fit. Returns the first one that does not
/// fit.
fn gather(group: &mut Vec<Waiting>, queue: &mut mpsc::Receiver<Waiting>) -> Option<Waiting> {
    let mut bytes: usize = group.iter().map(|waiting| waiting.command.len()).sum();
    while group.len() < COMMANDS_PER_ENTRY_MAX {
        let next = queue.try_recv().ok()?;
        bytes += next.command.len();
        if bytes > COMMANDS_BYTES_MAX {
            return Some(next);
        }
        group.push(next);
    }
    None
}

async fn propose(
    raft: Raft,
    counters: Arc<Counters>,
    group: Vec<Waiting>,
    _place: OwnedSemaphorePermit,
) {
    let (commands, waiting): (Vec<Vec<u8>>, Vec<_>) =
        group.into_iter().map(|one| (one.command, one.done)).unzip();
    let started = Instant::now();
    let answers = match propose_all(&raft, commands).await {
        Ok(committed) => {
            counters.commits.observe(started.elapsed());
            committed.into_iter().map(Ok).collect()
        }
        Err(error) => vec![Err(error); waiting.len()],
    };
    for (done, answer) in waiting.into_iter().zip(answers) {
        // Fails if the caller no longer waits.
        let _ = done.send(answer);
    }
}

async fn propose_all(raft: &Raft, commands: Vec<Vec<u8>>) -> Result<Vec<Committed>, ProposeError> {
    // The commands may have been ordered, but their outcomes cannot be decoded.
    let unreadable = |error: wire::WireError| ProposeError::Unknown(error.to_string());
    let count = commands.len();
    match <[Vec<u8>; 1]>::try_from(commands) {
        Ok([command]) => Ok(vec![raft.propose(command).await?]),
        Err(commands) => {
            let entry = wire::encode_commands(&commands).map_err(unreadable)?;
            let committed = raft.propose(entry).await?;
            let outcomes = wire::decode_outcomes(&committed.response).map_err(unreadable)?;
            if outcomes.len() != count {
                return Err(ProposeError::Unknown("an outcome is missing".to_owned()));
            }
            let index = committed.index;
            Ok(outcomes.into_iter().map(|response| Committed { index, response }).collect())
        }
    }
}

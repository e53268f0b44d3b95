//! Puts commands that wait at the same time into one log entry.
//!
//! An entry costs the same whatever is in it: a place in the log, a frame to each member, a round
//! of answers. So a few entries are on their way at once, and what comes meanwhile waits for the
//! next one. Members of version 0.1.0 read one command an entry; with one of them in the cluster
//! the level is 0.

use std::sync::Arc;

use conclave_raft::{Committed, ProposeError, Raft};
use conclave_store::{
    limits::{COMMANDS_BYTES_MAX, COMMANDS_PER_ENTRY_MAX},
    wire,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Published;

/// Entries on their way at once.
const ENTRIES_MAX: usize = 2;
/// Commands that wait for an entry; more wait outside.
const WAITING_MAX: usize = 1024;

/// A command, and who waits for its outcome.
struct Waiting {
    command: Vec<u8>,
    done: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// Proposes commands; ends with its last user.
pub(super) struct Proposer {
    queue: mpsc::Sender<Waiting>,
}

impl Proposer {
    pub(super) fn start(raft: Raft, published: Arc<Published>) -> Proposer {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(raft, published, waiting));
        Proposer { queue }
    }

    /// Proposes an encoded command as the leader, and gives its encoded outcome.
    pub(super) async fn propose(&self, command: Vec<u8>) -> Result<Committed, ProposeError> {
        let (done, wait) = oneshot::channel();
        // Whether it was proposed is not known here.
        let stopped = || ProposeError::Unknown("the proposer has ended".to_owned());
        self.queue.send(Waiting { command, done }).await.map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

async fn run(raft: Raft, published: Arc<Published>, mut queue: mpsc::Receiver<Waiting>) {
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
        tokio::spawn(propose(raft.clone(), group, place));
    }
}

/// Takes what waits, as far as it fits; gives what did not.
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

async fn propose(raft: Raft, group: Vec<Waiting>, _place: OwnedSemaphorePermit) {
    let (commands, waiting): (Vec<Vec<u8>>, Vec<_>) =
        group.into_iter().map(|one| (one.command, one.done)).unzip();
    let answers = match propose_all(&raft, commands).await {
        Ok(committed) => committed.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); waiting.len()],
    };
    for (done, answer) in waiting.into_iter().zip(answers) {
        // The caller may have given up waiting.
        let _ = done.send(answer);
    }
}

async fn propose_all(raft: &Raft, commands: Vec<Vec<u8>>) -> Result<Vec<Committed>, ProposeError> {
    // What was ordered cannot be read by this very program: it is unknown what came of it.
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

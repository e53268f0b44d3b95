//! A member that is away costs nothing, and is found when it is back.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "harness/nodes.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod nodes;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use conclave_raft::{Committed, Role};
use nodes::{Members, Node, Pki, assert_same, leader, propose, start, start_with, three};
use tracing_subscriber::{EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt};

/// How long writes go on while a member is away.
const AWAY: Duration = Duration::from_secs(3);
/// More attempts than pauses of 100 ms to 1 s, half of it drawn, leave room for meanwhile.
const DIALS_MAX: usize = 14;
/// Bytes of log for one member that is away.
const LOG_BYTES_MAX: usize = 1024;

/// Lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// What is logged as users have it, and every attempt to connect.
struct Log {
    lines: Lines,
    dials: Lines,
}

impl Log {
    fn start() -> Log {
        let log = Log { lines: Lines::default(), dials: Lines::default() };
        let to = |lines: &Lines, directives: &str| {
            let format = tracing_subscriber::fmt::layer().with_ansi(false);
            format.with_writer(lines.clone()).with_filter(EnvFilter::new(directives)).boxed()
        };
        // As node/src/observe/log.rs has it.
        let usual = to(&log.lines, "warn,openraft=error,conclave=info");
        let dials = to(&log.dials, "conclave_raft::network::link=debug");
        let both = tracing_subscriber::registry().with(vec![usual, dials]);
        tracing::subscriber::set_global_default(both).unwrap();
        log
    }

    fn dials(&self) -> usize {
        self.dials.take().matches("raft.dial").count()
    }
}

/// Writes for a while.
async fn write_on(nodes: &[Node]) -> Committed {
    let began = Instant::now();
    loop {
        let committed = propose(nodes, "away").await;
        if began.elapsed() > AWAY {
            return committed;
        }
    }
}

// One test, because a process has one log.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_away_is_told_once_and_seldom_dialled() {
    let log = Log::start();
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let mut nodes = three(dir.path(), &pki).await;
    let done = propose(&nodes, "one").await;
    assert_same(&nodes, done.index).await;

    let place = nodes.iter().position(|node| node.raft.status().role != Role::Leader).unwrap();
    let gone = nodes.remove(place);
    let (id, address) = (gone.raft.status().id, gone.raft.local_address().unwrap());
    let (_, _) = (log.lines.take(), log.dials());
    gone.raft.shutdown().await.unwrap();
    drop(gone);
    write_on(&nodes).await;
    let (lines, dials) = (log.lines.take(), log.dials());
    assert!((1..=DIALS_MAX).contains(&dials), "{dials} attempts");
    assert!(lines.len() < LOG_BYTES_MAX, "{} bytes: {lines}", lines.len());
    assert_eq!(lines.matches("raft.peer_silent").count(), 1, "{lines}");

    // Another member takes its address.
    let other = nodes.iter().map(|node| node.raft.status()).find(|s| s.role != Role::Leader);
    let members = Arc::new(Members(Arc::clone(&pki)));
    let apart = dir.path().join("apart");
    let other = start_with(&apart, &pki, other.unwrap().id.0, address, members).await.unwrap();
    write_on(&nodes).await;
    let (lines, dials) = (log.lines.take(), log.dials());
    assert!((1..=DIALS_MAX).contains(&dials), "{dials} attempts");
    assert!(lines.len() < LOG_BYTES_MAX, "{} bytes: {lines}", lines.len());
    assert_eq!(lines.matches("raft.peer_is_another").count(), 1, "{lines}");
    other.raft.shutdown().await.unwrap();
    drop(other);

    nodes.push(start(dir.path(), &pki, id.0, address).await.unwrap());
    let last = propose(&nodes, "back").await.index;
    assert_same(&nodes, last).await;
    let lines = log.lines.take();
    assert!(lines.contains("raft.peer_answers"), "{lines}");
    assert_eq!(leader(&nodes).await.raft.status().voters.len(), 3);
}

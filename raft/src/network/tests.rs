//! Tests of links and streams over a network controlled by the test.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use openraft::{
    RaftNetworkFactory,
    network::{NetStreamAppend, RPCOption},
    raft::AppendEntriesRequest,
};
use tokio::sync::Semaphore;

use super::{
    BoxFuture, Factory, Links,
    transport::{Close, Connection, DialError, Stream, Transport, Urgency},
};
use crate::types::{NodeId, Types, Vote};

const PEER: NodeId = NodeId(2);

/// Unresponsive peer: connects when the test allows it, and accepts streams without ever answering.
#[derive(Default)]
struct Deaf {
    dials: AtomicUsize,
    urgencies: Mutex<Vec<Urgency>>,
    /// The peers' ends, kept open.
    ends: Mutex<Vec<tokio::io::DuplexStream>>,
}

struct DeafTransport {
    deaf: Arc<Deaf>,
    may_connect: Arc<Semaphore>,
}

impl Transport for DeafTransport {
    fn dial(
        &self,
        _: NodeId,
        _: String,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        self.deaf.dials.fetch_add(1, Ordering::Relaxed);
        let (deaf, may_connect) = (Arc::clone(&self.deaf), Arc::clone(&self.may_connect));
        Box::pin(async move {
            may_connect.acquire().await.unwrap().forget();
            let connection: Arc<dyn Connection> = Arc::new(DeafConnection(deaf));
            Ok(connection)
        })
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

struct DeafConnection(Arc<Deaf>);

impl Connection for DeafConnection {
    fn open(&self, urgency: Urgency) -> BoxFuture<'_, io::Result<Stream>> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        self.0.urgencies.lock().unwrap().push(urgency);
        self.0.ends.lock().unwrap().push(theirs);
        let (receive, send) = tokio::io::split(ours);
        Box::pin(async { Ok(Stream { send: Box::new(send), receive: Box::new(receive) }) })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(std::future::pending())
    }

    fn ended(&self) -> Option<String> {
        None
    }

    fn exporter(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }

    fn close(&self, _: Close) {}
}

fn deaf() -> (Arc<Deaf>, Arc<Semaphore>, Links) {
    let (deaf, may_connect) = (Arc::new(Deaf::default()), Arc::new(Semaphore::new(0)));
    let transport =
        DeafTransport { deaf: Arc::clone(&deaf), may_connect: Arc::clone(&may_connect) };
    (deaf, may_connect, Links::new(Arc::new(transport)))
}

fn append() -> AppendEntriesRequest<Types> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    }
}

#[tokio::test]
async fn a_dial_outlives_the_caller_that_began_it() {
    let (deaf, may_connect, links) = deaf();
    let link = links.link(PEER, "peer:1");
    let hasty = tokio::time::timeout(Duration::from_millis(1), links.session(&link)).await;
    assert!(hasty.is_err(), "it gave up");
    may_connect.add_permits(1);
    links.session(&link).await.unwrap();
    links.session(&link).await.unwrap();
    assert_eq!(deaf.dials.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stream_that_stalls_on_a_living_connection_ends_with_an_error() {
    let (deaf, may_connect, links) = deaf();
    may_connect.add_permits(1);
    let node = openraft::BasicNode::new("peer:1");
    let mut factory = Factory { links };
    // The heartbeat client has the same timeout; openraft cancels it earlier.
    for urgency in [Urgency::Bulk, Urgency::Urgent] {
        let mut client = match urgency {
            Urgency::Bulk => factory.new_client(PEER.0, &node).await,
            Urgency::Urgent => factory.new_heartbeat_client(PEER.0, &node).await,
        };
        // Keep the input open, so that only the missing answer can end the stream.
        let input = futures::stream::iter([append()]).chain(futures::stream::pending());
        let option = RPCOption::new(Duration::from_millis(50));
        let mut answers = client.stream_append(input, option).await.unwrap();
        let answer = answers.next().await.unwrap();
        assert!(answer.unwrap_err().to_string().contains("not answered"));
        assert!(answers.next().await.is_none());
        drop(answers);
        assert_eq!(deaf.urgencies.lock().unwrap().pop(), Some(urgency));
    }
}

//! Talking to other members.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, stream::BoxStream};
use openraft::{
    AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::{SnapshotOf, VoteOf},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        VoteRequest, VoteResponse,
    },
};
use serde_bytes::ByteBuf;
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{
    BoxFuture, CallError, Identity, Peers, frame,
    identity::member_client,
    lane::{Lane, URGENT},
};
use crate::{
    limits::{APPENDS_IN_FLIGHT_MAX, DIAL_PAUSE, DIAL_TIMEOUT},
    machine::blocking,
    snapshot::{Snapshot, SnapshotFile},
    types::{NodeId, Position, Types},
    wire::{
        AppendAnswerV1, AppendV1, CallV1, CheckpointV1, Message, SnapshotAnswerV1, SnapshotHeadV1,
        StreamAnswerV1, VoteAnswerV1, VoteRequestV1,
    },
};

/// All peers, by number; cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: quinn::Endpoint,
    identity: Identity,
    peers: Arc<dyn Peers>,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
}

/// One peer: its address and the connection to it.
struct Link {
    target: NodeId,
    address: Mutex<String>,
    connection: tokio::sync::Mutex<Dialled>,
}

#[derive(Default)]
struct Dialled {
    connection: Option<quinn::Connection>,
    failed: Option<Instant>,
}

impl Links {
    pub(crate) fn new(
        endpoint: quinn::Endpoint,
        identity: Identity,
        peers: Arc<dyn Peers>,
    ) -> Links {
        let links = Mutex::default();
        Links { shared: Arc::new(Shared { endpoint, identity, peers, links }) }
    }

    /// Notes where a peer is to be reached.
    pub(crate) fn know(&self, target: NodeId, address: &str) {
        let link = self.link(target, address);
        let mut known = link.address.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != address {
            address.clone_into(&mut known);
        }
    }

    fn link(&self, target: NodeId, address: &str) -> Arc<Link> {
        let mut links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(target).or_insert_with(|| {
            Arc::new(Link {
                target,
                address: Mutex::new(address.to_owned()),
                connection: tokio::sync::Mutex::default(),
            })
        });
        Arc::clone(link)
    }

    fn known(&self, target: NodeId) -> Option<Arc<Link>> {
        let links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(&target).cloned()
    }

    /// The connection to a peer, dialled if there is none. The lock is the peer's own, so a
    /// peer that is away holds nobody up but those who want it.
    async fn connection(&self, link: &Link) -> io::Result<quinn::Connection> {
        let mut dialled = link.connection.lock().await;
        if let Some(connection) = &dialled.connection
            && connection.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        if dialled.failed.is_some_and(|failed| failed.elapsed() < DIAL_PAUSE) {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "just failed to connect"));
        }
        match self.dial(link).await {
            Ok(connection) => {
                *dialled = Dialled { connection: Some(connection.clone()), failed: None };
                Ok(connection)
            }
            Err(error) => {
                *dialled = Dialled { connection: None, failed: Some(Instant::now()) };
                Err(error)
            }
        }
    }

    /// A new connection.
    async fn dial(&self, link: &Link) -> io::Result<quinn::Connection> {
        let address = link.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dial = async {
            let address = resolve(&address).await?;
            let peers = Arc::clone(&self.shared.peers);
            let config = member_client(&self.shared.identity, peers, link.target)
                .map_err(io::Error::other)?;
            let connecting = self
                .shared
                .endpoint
                .connect_with(config, address, "member.conclave.internal")
                .map_err(io::Error::other)?;
            connecting.await.map_err(io::Error::other)
        };
        let timeout = || io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(DIAL_TIMEOUT, dial).await.map_err(|_| timeout())?
    }

    /// A stream on the shared connection.
    async fn open(
        &self,
        link: &Link,
        lane: Lane,
    ) -> io::Result<(quinn::SendStream, quinn::RecvStream)> {
        let connection = self.connection(link).await?;
        open_on(&connection, lane).await
    }

    /// A request of the node above to a peer.
    pub(crate) async fn call(
        &self,
        target: NodeId,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let link = self.known(target).ok_or(CallError::Unreachable(target))?;
        let deadline = tokio::time::Instant::now() + timeout;
        let opened = tokio::time::timeout_at(deadline, self.open(&link, Lane::Call)).await;
        let Ok(Ok((mut send, mut receive))) = opened else {
            return Err(CallError::Unreachable(target));
        };
        let asked = async {
            frame::send(&mut send, &CallV1(ByteBuf::from(request))).await?;
            frame::receive_one::<CallV1>(&mut receive).await
        };
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(answer)) => Ok(answer.0.into_vec()),
            _ => Err(CallError::Lost(target)),
        }
    }
}

async fn open_on(
    connection: &quinn::Connection,
    lane: Lane,
) -> io::Result<(quinn::SendStream, quinn::RecvStream)> {
    let (mut send, receive) = connection.open_bi().await.map_err(io::Error::other)?;
    if !matches!(lane, Lane::Appends | Lane::Snapshot) {
        send.set_priority(URGENT).map_err(io::Error::other)?;
    }
    send.write_all(&[lane.byte()]).await.map_err(io::Error::other)?;
    Ok((send, receive))
}

/// `HOST:PORT` to an address; the first that the system gives.
async fn resolve(address: &str) -> io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(address).await?;
    found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Makes openraft's clients.
pub(crate) struct Factory {
    pub(crate) links: Links,
}

/// One peer, as openraft uses it.
pub(crate) struct Client {
    links: Links,
    link: Arc<Link>,
}

impl RaftNetworkFactory<Types> for Factory {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &openraft::BasicNode) -> Client {
        let target = NodeId(target);
        self.links.know(target, &node.addr);
        Client { links: self.links.clone(), link: self.links.link(target, &node.addr) }
    }
}

fn unreachable(error: io::Error) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(&error))
}

fn broken(error: io::Error) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&error))
}

impl Client {
    /// One request, one answer, on a stream of its own.
    async fn ask<Q: Message, A: Message>(
        &self,
        lane: Lane,
        request: &Q,
        option: &RPCOption,
    ) -> Result<A, RPCError<Types>> {
        let asked = async {
            let (mut send, mut receive) =
                self.links.open(&self.link, lane).await.map_err(unreachable)?;
            frame::send(&mut send, request).await.map_err(broken)?;
            frame::receive_one(&mut receive).await.map_err(broken)
        };
        tokio::time::timeout(option.hard_ttl(), asked)
            .await
            .map_err(|_| broken(io::ErrorKind::TimedOut.into()))?
    }

    async fn ask_vote(
        &self,
        rpc: VoteRequest<Types>,
        is_pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let request = VoteRequestV1 {
            vote: (&rpc.vote).into(),
            last: rpc.last_log_id.as_ref().map(Position::of),
            is_pre_vote,
            is_transfer: rpc.leadership_transfer,
        };
        let answer: VoteAnswerV1 = self.ask(Lane::Vote, &request, option).await?;
        let last = answer.last.map(Position::log_id);
        Ok(VoteResponse {
            vote: answer.vote.into(),
            vote_granted: answer.is_granted,
            last_log_id: last,
        })
    }

    /// Sends a snapshot on a connection of its own, so that appends do not wait behind it.
    async fn send_snapshot(
        &self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, Snapshot>,
    ) -> io::Result<SnapshotAnswerV1> {
        let SnapshotOf::<Types, Snapshot> { meta, snapshot } = snapshot;
        let file = blocking(move || snapshot.file()).await?;
        let connection = self.links.dial(&self.link).await?;
        let (mut send, mut receive) = open_on(&connection, Lane::Snapshot).await?;
        let applied = meta.last_log_id.as_ref().map(Position::of);
        let head = SnapshotHeadV1 {
            vote: (&vote).into(),
            checkpoint: CheckpointV1::new(applied, &meta.last_membership),
            bytes: file.bytes(),
            checksum: file.checksum(),
        };
        frame::send(&mut send, &head).await?;
        let (chunks, mut received) = mpsc::channel::<Vec<u8>>(4);
        let reading = blocking(move || read_chunks(&file, &chunks));
        let sending = async {
            while let Some(chunk) = received.recv().await {
                send.write_all(&chunk).await.map_err(io::Error::other)?;
            }
            send.shutdown().await
        };
        let (read, sent) = tokio::join!(reading, sending);
        read?;
        sent?;
        let answer = frame::receive_one(&mut receive).await?;
        connection.close(0u32.into(), b"sent");
        Ok(answer)
    }
}

fn read_chunks(file: &SnapshotFile, chunks: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    use std::io::Read;
    let mut reader = file.reader()?;
    loop {
        let mut chunk = vec![0; 64 * 1024];
        let length = reader.read(&mut chunk)?;
        chunk.truncate(length);
        if length == 0 || chunks.blocking_send(chunk).is_err() {
            return Ok(());
        }
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Snapshot;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer: AppendAnswerV1 =
            self.ask(Lane::Heartbeat, &AppendV1::from(&rpc), &option).await?;
        Ok(answer.into())
    }

    /// Many appends on one stream: the next is sent before the last is answered.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let (send, receive) =
                self.links.open(&self.link, Lane::Appends).await.map_err(unreachable)?;
            // Bounds how many appends are on their way.
            let (sent, answered) = mpsc::channel::<()>(APPENDS_IN_FLIGHT_MAX);
            let sender = AbortOnDrop(tokio::spawn(send_appends(input, send, sent)));
            let state = (receive, answered, sender);
            let answers = futures::stream::try_unfold(
                state,
                |(mut receive, mut answered, sender)| async move {
                    if answered.recv().await.is_none() {
                        return Ok(None);
                    }
                    let answer: StreamAnswerV1 =
                        frame::receive_one(&mut receive).await.map_err(broken)?;
                    let result = StreamAppendResult::<Types>::from(answer);
                    Ok(Some((result, (receive, answered, sender))))
                },
            );
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(rpc, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(rpc, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, Snapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = tokio::time::timeout(option.hard_ttl(), self.send_snapshot(vote, snapshot));
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => match sent {
                Ok(Ok(answer)) => Ok(SnapshotResponse { vote: answer.vote.into() }),
                Ok(Err(error)) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
                Err(_) => Err(StreamingError::Unreachable(Unreachable::new(
                    &AnyError::error("the snapshot was not taken in time"),
                ))),
            },
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(DIAL_PAUSE)))
    }
}

/// Sends appends as they come; ends with the input or the stream.
async fn send_appends(
    mut input: impl Stream<Item = AppendEntriesRequest<Types>> + Unpin,
    mut send: quinn::SendStream,
    sent: mpsc::Sender<()>,
) {
    while let Some(request) = input.next().await {
        // The place in the channel is taken first: it is what the reader waits for.
        if sent.send(()).await.is_err() {
            return;
        }
        if frame::send(&mut send, &AppendV1::from(&request)).await.is_err() {
            return;
        }
    }
    let _ = send.finish();
}

/// The task ends with whoever reads its answers.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

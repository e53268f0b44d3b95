//! Client side of the network: sends openraft's requests on streams of the peer's connection.

use std::{io, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use openraft::{
    AnyError, OptionalSend, RaftNetworkFactory,
    alias::{SnapshotOf, VoteOf},
    async_runtime::{AsyncRuntime, Select2},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{
        Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    },
    raft::{
        AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{
    BoxFuture, frame,
    lane::Lane,
    link::{Link, Links, Session},
    transport::{Receiver, Sender, Urgency},
};
use crate::{
    limits::{ANSWER_PATIENCE, APPENDS_IN_FLIGHT_MAX, DIAL_PAUSE, SNAPSHOT_CHUNK_BYTES},
    rt::{Rt, blocking},
    snapshot::{Snapshot, SnapshotFile},
    types::{NodeId, Position, Types},
    wire::{
        AppendV1, CheckpointV1, Message, SnapshotAnswerV1, SnapshotHeadV1, StreamAnswerV1,
        VoteAnswerV1, VoteRequestV1,
    },
};

/// Factory of openraft's clients.
pub(crate) struct Factory {
    pub(crate) links: Links,
}

/// openraft's client of one peer.
pub(crate) struct Client {
    links: Links,
    link: Arc<Link>,
    urgency: Urgency,
}

impl Factory {
    fn client(&self, target: u64, node: &openraft::BasicNode, urgency: Urgency) -> Client {
        let target = NodeId(target);
        self.links.know(target, &node.addr);
        Client { links: self.links.clone(), link: self.links.link(target, &node.addr), urgency }
    }
}

impl RaftNetworkFactory<Types> for Factory {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &openraft::BasicNode) -> Client {
        self.client(target, node, Urgency::Bulk)
    }

    /// Creates an urgent client: heartbeats must not wait behind entries.
    async fn new_heartbeat_client(&mut self, target: u64, node: &openraft::BasicNode) -> Client {
        self.client(target, node, Urgency::Urgent)
    }
}

/// Wraps an error. openraft pauses before it retries.
fn unreachable(error: io::Error) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(&error))
}

/// Wraps an error. openraft may retry at once.
fn broken(error: io::Error) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&error))
}

impl Client {
    /// Sends one request and receives one answer, on a stream of its own.
    async fn ask<Q: Message + Sync, A: Message>(
        &self,
        lane: Lane,
        request: &Q,
        option: &RPCOption,
    ) -> Result<A, RPCError<Types>> {
        let asked = async {
            let session = self.links.session(&self.link).await.map_err(unreachable)?;
            let (mut send, mut receive) =
                session.open(lane, Urgency::Urgent).await.map_err(unreachable)?;
            frame::send(&mut send, request).await.map_err(broken)?;
            session.answer(&mut receive).await.map_err(broken)
        };
        Rt::timeout(option.hard_ttl(), asked)
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
        let session = self.links.own_session(&self.link).await?;
        let (mut send, mut receive) = session.open(Lane::Snapshot, Urgency::Bulk).await?;
        let applied = meta.last_log_id.as_ref().map(Position::of);
        let head = SnapshotHeadV1 {
            vote: (&vote).into(),
            checkpoint: CheckpointV1::new(applied, &meta.last_membership),
            bytes: file.bytes(),
            checksum: file.checksum(),
        };
        frame::send(&mut send, &head).await?;
        send_file(file, &mut send).await?;
        let answer = session.answer(&mut receive).await?;
        session.close();
        Ok(answer)
    }
}

async fn send_file(file: SnapshotFile, send: &mut Sender) -> io::Result<()> {
    use std::io::Read;
    let mut reader = blocking(move || file.reader()).await?;
    loop {
        let (chunk, rest) = blocking(move || {
            let mut chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
            let mut part = reader.take(u64::try_from(SNAPSHOT_CHUNK_BYTES).unwrap_or(0));
            part.read_to_end(&mut chunk)?;
            Ok((chunk, part.into_inner()))
        })
        .await?;
        if chunk.is_empty() {
            frame::finish(send).await;
            return Ok(());
        }
        send.write_all(&chunk).await?;
        reader = rest;
    }
}

/// State of a stream of appends.
enum Appends<S> {
    /// Nothing to send yet.
    Waiting(S),
    Running(Running),
}

struct Running {
    session: Session,
    receive: Receiver,
    /// Sends appends as they arrive; `None` once that has ended.
    sending: Option<BoxFuture<'static, ()>>,
    /// One token for each append sent.
    sent: mpsc::Receiver<()>,
}

impl Client {
    /// Opens a stream once there is an append to send; `None` if the input ends first. The order
    /// matters: openraft takes its back-off while it produces the first append. Opening the stream
    /// earlier would fail without any pause while the peer is down. openraft can also cancel the
    /// wait for the peer.
    async fn begin_appends<S>(&self, mut input: S) -> io::Result<Option<Running>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let Some(first) = input.next().await else { return Ok(None) };
        let session = self.links.session_in_time(&self.link).await?;
        let (send, receive) = session.open(Lane::Appends, self.urgency).await?;
        // Bounds the number of appends in flight.
        let (sender, sent) = mpsc::channel::<()>(APPENDS_IN_FLIGHT_MAX);
        let input = futures::stream::iter([first]).chain(input);
        let sending = Some(send_appends(input, send, sender).boxed());
        Ok(Some(Running { session, receive, sending, sent }))
    }
}

impl Running {
    /// Receives the next answer; `None` once all appends are answered.
    async fn next(&mut self, patience: Duration) -> io::Result<Option<StreamAnswerV1>> {
        let Running { session, receive, sending, sent } = self;
        if meanwhile(sending, sent.recv()).await.is_none() {
            return Ok(None);
        }
        let answer = meanwhile(sending, session.answer(receive));
        match Rt::timeout(patience, answer).await {
            Ok(answer) => answer.map(Some),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "an append is not answered")),
        }
    }
}

/// Waits for `wanted`, and continues to send meanwhile.
async fn meanwhile<T>(
    sending: &mut Option<BoxFuture<'static, ()>>,
    wanted: impl Future<Output = T> + Send,
) -> T {
    let mut wanted = std::pin::pin!(wanted);
    if let Some(running) = sending {
        match Rt::select2(running.as_mut(), wanted.as_mut()).await {
            Select2::First(()) => *sending = None,
            Select2::Second(value) => return value,
        }
    }
    wanted.await
}

impl NetStreamAppend<Types> for Client {
    /// Pipelines appends on one stream: sends the next one before the last one is answered.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        // openraft's timeout is meant for a heartbeat, and is shorter than a slow device sync.
        let patience = option.soft_ttl().max(ANSWER_PATIENCE);
        let client: &'s Client = self;
        let answers =
            futures::stream::try_unfold(Appends::Waiting(input), move |state| async move {
                let mut running = match state {
                    Appends::Running(running) => running,
                    Appends::Waiting(input) => match client.begin_appends(input).await {
                        Ok(Some(running)) => running,
                        Ok(None) => return Ok(None),
                        Err(error) => return Err(unreachable(error)),
                    },
                };
                let answer = running.next(patience).await.map_err(unreachable)?;
                Ok(answer.map(|answer| {
                    (StreamAppendResult::<Types>::from(answer), Appends::Running(running))
                }))
            });
        Box::pin(async move { Ok(answers.boxed()) })
    }
}

impl NetVote<Types> for Client {
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
}

impl NetSnapshot<Types> for Client {
    type SnapshotData = Snapshot;

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, Snapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = Rt::timeout(option.hard_ttl(), self.send_snapshot(vote, snapshot));
        match Rt::select2(cancel, sending).await {
            Select2::First(closed) => Err(StreamingError::Closed(closed)),
            Select2::Second(Ok(Ok(answer))) => Ok(SnapshotResponse { vote: answer.vote.into() }),
            Select2::Second(Ok(Err(error))) => {
                Err(StreamingError::Unreachable(Unreachable::new(&error)))
            }
            Select2::Second(Err(_)) => Err(StreamingError::Unreachable(Unreachable::new(
                &AnyError::error("the snapshot was not taken in time"),
            ))),
        }
    }
}

impl NetTransferLeader<Types> for Client {
    /// Always fails, because the protocol has no such message. Leadership is transferred through
    /// calls of the layer above (`Raft::hand_over` and `Raft::take_over`).
    async fn transfer_leader(
        &mut self,
        _: TransferLeaderRequest<Types>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        Err(unreachable(io::ErrorKind::Unsupported.into()))
    }
}

impl NetBackoff<Types> for Client {
    /// Returns a short, constant back-off, because the link has growing pauses of its own.
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(DIAL_PAUSE)))
    }
}

/// Sends appends as they arrive, until the input or the stream ends.
async fn send_appends(
    mut input: impl Stream<Item = AppendEntriesRequest<Types>> + Unpin,
    mut send: Sender,
    sent: mpsc::Sender<()>,
) {
    while let Some(request) = input.next().await {
        // Take the place in the channel first: `Running::next` expects one answer for each place.
        if sent.send(()).await.is_err() {
            return;
        }
        if frame::send(&mut send, &AppendV1::from(&request)).await.is_err() {
            return;
        }
    }
    frame::finish(&mut send).await;
}

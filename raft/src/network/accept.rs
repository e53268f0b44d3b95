//! Server side of the network: answers requests from other members.

use std::{io, path::PathBuf, sync::Arc};

use futures::StreamExt;
use openraft::{
    alias::SnapshotMetaOf,
    alias::SnapshotOf,
    async_runtime::AsyncRuntime,
    raft::{AppendEntriesRequest, VoteRequest},
};
use serde_bytes::ByteBuf;
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{
    Calls, Links, frame,
    lane::Lane,
    transport::{Close, Connection, Receiver, Sender, Stream},
};
use crate::{
    limits::{APPENDS_IN_FLIGHT_MAX, SNAPSHOT_CHUNK_BYTES},
    machine::Stager,
    rt::{Handle, Rt, blocking},
    snapshot::{Snapshot, SnapshotFile, SnapshotWriter},
    state_machine::StateMachine,
    types::{NodeId, Position, Types},
    wire::{
        AppendAnswerV1, AppendV1, CallV1, SnapshotAnswerV1, SnapshotHeadV1, StreamAnswerV1,
        VoteAnswerV1, VoteRequestV1, VoteV1,
    },
};

/// Handler of connections from members.
#[derive(Clone)]
pub struct Accept {
    pub(crate) raft: openraft::Raft<Types, StateMachine>,
    pub(crate) calls: Arc<dyn Calls>,
    /// Runtime for answering calls, so that their work cannot delay Raft.
    pub(crate) above: Handle,
    pub(crate) links: Links,
    pub(crate) snapshots: PathBuf,
    pub(crate) stager: Arc<dyn Stager>,
}

impl Accept {
    /// Answers the streams of a member's connection until it ends.
    pub async fn member(&self, from: NodeId, connection: Arc<dyn Connection>) -> io::Result<()> {
        let exporter = connection.exporter().ok_or(io::ErrorKind::NotConnected)?;
        self.links.heard(from);
        loop {
            let stream = connection.accept().await?;
            let (accept, connection) = (self.clone(), Arc::clone(&connection));
            Rt::spawn(async move {
                if let Err(error) = accept.stream(from, exporter, stream).await {
                    tracing::debug!(event = "raft.stream_ended", %from, %error);
                    if error.kind() == io::ErrorKind::InvalidData {
                        connection.close(Close::Malformed);
                    }
                }
            });
        }
    }

    async fn stream(&self, from: NodeId, exporter: [u8; 32], stream: Stream) -> io::Result<()> {
        let Stream { mut send, mut receive } = stream;
        match Lane::from_byte(receive.read_u8().await?)? {
            Lane::Appends => return self.appends(from, send, receive).await,
            Lane::Heartbeat => {
                let request: AppendV1 = frame::receive_one(&mut receive).await?;
                check_claim(from, request.vote)?;
                let request = AppendEntriesRequest::<Types>::try_from(request)?;
                let answer = self.raft.append_entries(request).await.map_err(io::Error::other)?;
                frame::send(&mut send, &AppendAnswerV1::from(answer)).await?;
            }
            Lane::Vote => {
                let request: VoteRequestV1 = frame::receive_one(&mut receive).await?;
                check_claim(from, request.vote)?;
                frame::send(&mut send, &self.vote(request).await?).await?;
            }
            Lane::Snapshot => {
                let answer = self.snapshot(from, &mut receive).await?;
                frame::send(&mut send, &answer).await?;
            }
            Lane::Call => {
                let request: CallV1 = frame::receive_one(&mut receive).await?;
                let answering = self.calls.call(from, exporter, request.0.into_vec());
                let answer = self.above.spawn(answering).await;
                let answer = answer.map_err(|_| io::Error::other("a call has failed"))?;
                frame::send(&mut send, &CallV1(ByteBuf::from(answer))).await?;
            }
        }
        frame::finish(&mut send).await;
        Ok(())
    }

    async fn appends(
        &self,
        from: NodeId,
        mut send: Sender,
        mut receive: Receiver,
    ) -> io::Result<()> {
        let (requests, input) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
        let reading = async move {
            while let Some(request) = frame::receive::<AppendV1>(&mut receive).await? {
                check_claim(from, request.vote)?;
                let request = AppendEntriesRequest::<Types>::try_from(request)?;
                if requests.send(request).await.is_err() {
                    break;
                }
            }
            Ok::<(), io::Error>(())
        };
        let input = futures::stream::unfold(input, |mut input| async move {
            input.recv().await.map(|request| (request, input))
        });
        let raft = self.raft.clone();
        let answering = async move {
            let mut answers = std::pin::pin!(raft.stream_append(input.boxed()));
            while let Some(answer) = answers.next().await {
                let answer = answer.map_err(io::Error::other)?;
                frame::send(&mut send, &StreamAnswerV1::from(answer)).await?;
            }
            frame::finish(&mut send).await;
            Ok::<(), io::Error>(())
        };
        tokio::try_join!(reading, answering).map(|_| ())
    }

    async fn vote(&self, request: VoteRequestV1) -> io::Result<VoteAnswerV1> {
        let rpc = VoteRequest {
            vote: request.vote.into(),
            last_log_id: request.last.map(Position::log_id),
            leadership_transfer: request.is_transfer,
        };
        let answer = if request.is_pre_vote {
            self.raft.pre_vote(rpc).await
        } else {
            self.raft.vote(rpc).await
        };
        let answer = answer.map_err(io::Error::other)?;
        Ok(VoteAnswerV1 {
            vote: (&answer.vote).into(),
            is_granted: answer.vote_granted,
            last: answer.last_log_id.as_ref().map(Position::of),
        })
    }

    /// Receives a snapshot into a file, verifies it, stages it and installs it.
    async fn snapshot(&self, from: NodeId, receive: &mut Receiver) -> io::Result<SnapshotAnswerV1> {
        let head: SnapshotHeadV1 = frame::receive_one(receive).await?;
        check_claim(from, head.vote)?;
        let file = receive_file(self.snapshots.clone(), head.bytes, receive).await?;
        if (file.bytes(), file.checksum()) != (head.bytes, head.checksum) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a damaged snapshot"));
        }
        let meta = SnapshotMetaOf::<Types> {
            last_log_id: head.checkpoint.applied.map(Position::log_id),
            last_membership: head.checkpoint.stored_membership()?,
        };
        let snapshot = Snapshot::of_file(file);
        // Stage before openraft gets the snapshot, so that installing it is quick.
        let (copy, staged_meta, stager) = (snapshot.clone(), meta.clone(), self.stager.clone());
        let staged = blocking(move || copy.stage(&staged_meta, stager.as_ref())).await?;
        snapshot.set_staged(staged);
        let snapshot = SnapshotOf::<Types, Snapshot> { meta, snapshot };
        let installed = self.raft.install_full_snapshot(head.vote.into(), snapshot).await;
        let answer = installed.map_err(io::Error::other)?;
        Ok(SnapshotAnswerV1 { vote: (&answer.vote).into() })
    }
}

/// Receives a file of at most `bytes` bytes.
async fn receive_file(
    dir: PathBuf,
    bytes: u64,
    receive: &mut Receiver,
) -> io::Result<SnapshotFile> {
    use std::io::Write;
    let mut writer = blocking(move || SnapshotWriter::create(&dir)).await?;
    let mut left = bytes;
    loop {
        let mut chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
        let mut part = (&mut *receive).take(u64::try_from(SNAPSHOT_CHUNK_BYTES).unwrap_or(0));
        let length = part.read_to_end(&mut chunk).await?;
        if length == 0 {
            return blocking(move || writer.finish()).await;
        }
        let length = u64::try_from(length).map_err(io::Error::other)?;
        left = left.checked_sub(length).ok_or(io::ErrorKind::InvalidData)?;
        writer = blocking(move || writer.write_all(&chunk).map(|()| writer)).await?;
    }
}

/// Checks that the vote in a request is the sender's own: a member must not speak for another one.
fn check_claim(from: NodeId, vote: VoteV1) -> io::Result<()> {
    if vote.node == from.0 {
        return Ok(());
    }
    let claimed = vote.node;
    tracing::warn!(event = "raft.false_claim", %from, claimed, "a member claims to be another");
    Err(io::Error::new(io::ErrorKind::InvalidData, "a vote of another node"))
}

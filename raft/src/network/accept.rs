//! Answering other members, and nodes that want to join.

use std::{io, path::PathBuf, sync::Arc};

use futures::StreamExt;
use openraft::{
    alias::SnapshotMetaOf,
    alias::SnapshotOf,
    raft::{AppendEntriesRequest, VoteRequest},
};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use serde_bytes::ByteBuf;
use tokio::sync::{Semaphore, mpsc};

use super::{
    Calls, Links, Peers, frame,
    identity::{self, ALPN_JOIN, ALPN_MEMBER},
    join,
    lane::Lane,
};
use crate::{
    limits::{APPENDS_IN_FLIGHT_MAX, CONNECTIONS_MAX, JOIN_BYTES_MAX, JOIN_TIMEOUT},
    machine::{StateMachine, blocking},
    snapshot::{Snapshot, SnapshotFile, SnapshotWriter},
    types::{NodeId, Position, Types},
    wire::{
        AppendAnswerV1, AppendV1, CallV1, SnapshotAnswerV1, SnapshotHeadV1, StreamAnswerV1,
        VoteAnswerV1, VoteRequestV1, VoteV1,
    },
};

/// What is needed to answer.
#[derive(Clone)]
pub(crate) struct Accept {
    pub(crate) raft: openraft::Raft<Types, StateMachine>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) calls: Arc<dyn Calls>,
    pub(crate) links: Links,
    pub(crate) snapshots: PathBuf,
}

/// Answers connections until the endpoint is closed.
pub(crate) async fn serve(endpoint: quinn::Endpoint, accept: Accept) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let accept = accept.clone();
        tokio::spawn(async move {
            let remote = incoming.remote_address();
            let served = match incoming.await {
                Ok(connection) => accept.connection(connection).await,
                Err(error) => Err(io::Error::other(error)),
            };
            if let Err(error) = served {
                tracing::debug!(event = "raft.connection_ended", %remote, %error);
            }
            drop(place);
        });
    }
}

impl Accept {
    async fn connection(&self, connection: Connection) -> io::Result<()> {
        let alpn = connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match alpn.as_deref() {
            Some(ALPN_MEMBER) => self.member(connection).await,
            Some(ALPN_JOIN) => {
                let joined = tokio::time::timeout(JOIN_TIMEOUT, self.joining(&connection)).await;
                joined.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no known protocol")),
        }
    }

    async fn joining(&self, connection: &Connection) -> io::Result<()> {
        let exporter =
            join::exporter(connection).ok_or_else(|| io::Error::other("no TLS exporter"))?;
        let (mut send, mut receive) = connection.accept_bi().await.map_err(io::Error::other)?;
        let request: CallV1 = frame::receive_one(&mut receive).await?;
        if request.0.len() > JOIN_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a join is too large"));
        }
        let remote = connection.remote_address();
        let answer = self.calls.join(exporter, remote, request.0.into_vec()).await;
        frame::send(&mut send, &CallV1(ByteBuf::from(answer))).await?;
        let _ = send.finish();
        // The peer closes when it has read the answer.
        connection.closed().await;
        Ok(())
    }

    async fn member(&self, connection: Connection) -> io::Result<()> {
        let certificates = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let from = certificates
            .as_deref()
            .and_then(|chain| identity::public_key(chain.first()?).ok())
            .and_then(|key| self.peers.identify(&key));
        let Some(from) = from else {
            connection.close(1u32.into(), b"not a member");
            let remote = connection.remote_address();
            tracing::warn!(event = "raft.stranger", %remote, "refused a node that is no member");
            return Ok(());
        };
        self.links.heard(from);
        loop {
            let (send, receive) = connection.accept_bi().await.map_err(io::Error::other)?;
            let (accept, connection) = (self.clone(), connection.clone());
            tokio::spawn(async move {
                if let Err(error) = accept.stream(from, send, receive).await {
                    tracing::debug!(event = "raft.stream_ended", %from, %error);
                    if error.kind() == io::ErrorKind::InvalidData {
                        connection.close(2u32.into(), b"malformed");
                    }
                }
            });
        }
    }

    async fn stream(
        &self,
        from: NodeId,
        mut send: SendStream,
        mut receive: RecvStream,
    ) -> io::Result<()> {
        let mut lane = [0];
        receive.read_exact(&mut lane).await.map_err(io::Error::other)?;
        match Lane::from_byte(lane[0])? {
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
                let answer = self.calls.call(from, request.0.into_vec()).await;
                frame::send(&mut send, &CallV1(ByteBuf::from(answer))).await?;
            }
        }
        let _ = send.finish();
        Ok(())
    }

    async fn appends(
        &self,
        from: NodeId,
        mut send: SendStream,
        mut receive: RecvStream,
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
            let _ = send.finish();
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

    /// Takes a snapshot into a file, checks it, installs it.
    async fn snapshot(
        &self,
        from: NodeId,
        receive: &mut RecvStream,
    ) -> io::Result<SnapshotAnswerV1> {
        let head: SnapshotHeadV1 = frame::receive_one(receive).await?;
        check_claim(from, head.vote)?;
        let (chunks, received) = mpsc::channel::<Vec<u8>>(4);
        let dir = self.snapshots.clone();
        let writing = blocking(move || write_chunks(&dir, received));
        let bytes = head.bytes;
        let reading = async move {
            let mut left = bytes;
            while let Some(chunk) =
                receive.read_chunk(64 * 1024, true).await.map_err(io::Error::other)?
            {
                let length = u64::try_from(chunk.bytes.len()).map_err(io::Error::other)?;
                left = left.checked_sub(length).ok_or(io::ErrorKind::InvalidData)?;
                if chunks.send(chunk.bytes.to_vec()).await.is_err() {
                    break;
                }
            }
            Ok::<(), io::Error>(())
        };
        let (file, ()) = tokio::try_join!(writing, reading)?;
        if (file.bytes(), file.checksum()) != (head.bytes, head.checksum) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a damaged snapshot"));
        }
        let meta = SnapshotMetaOf::<Types> {
            last_log_id: head.checkpoint.applied.map(Position::log_id),
            last_membership: head.checkpoint.stored_membership()?,
        };
        let snapshot = Snapshot::of_file(file);
        let snapshot = SnapshotOf::<Types, Snapshot> { meta, snapshot };
        let installed = self.raft.install_full_snapshot(head.vote.into(), snapshot).await;
        let answer = installed.map_err(io::Error::other)?;
        Ok(SnapshotAnswerV1 { vote: (&answer.vote).into() })
    }
}

fn write_chunks(
    dir: &std::path::Path,
    mut chunks: mpsc::Receiver<Vec<u8>>,
) -> io::Result<SnapshotFile> {
    use std::io::Write;
    let mut writer = SnapshotWriter::create(dir)?;
    while let Some(chunk) = chunks.blocking_recv() {
        writer.write_all(&chunk)?;
    }
    writer.finish()
}

/// A member speaks for itself only: the vote that it sends must be its own.
fn check_claim(from: NodeId, vote: VoteV1) -> io::Result<()> {
    if vote.node == from.0 {
        return Ok(());
    }
    let claimed = vote.node;
    tracing::warn!(event = "raft.false_claim", %from, claimed, "a member claims to be another");
    Err(io::Error::new(io::ErrorKind::InvalidData, "a vote of another node"))
}

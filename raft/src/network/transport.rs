//! What Raft needs of a network: connections to members, and streams of bytes on them.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

use super::BoxFuture;
use crate::types::NodeId;

/// Reaches other members.
pub trait Transport: Send + Sync + 'static {
    /// Connects to the member `target`, which must prove that it is it.
    fn dial(
        &self,
        target: NodeId,
        address: String,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>>;

    /// Address at which other nodes reach this one.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// Ends all connections at once; waits until the peers were told.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// A connection to a member whose key is checked.
pub trait Connection: Send + Sync + 'static {
    /// Opens a stream. Streams do not wait for each other.
    fn open(&self, urgency: Urgency) -> BoxFuture<'_, io::Result<Stream>>;

    /// The next stream that the peer opens; an error when the connection has ended.
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>>;

    /// Why it has ended, if it has.
    fn ended(&self) -> Option<String>;

    /// Ends it.
    fn close(&self, why: Close);
}

/// A stream in both directions. Shutting `send` down ends what the peer receives.
pub struct Stream {
    /// To the peer.
    pub send: Sender,
    /// From the peer.
    pub receive: Receiver,
}

/// How soon a stream's bytes must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Votes, heartbeats and calls: before all that is bulk.
    Urgent,
    /// Entries and snapshots.
    Bulk,
}

/// The sending half of a stream.
pub type Sender = Box<dyn AsyncWrite + Send + Sync + Unpin>;
/// The receiving half of a stream.
pub type Receiver = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// It has done its work.
    Done,
    /// The peer is no member.
    Stranger,
    /// The peer sent what cannot be read.
    Malformed,
}

/// Why a member was not reached.
#[derive(Debug)]
pub struct DialError {
    /// Something answered, and it was not the member.
    pub is_another: bool,
    /// What happened.
    pub error: io::Error,
}

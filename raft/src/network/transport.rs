//! Interface to the network: connections to members, and byte streams on them.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{BoxFuture, Certificates};
use crate::types::NodeId;

/// Access to the network, for dialling other members.
pub trait Transport: Send + Sync + 'static {
    /// Connects to the member `target`, which must prove its identity.
    fn dial(
        &self,
        target: NodeId,
        address: String,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>>;

    /// Returns the address for other nodes to reach this one.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// Shows other certificates of this node on later connections.
    fn renew(&self, _certificates: Certificates) -> io::Result<()> {
        Ok(())
    }

    /// Closes all connections at once, then waits until the peers have been told.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// A connection to an authenticated member.
pub trait Connection: Send + Sync + 'static {
    /// Opens a stream. Streams do not block each other.
    fn open(&self, urgency: Urgency) -> BoxFuture<'_, io::Result<Stream>>;

    /// Accepts the next stream opened by the peer. Fails once the connection has ended.
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>>;

    /// Returns the reason for the end of the connection, if it has ended.
    fn ended(&self) -> Option<String>;

    /// Returns why the peer has refused this node, if it has.
    fn refused(&self) -> Option<Close> {
        None
    }

    /// Returns keying material that only the two ends of this connection have. A proof made with it
    /// is worthless on any other connection.
    fn exporter(&self) -> Option<[u8; 32]>;

    /// Returns the time for a message to the peer and back, if it is known.
    fn round_trip(&self) -> Option<Duration> {
        None
    }

    /// Closes the connection.
    fn close(&self, why: Close);
}

/// A bidirectional stream. Shutting down `send` ends the peer's receiving half.
pub struct Stream {
    /// To the peer.
    pub send: Sender,
    /// From the peer.
    pub receive: Receiver,
}

/// Priority of a stream's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Votes, heartbeats and calls: sent before bulk data.
    Urgent,
    /// Entries and snapshots.
    Bulk,
}

/// The sending half of a stream.
pub type Sender = Box<dyn AsyncWrite + Send + Sync + Unpin>;
/// The receiving half of a stream.
pub type Receiver = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// Reason for closing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The connection is no longer needed.
    Done,
    /// The peer is not a member.
    Stranger,
    /// The peer sent malformed data.
    Malformed,
    /// The peer was a member and has been removed.
    Removed,
    /// The peer belongs to another cluster.
    OtherCluster,
    /// The peer should come again later.
    Busy,
}

impl Close {
    const ALL: [Close; 6] = [
        Close::Done,
        Close::Stranger,
        Close::Malformed,
        Close::Removed,
        Close::OtherCluster,
        Close::Busy,
    ];

    /// Returns the code for the peer.
    pub(super) fn code(self) -> u32 {
        match self {
            Close::Done => 0,
            Close::Stranger => 1,
            Close::Malformed => 2,
            Close::Removed => 3,
            Close::OtherCluster => 4,
            Close::Busy => 5,
        }
    }

    /// Returns the reason with this code.
    pub(super) fn of(code: u64) -> Option<Close> {
        Close::ALL.into_iter().find(|why| u64::from(why.code()) == code)
    }

    /// Returns the text for the peer.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Close::Done => "sent",
            Close::Stranger => "not a member",
            Close::Malformed => "malformed",
            Close::Removed => "removed from the cluster",
            Close::OtherCluster => "another cluster",
            Close::Busy => "too many connections",
        }
    }

    /// Returns whether the peer is told that it does not belong here.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Close::Stranger | Close::Removed | Close::OtherCluster)
    }
}

/// Error dialling a member.
#[derive(Debug)]
pub struct DialError {
    /// Whether another party answered, not the member.
    pub is_another: bool,
    /// The cause.
    pub error: io::Error,
}

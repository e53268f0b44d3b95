//! What a stream is for: its first byte.

use std::io;

/// Kinds of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Appends, many, each answered in order.
    Appends,
    /// One append: how members of version 0.1.0 could send a heartbeat. Answered, never sent.
    Heartbeat,
    /// One vote or pre-vote.
    Vote,
    /// One snapshot.
    Snapshot,
    /// One request of the node above.
    Call,
}

impl Lane {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Lane::Appends => 1,
            Lane::Heartbeat => 2,
            Lane::Vote => 3,
            Lane::Snapshot => 4,
            Lane::Call => 5,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> io::Result<Lane> {
        [Lane::Appends, Lane::Heartbeat, Lane::Vote, Lane::Snapshot, Lane::Call]
            .into_iter()
            .find(|lane| lane.byte() == byte)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an unknown lane"))
    }
}

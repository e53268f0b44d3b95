//! Purpose of a stream, given by its first byte.

use std::io;

/// Kind of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Many appends, answered one by one in order.
    Appends,
    /// One append, as members of version 0.1.0 could send a heartbeat. Answered, but never sent.
    Heartbeat,
    /// One vote or pre-vote.
    Vote,
    /// One snapshot.
    Snapshot,
    /// One request from the layer above.
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

//! Finished operations, remembered so that a retry gets the same answer.

use serde::{Deserialize, Serialize};

use super::Done;
use super::Principal;
use crate::{id::LogIndex, time::UnixMillis};

/// A finished operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The caller; the same id from another caller is a conflict.
    pub principal: Principal,
    /// Hash of the request; another request under this id is a conflict.
    pub request: [u8; 32],
    /// Its result.
    pub done: Done,
    /// Position of its command in the order.
    pub index: LogIndex,
    /// Time of the command.
    pub time: UnixMillis,
}

/// Summary of the forgotten operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationMemory {
    /// The greatest time of a forgotten operation. A command first tried at or before this time may
    /// already have been done.
    pub forgotten: UnixMillis,
}

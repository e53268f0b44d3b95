//! Operations that are done, so that a repetition gets the same answer.

use serde::{Deserialize, Serialize};

use super::Principal;
use crate::{id::LogIndex, outcome::Done, time::UnixMillis};

/// A finished operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked; somebody else's equal id is a conflict.
    pub principal: Principal,
    /// Hash of the request; another request under this id is a conflict.
    pub request: [u8; 32],
    /// What came of it.
    pub done: Done,
    /// Where it stands in the order.
    pub index: LogIndex,
    /// Time of the command.
    pub time: UnixMillis,
}

/// What is known of operations that are forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationMemory {
    /// The greatest time of a forgotten operation: a command that may have been tried at this time
    /// or before it may be done already.
    pub forgotten: UnixMillis,
}

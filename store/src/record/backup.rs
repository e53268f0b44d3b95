//! Backups and restoring.

use serde::{Deserialize, Serialize};

use crate::{
    id::{LogIndex, NodeId},
    time::UnixMillis,
};

/// The last complete backup that a caller has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBackup {
    /// Time of the backup.
    pub time: UnixMillis,
    /// Index of the last command in it.
    pub index: LogIndex,
    /// The node that wrote it.
    pub node: NodeId,
}

//! Retention of log entries: decides when to take an early snapshot and when to purge.
//!
//! openraft's own policy counts entries only, and purges those that a follower needs right after
//! the snapshot it is receiving. Under load that follower would never catch up.

use std::sync::{Arc, atomic::Ordering};

use openraft::async_runtime::{AsyncRuntime, watch::WatchReceiver};

use crate::{
    limits::{LOG_BYTES_MAX, LOG_LOOK_EVERY, PURGE_ENTRIES_MIN},
    rt::Rt,
    state_machine::StateMachine,
    types::Types,
    writer::Written,
};

/// Amount of log kept behind the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Fewest entries kept.
    pub entries: u64,
    /// Most bytes of entries kept for a peer that lacks them.
    pub bytes_behind: u64,
}

/// Extent of a log, as input of the rule. Indexes are 0 if there is none.
struct Extent {
    purged: u64,
    snapshot: u64,
    last: u64,
    bytes: u64,
    /// Lowest index replicated to all peers; `None` if there is no peer or this node does not lead.
    matched: Option<u64>,
    has_room: bool,
}

impl Extent {
    /// Returns the average bytes of an entry.
    fn entry_bytes(&self) -> u64 {
        (self.bytes / self.last.saturating_sub(self.purged).max(1)).max(1)
    }

    /// Returns whether the log since the last snapshot is so long in bytes that the next snapshot
    /// is due early.
    fn wants_snapshot(&self) -> bool {
        self.last.saturating_sub(self.snapshot) * self.entry_bytes() > LOG_BYTES_MAX
    }

    /// Returns the index up to which to purge, if the purge is worth its record.
    fn purge_upto(&self, keep: Retention) -> Option<u64> {
        let keeping = |bytes: u64| {
            // On a full disk, room matters more than the entries of a lagging follower.
            let bytes = if self.has_room { bytes } else { 0 };
            let entries = keep.entries.max(bytes / self.entry_bytes());
            self.last.saturating_sub(entries).min(self.snapshot.saturating_sub(keep.entries))
        };
        let usual = keeping(0);
        let upto = match self.matched {
            Some(matched) if matched < usual => usual.min(matched.max(keeping(keep.bytes_behind))),
            _ => usual,
        };
        (upto >= self.purged + PURGE_ENTRIES_MIN.min(keep.entries.max(1))).then_some(upto)
    }
}

/// Takes early snapshots of a log that is long in bytes, and purges what `keep` does not require.
/// Ends with Raft.
pub(super) async fn retain(
    raft: openraft::Raft<Types, StateMachine>,
    written: Arc<Written>,
    keep: Retention,
) {
    loop {
        Rt::sleep(LOG_LOOK_EVERY).await;
        let extent = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            if metrics.running_state.is_err() {
                return;
            }
            let index = |id: &Option<_>| {
                id.as_ref().map_or(0, |id: &openraft::alias::LogIdOf<Types>| id.index())
            };
            let peers = metrics.replication.as_ref();
            Extent {
                purged: index(&metrics.purged),
                snapshot: index(&metrics.snapshot),
                last: metrics.last_log_index.unwrap_or(0),
                bytes: written.bytes.load(Ordering::Relaxed),
                matched: peers.and_then(|peers| peers.values().map(index).min()),
                has_room: *written.has_room.borrow(),
            }
        };
        // A failure of either call shows in the running state.
        if extent.wants_snapshot() {
            let _ = raft.trigger().snapshot().await;
        }
        if let Some(upto) = extent.purge_upto(keep) {
            let _ = raft.trigger().purge_log(upto).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Retention = Retention { entries: 500, bytes_behind: 256_000 };

    /// Entries of 64 bytes.
    fn extent(purged: u64, snapshot: u64, last: u64, matched: Option<u64>) -> Extent {
        let bytes = (last - purged) * 64;
        Extent { purged, snapshot, last, bytes, matched, has_room: true }
    }

    #[test]
    fn a_purge_never_reaches_beyond_the_snapshot_and_is_worth_its_record() {
        assert_eq!(extent(0, 10_000, 10_100, None).purge_upto(KEEP), Some(9_500));
        assert_eq!(extent(0, 3_000, 10_100, None).purge_upto(KEEP), Some(2_500));
        assert_eq!(extent(0, 0, 10_100, None).purge_upto(KEEP), None, "no snapshot yet");
        assert_eq!(extent(9_300, 10_000, 10_100, None).purge_upto(KEEP), None, "too little");
        let entries = Retention { entries: 10, bytes_behind: 0 };
        assert_eq!(extent(0, 100, 101, None).purge_upto(entries), Some(90));
    }

    #[test]
    fn a_peer_that_is_behind_keeps_its_entries_up_to_a_bound() {
        assert_eq!(extent(0, 10_000, 10_000, Some(9_800)).purge_upto(KEEP), Some(9_500));
        assert_eq!(extent(0, 10_000, 10_000, Some(7_000)).purge_upto(KEEP), Some(7_000));
        assert_eq!(extent(0, 10_000, 10_000, Some(1_000)).purge_upto(KEEP), Some(6_000));
        let full = Extent { has_room: false, ..extent(0, 10_000, 10_000, Some(1_000)) };
        assert_eq!(full.purge_upto(KEEP), Some(9_500));
    }

    #[test]
    fn a_snapshot_is_due_by_bytes_behind_the_last_one() {
        let long = |snapshot| Extent { bytes: 2 * LOG_BYTES_MAX, ..extent(0, snapshot, 100, None) };
        assert!(long(0).wants_snapshot() && !long(60).wants_snapshot());
    }
}

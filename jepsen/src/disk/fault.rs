//! Faults of the simulated disk.

use std::{path::Path, time::Duration};

/// Kind of a disk call, as far as faults distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// Lookups, opens and listings: nothing changes.
    Look,
    Read,
    Write,
    /// fsync and fdatasync, of a file or a directory.
    Sync,
    /// Changes of names, sizes and allocation.
    Change,
}

impl Call {
    /// Returns whether crash points count this call.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Call::Write | Call::Sync | Call::Change)
    }
}

/// Rule for failing calls with EIO.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) call: Call,
    /// Part of the file's path; empty: any file.
    pub(crate) path: String,
    /// Matching calls passed through first.
    pub(crate) skip: u64,
    /// Matching calls failed after those.
    pub(crate) count: u64,
}

impl Rule {
    /// Counts a matching call, and returns whether it fails.
    pub(crate) fn hits(&mut self, call: Call, path: &Path) -> bool {
        if self.call != call || self.count == 0 || !path.to_string_lossy().contains(&self.path) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.count -= 1;
        true
    }
}

/// Decision about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Executed and answered.
    Go,
    /// The crash point: executed as far as a process can see, and never answered.
    Freeze,
    /// After the crash point: neither executed nor answered.
    Hold,
    /// Fails with EIO.
    Fail,
}

/// The faults of one disk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) rules: Vec<Rule>,
    /// Failed calls: their kinds and paths.
    pub(crate) failed: Vec<String>,
    /// Counted calls until the crash point.
    pub(crate) countdown: Option<u64>,
    pub(crate) is_frozen: bool,
    /// The call at the last crash point.
    pub(crate) crashed: String,
    /// Delay of each sync.
    pub(crate) sync_delay: Duration,
    /// Counted calls since the disk was made.
    pub(crate) counted: u64,
}

impl Faults {
    /// Decides about a call, and counts it.
    pub(crate) fn pass(
        &mut self,
        call: Call,
        path: impl FnOnce() -> std::path::PathBuf,
    ) -> Passage {
        if self.is_frozen {
            return Passage::Hold;
        }
        if call.is_counted() {
            self.counted += 1;
            if let Some(left) = &mut self.countdown {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.countdown = None;
                    self.is_frozen = true;
                    self.crashed = format!("{call:?} {}", path().display());
                    return Passage::Freeze;
                }
            }
        }
        if self.rules.iter().any(|rule| rule.call == call && rule.count > 0) {
            let path = path();
            if self.rules.iter_mut().any(|rule| rule.hits(call, &path)) {
                self.failed.push(format!("{call:?} {}", path.display()));
                return Passage::Fail;
            }
        }
        Passage::Go
    }
}

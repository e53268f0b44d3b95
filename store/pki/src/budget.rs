//! Work budget: hostile inputs exhaust it, honest ones do not.

use crate::{
    limits::{VERIFY_WORK_MAX, VERIFY_WORK_PER_LIST_BYTE},
    rule::{Broken, Reason},
};

/// Remaining work in nanoseconds. The costs are estimates, not measurements, so that the same
/// question has the same answer everywhere.
pub(crate) struct Budget {
    nanoseconds: u64,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget { nanoseconds: VERIFY_WORK_MAX }
    }

    /// Returns a larger budget: honest revocation lists may be large, and must be hashed.
    pub(crate) fn with_list_bytes(bytes: u64) -> Budget {
        Budget { nanoseconds: VERIFY_WORK_MAX + bytes.saturating_mul(VERIFY_WORK_PER_LIST_BYTE) }
    }

    pub(crate) fn spend(&mut self, nanoseconds: u64) -> Result<(), Broken> {
        let left = self.nanoseconds.checked_sub(nanoseconds);
        self.nanoseconds = left.ok_or_else(|| {
            let detail = "more work than any honest chain needs";
            Broken::new(Reason::TooMuch, "bounded work", detail)
        })?;
        Ok(())
    }
}

/// Returns a cost per item times the number of items.
pub(crate) fn each(count: usize, nanoseconds: u64) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(nanoseconds)
}

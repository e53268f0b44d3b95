//! Cluster membership: founding a cluster, joining one, and letting other nodes join.

mod admission;
mod found;
mod join;
mod leftover;
mod limits;
mod main_domain;
mod reconcile;
#[cfg(test)]
mod samples;
mod start;

pub(crate) use admission::{Admission, JoinOptions};
pub(crate) use found::{abandon, found};
pub(crate) use join::join;
pub(crate) use leftover::{LeftoverError, abandon_unknown};
pub(crate) use start::start;

/// Validity of certificates between nodes, in years. Peers are pinned by key, so the dates protect
/// nothing, and they must never cause an outage.
pub(crate) const YEARS: u64 = 20;

/// Returns the validity of certificates between nodes. It begins a day before `now`, because clocks
/// differ.
pub(crate) fn validity(now: conclave_store::time::UnixMillis) -> conclave_pki::issue::Validity {
    const DAY: u64 = 24 * 60 * 60;
    let not_before = (now.0 / 1000).saturating_sub(DAY);
    conclave_pki::issue::Validity { not_before, not_after: not_before + YEARS * 366 * DAY }
}

/// Returns the host name in the certificate of a node.
pub(crate) fn node_host_name(node: conclave_store::id::NodeId) -> String {
    format!("node-{node}.conclave.internal")
}

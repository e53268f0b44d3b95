//! Cluster membership: founding a cluster, joining one, letting other nodes join, and recovery from
//! a lost quorum.

mod address;
mod admission;
mod found;
mod join;
mod leftover;
mod limits;
mod main_domain;
mod moved;
mod put_out;
mod rate;
mod reconcile;
mod recover;
mod restore;
#[cfg(test)]
mod samples;
mod start;

pub(crate) use admission::{Admission, JoinTerms};
pub(crate) use found::{abandon, found};
pub(crate) use join::join;
pub(crate) use leftover::{LeftoverError, abandon_unknown};
pub(crate) use put_out::left_to_do;
pub(crate) use recover::Recovery;
pub(crate) use restore::{begin_restore, finish_restore, restore_rows};
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

/// Returns the number in the host name of a node's certificate.
fn node_number(host_name: &str) -> Option<conclave_store::id::NodeId> {
    let number = host_name.strip_prefix("node-")?.strip_suffix(".conclave.internal")?;
    let number = conclave_store::id::NodeId(number.parse().ok()?);
    (node_host_name(number) == host_name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conclave_store::id::NodeId;

    #[test]
    fn a_node_is_known_by_the_name_in_its_certificate() {
        assert_eq!(node_number(&node_host_name(NodeId(17))), Some(NodeId(17)));
        for other in ["node-017.conclave.internal", "node-.conclave.internal", "node-1.example"] {
            assert_eq!(node_number(other), None, "{other}");
        }
    }
}

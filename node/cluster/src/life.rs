//! Cluster membership: founding a cluster, joining one, letting other nodes join, and recovery from
//! a lost quorum.

mod address;
mod admission;
mod audit_copy;
mod canary;
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
mod renew;
mod restore;
#[cfg(test)]
mod samples;
mod start;

pub(crate) use admission::Admission;
pub use admission::JoinTerms;
pub use found::{abandon, found};
pub use join::join;
pub use leftover::{LeftoverError, abandon_unknown};
pub use put_out::left_to_do;
pub use rate::Rate;
pub use recover::Recovery;
pub use restore::{begin_restore, finish_restore, restore_rows};
pub use start::start;

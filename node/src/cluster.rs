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

pub(crate) use admission::{Admission, JoinTerms};
pub(crate) use found::{abandon, found};
pub(crate) use join::join;
pub(crate) use leftover::{LeftoverError, abandon_unknown};
pub(crate) use put_out::left_to_do;
pub(crate) use rate::Rate;
pub(crate) use recover::Recovery;
pub(crate) use restore::{begin_restore, finish_restore, restore_rows};
pub(crate) use start::start;

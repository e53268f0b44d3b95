//! A node as a part of its cluster: configuration, membership, replication, admission, and the one
//! way of a change ([`operate`]).
//!
//! What talks to people and programs stands on [`operate`] and [`view`]; what makes a process of it
//! is `conclave-node`.

pub mod admit;
mod authority;
pub mod config;
pub mod fault;
mod followers;
mod inspect;
pub mod life;
pub mod local;
pub mod logins;
pub mod member;
pub mod membership;
pub mod node;
pub mod observe;
pub mod operate;
mod recovered;
pub mod replica;
pub mod rights;
pub mod tls_names;
pub mod token;
pub mod trusted;
mod turns;
pub mod view;

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

//! JSON types, paths and stable error codes of the admin API.
//!
//! Shared by the node and its clients, so it contains no behaviour and no HTTP library. The table of
//! [`operation`]s says what the API can do; [`openapi`] tells other programs the same. Times are
//! RFC 3339 strings in UTC. Fingerprints are lower-case hex.

pub mod account;
pub mod audit;
pub mod backup;
pub mod canary;
pub mod certificate;
pub mod chain;
pub mod change;
pub mod client_auth;
pub mod cluster;
pub mod csr;
pub mod domain;
pub mod event;
pub mod finding;
pub mod grant;
pub mod join_token;
pub mod key;
pub mod keyring;
pub mod limits;
pub mod listener;
pub mod load;
pub mod need;
pub mod node;
pub mod openapi;
pub mod operation;
pub mod parameter;
pub mod path;
pub mod problem;
pub mod smime;
pub mod status;
pub mod tls;
pub mod token;
pub mod trust;
pub mod user;

/// API version, in every object.
pub const API_VERSION: &str = "conclave/v1";

//! Shapes and paths of the admin API, and its stable error codes.
//!
//! No behaviour and no HTTP library: the node answers with these, the client asks with them.
//! Times are RFC 3339 texts in UTC, fingerprints lower-case hex.

pub mod certificate;
pub mod chain;
pub mod change;
pub mod client_auth;
pub mod cluster;
pub mod csr;
pub mod domain;
pub mod join_token;
pub mod key;
pub mod keyring;
pub mod listener;
pub mod node;
pub mod path;
pub mod problem;
pub mod status;
pub mod tls;
pub mod token;
pub mod trust;

/// Version of the API, in every object.
pub const API_VERSION: &str = "conclave/v1";

/// Largest request body that a node reads, in bytes.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

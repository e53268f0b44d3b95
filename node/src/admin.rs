//! The admin API over HTTP, on a unix socket and over HTTPS.
//!
//! On the unix socket the file permissions decide who may do everything. HTTPS requires an access
//! token, whose grant says what its holder may do.

mod asked;
mod auth;
mod compress;
mod fields;
mod gate;
mod measured;
mod position;
mod problem;
mod routes;
mod serve;
mod unsealing;

pub(crate) use routes::router;
pub(crate) use serve::{open_https, open_socket, serve_https, serve_socket};

//! A node for people and programs: the admin API over HTTP, on a unix socket and over HTTPS, the
//! pages of owners of accounts, the health port, and the public page of certificates.
//!
//! On the unix socket the file permissions decide who may do everything. HTTPS requires an access
//! token, whose grant says what its holder may do. Changes go through
//! [`conclave_cluster::operate`] and [`conclave_cluster::life`].

mod asked;
mod auth;
mod compress;
mod fields;
mod gate;
pub mod health;
mod http;
mod measured;
pub mod owners;
mod parameters;
mod position;
mod problem;
pub mod public;
mod routes;
mod serve;
mod unsealing;

pub use http::limits;
pub use routes::router;
pub use serve::{open_https, open_socket, serve_https, serve_socket};

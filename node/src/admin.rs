//! The admin API: HTTP on a unix socket, where opening it is the permission, and over HTTPS with
//! a token.

mod asked;
mod auth;
mod problem;
mod routes;
mod serve;

pub(crate) use routes::router;
pub(crate) use serve::{open_https, open_socket, serve_https, serve_socket};

//! The admin API: HTTP on a unix socket, where opening it is the permission, and over HTTPS with
//! a token.

mod auth;
mod change;
mod dry_run;
mod problem;
mod routes;
mod serve;
mod show;
mod trusted;
mod turns;

pub(crate) use routes::router;
pub(crate) use serve::{open_https, open_socket, serve_https, serve_socket};
pub(crate) use show::parsed_certificate;
pub(crate) use turns::Turns;

//! S/MIME accounts: their messages and private keys, as functions of bytes; time and randomness are
//! passed in.
//!
//! No clock, no files, no sockets.

pub mod limits;
pub mod lock;
pub mod pkcs12;

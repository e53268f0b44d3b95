//! LMTP proxy (RFC 2033) in front of a mailbox server: each message is stored encrypted for the
//! account that it is for.
//!
//! ```text
//! sender (Postfix) --LMTP--> proxy --LMTP, a connection for each recipient--> mailbox server
//! ```
//!
//! A message streams through: nothing of it is ever on a disk here, and memory does not grow with
//! its size. A recipient is acknowledged when the mailbox server has acknowledged it.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//!
//! use conclave_mail::{Certificates, Mail, NotReady, Place, Settings, WithoutCertificate};
//! use conclave_smime::cms::Cipher;
//! use conclave_store::id::EmailAddress;
//!
//! struct None;
//! impl Certificates for None {
//!     fn of(&self, _: &EmailAddress) -> Result<Option<Vec<u8>>, NotReady> {
//!         Ok(Option::None)
//!     }
//! }
//!
//! let settings = Settings {
//!     listen: Place::parse("127.0.0.1:2424").unwrap(),
//!     upstream: Place::parse("unix:/run/dovecot/lmtp").unwrap(),
//!     without_certificate: WithoutCertificate::Defer,
//!     cipher: Cipher::Aes256Cbc,
//!     offers_dsn: false,
//! };
//! let mail = Mail::open("node-1", settings, Arc::new(None), Arc::default()).unwrap();
//! # async fn end(mail: Mail) {
//! mail.finish(Duration::from_secs(5)).await;
//! # }
//! ```

mod command;
mod counters;
mod data;
mod delivery;
pub mod limits;
mod listener;
mod offers;
mod place;
mod readers;
mod reply;
mod session;
mod settings;
mod shared;
mod transfer;
mod upstream;
mod wire;

#[cfg(test)]
mod tests;

pub use counters::{Counters, Outcome};
pub use listener::Mail;
pub use place::{Place, PlaceError};
pub use readers::{Certificates, NotReady};
pub use settings::{Settings, WithoutCertificate};

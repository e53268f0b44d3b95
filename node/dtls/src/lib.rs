//! The DTLS engine of a node: datagrams, plaintext and time in, datagrams and plaintext out.
//!
//! No socket, no runtime, no clock. A datagram without a session goes to the [`Door`], which
//! proves the sender's address by a cookie and keeps nothing until then. What it lets in becomes
//! a [`Session`] of the [`Context`] that the caller chooses by the server name. The [`Connector`]
//! is the other side, for probes.
//!
//! ```
//! use conclave_dtls::{Answer, CookieKey, CookieKeys, Door, Ignored};
//!
//! let make = CookieKey::new([1; 8], &[7; 32]); // a real caller has real randomness
//! let door = Door::new(CookieKeys { make, also: Vec::new() });
//! let client = "192.0.2.1:40000".parse().unwrap();
//! let answer = door.answer(client, b"no DTLS at all");
//! assert!(matches!(answer, Answer::Ignore(Ignored::ContentType(b'n'))));
//! ```

mod connector;
mod context;
mod cookie;
mod door;
mod engine;
mod ffi;
mod hello;
pub mod limits;
mod queue;
mod session;
mod ticket;

pub use connector::Connector;
pub use context::{
    ClientPolicy, Context, ContextError, Credential, Decision, Opening, Settings, Wrong,
};
pub use cookie::{CookieKey, CookieKeys};
pub use door::{Answer, Door};
pub use hello::{Alert, Assembly, ClientHello, Ignored, is_client_hello};
pub use session::{Facts, Reason, SendError, Session, State};
pub use ticket::{TicketKey, TicketKeys};

#[cfg(test)]
mod tests;

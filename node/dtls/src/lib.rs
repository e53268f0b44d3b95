//! The DTLS engine of a node: datagrams, plaintext and time in, datagrams and plaintext out.
//!
//! It has no socket, no runtime and no clock. A datagram without a session goes to the [`Door`],
//! which proves the sender's address by a cookie and keeps no state until then. The caller chooses
//! a [`Context`] by the server name of a proven hello, and the context starts a [`Session`]. The
//! [`Connector`] is the client side, for probes.
//!
//! ```
//! use conclave_dtls::{
//!     Answer, ClientPolicy, Connector, Context, CookieKey, CookieKeys, Credential, Door, Opening,
//!     Settings, State,
//! };
//! use std::time::Instant;
//!
//! # let made = rcgen::generate_simple_self_signed(["shop.example".into()]).unwrap();
//! # let (chain, key) = (vec![made.cert.der().to_vec()], made.signing_key.serialize_der());
//! // What a node has: a door for each set of cookie keys, a context for each domain and policy.
//! let make = CookieKey::new([1; 8], &[7; 32]); // a real caller has real randomness
//! let door = Door::new(CookieKeys { make, also: Vec::new() });
//! let shop = Context::new(Settings {
//!     credentials: &[Credential { chain: &chain, key: &key }],
//!     client: ClientPolicy::None,
//!     cipher_suites: &[],
//!     groups: &[],
//!     alpn: Vec::new(),
//!     binding: b"listener, domain and versions of its policy",
//!     ticket_seconds: 7200,
//! })
//! .unwrap();
//!
//! // A client, and its datagrams.
//! let now = Instant::now();
//! let mut client = Connector::new(&[]).unwrap().connect(Some("shop.example"), now, 1500).unwrap();
//! let address = "192.0.2.1:40000".parse().unwrap();
//!
//! let hello = client.next_datagram().unwrap();
//! let Answer::Verify(cookie) = door.answer(address, &hello) else { panic!() };
//! client.datagram(now, &cookie);
//! let hello = client.next_datagram().unwrap();
//! let Answer::Proven(hello) = door.answer(address, &hello) else { panic!() };
//! assert_eq!(hello.server_name(), Some("shop.example"));
//!
//! let opening = Opening { now, unix_seconds: 1_800_000_000, tickets: None, path_mtu_bytes: 1500 };
//! let mut session = shop.accept(&hello, opening).unwrap();
//! while *session.state() == State::Handshaking {
//!     while let Some(datagram) = session.next_datagram() {
//!         client.datagram(now, &datagram);
//!     }
//!     while let Some(datagram) = client.next_datagram() {
//!         session.datagram(now, &datagram);
//!     }
//! }
//! assert_eq!(session.facts().unwrap().version, "DTLSv1.2");
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
mod terms;
mod ticket;

pub use connector::Connector;
pub use context::{ClientPolicy, Context, ContextError, Credential, Settings};
pub use cookie::{CookieKey, CookieKeys};
pub use door::{Answer, Door};
pub use hello::{Alert, Assembly, ClientHello, Ignored, is_client_hello};
pub use session::{Facts, Reason, SendError, Session, State};
pub use terms::{Decision, Opening, Refused, Wrong};
pub use ticket::{TicketKey, TicketKeys};

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

#[cfg(test)]
mod tests;

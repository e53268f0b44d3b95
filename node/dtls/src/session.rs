//! One client's DTLS association, as its owner sees it: the one trait of this crate.

use std::time::Instant;

use crate::{hello::ClientHello, terms::Refused};

/// A DTLS association without a socket and without a clock of its own.
///
/// After each call that takes `&mut self`: send what [`next_datagram`](Session::next_datagram)
/// gives, pass on what [`next_plaintext`](Session::next_plaintext) gives, look at
/// [`state`](Session::state), and set a timer for [`next_timer`](Session::next_timer).
pub trait Session: Send {
    /// Takes a datagram of the client. What is not authentic is dropped without a word.
    fn datagram(&mut self, now: Instant, datagram: &[u8]);

    /// Repeats the last flight if its time has come; does nothing before.
    fn timer(&mut self, now: Instant);

    /// When [`timer`](Session::timer) is to be called; `None` if nothing waits for an answer.
    fn next_timer(&self) -> Option<Instant>;

    /// Seals one datagram of at most [`PLAINTEXT_BYTES_MAX`](crate::limits::PLAINTEXT_BYTES_MAX)
    /// bytes. One that does not fit the path is left to the fragmentation of IP.
    fn send(&mut self, plaintext: &[u8]) -> Result<(), SendError>;

    /// Says close_notify (or gives up a handshake) and closes.
    fn close(&mut self);

    /// Takes the next datagram to be sent to the client.
    fn next_datagram(&mut self) -> Option<Vec<u8>>;

    /// Takes the next plaintext from the client; the borders of records are kept.
    fn next_plaintext(&mut self) -> Option<Vec<u8>>;

    /// Where the association stands.
    fn state(&self) -> &State;

    /// What the handshake has settled; `None` until then.
    fn facts(&self) -> Option<&Facts>;

    /// Whether this association began with this ClientHello: if so it is a repetition, else the
    /// client began anew and this association is to be replaced.
    fn began_with(&self, hello: &ClientHello) -> bool;
}

/// Where an association stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No keys yet.
    Handshaking,
    /// Plaintext flows.
    Established,
    /// Over: only datagrams that are still to be sent may come out.
    Closed(Reason),
}

/// Why an association is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The other side said close_notify.
    #[error("closed by the other side")]
    Peer,
    /// [`Session::close`] was called.
    #[error("closed by this node")]
    Node,
    /// The client's certificate was refused by the caller's decision, in its words.
    #[error("client certificate refused: {}", .0.detail)]
    ClientCertificate(Refused),
    /// The other side left one flight unanswered through all its repetitions.
    #[error("no answer from the other side")]
    Silence,
    /// An alert of the other side or a failure of the protocol, in the words of the engine.
    #[error("{0}")]
    Protocol(String),
}

/// What a handshake has settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Version, as people write it: `DTLSv1.2`.
    pub version: &'static str,
    /// Cipher suite by its name in the standards.
    pub cipher: String,
    /// Server name of the ClientHello.
    pub server_name: Option<String>,
    /// Application protocol that both sides chose.
    pub alpn: Option<Vec<u8>>,
    /// Accepted certificate of the client and what it sent beside it, DER; only the certificate
    /// itself in a resumed session. For a client: what the server has shown.
    pub peer_chain: Vec<Vec<u8>>,
    /// Why a wrong client certificate was ignored, if one was.
    pub client_ignored: Option<Refused>,
    /// Whether an earlier session was resumed by a ticket.
    pub is_resumed: bool,
}

/// Why plaintext was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Not yet, or no more.
    #[error("the session is not established")]
    NotEstablished,
    /// Too large for one record.
    #[error("{bytes} bytes do not fit a record of {max}")]
    TooLong {
        /// Size of the plaintext.
        bytes: usize,
        /// Largest that fits.
        max: usize,
    },
    /// The engine failed; the session is closed.
    #[error("cannot seal: {0}")]
    Engine(String),
}

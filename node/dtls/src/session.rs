//! The session trait: one client's DTLS association, without I/O.

use std::time::Instant;

use crate::{hello::ClientHello, terms::Refused};

/// A DTLS association without a socket and without a clock.
///
/// After each call that takes `&mut self`: send all of [`next_datagram`](Session::next_datagram),
/// process all of [`next_plaintext`](Session::next_plaintext), check [`state`](Session::state), and
/// set a timer for [`next_timer`](Session::next_timer).
pub trait Session: Send {
    /// Processes a datagram of the client. Datagrams that fail authentication are dropped silently.
    fn datagram(&mut self, now: Instant, datagram: &[u8]);

    /// Retransmits the last flight if it is time; otherwise does nothing.
    fn timer(&mut self, now: Instant);

    /// Returns when to call [`timer`](Session::timer); `None` if no retransmission is pending.
    fn next_timer(&self) -> Option<Instant>;

    /// Encrypts one datagram of at most [`PLAINTEXT_BYTES_MAX`](crate::limits::PLAINTEXT_BYTES_MAX)
    /// bytes. A record larger than the path MTU is left to IP fragmentation.
    fn send(&mut self, plaintext: &[u8]) -> Result<(), SendError>;

    /// Sends close_notify, or aborts the handshake, and closes.
    fn close(&mut self);

    /// Takes the next datagram for the client.
    fn next_datagram(&mut self) -> Option<Vec<u8>>;

    /// Takes the next plaintext from the client. Record boundaries are kept.
    fn next_plaintext(&mut self) -> Option<Vec<u8>>;

    /// Returns the state of the association.
    fn state(&self) -> &State;

    /// Returns the parameters of the completed handshake; `None` before.
    fn facts(&self) -> Option<&Facts>;

    /// Returns whether this association began with this ClientHello. If so, the hello is a
    /// retransmission. If not, the client has started again and this association must be replaced.
    fn began_with(&self, hello: &ClientHello) -> bool;
}

/// State of an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The handshake is in progress.
    Handshaking,
    /// The handshake is complete.
    Established,
    /// Closed. Only the last datagrams are still to be sent.
    Closed(Reason),
}

/// Why an association is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The peer sent close_notify.
    #[error("closed by the other side")]
    Peer,
    /// [`Session::close`] was called.
    #[error("closed by this node")]
    Node,
    /// The caller's decision refused the client's certificate.
    #[error("client certificate refused: {}", .0.detail)]
    ClientCertificate(Refused),
    /// The peer left a flight unanswered through all retransmissions.
    #[error("no answer from the other side")]
    Silence,
    /// An alert of the peer or a protocol error, in OpenSSL's words.
    #[error("{0}")]
    Protocol(String),
}

/// Parameters of a completed handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Version in the usual notation: `DTLSv1.2`.
    pub version: &'static str,
    /// Cipher suite by its IANA name.
    pub cipher: String,
    /// Server name of the ClientHello.
    pub server_name: Option<String>,
    /// Negotiated application protocol.
    pub alpn: Option<Vec<u8>>,
    /// In a server's session: the accepted certificate of the client and those sent with it, DER. A
    /// resumed session holds only the certificate itself. In a client's session: the server's
    /// chain.
    pub peer_chain: Vec<Vec<u8>>,
    /// Why a wrong client certificate was ignored, if it was.
    pub client_ignored: Option<Refused>,
    /// Whether an earlier session was resumed by a ticket.
    pub is_resumed: bool,
}

/// Why plaintext could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The handshake is not complete, or the session is closed.
    #[error("the session is not established")]
    NotEstablished,
    /// Too large for one record.
    #[error("{bytes} bytes do not fit a record of {max}")]
    TooLong {
        /// Size of the plaintext.
        bytes: usize,
        /// Largest possible size.
        max: usize,
    },
    /// The engine failed; the session is closed.
    #[error("cannot seal: {0}")]
    Engine(String),
}

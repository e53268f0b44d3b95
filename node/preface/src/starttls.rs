//! STARTTLS: the unencrypted part of a connection, up to the command that starts TLS.
//!
//! A [`Conversation`] decides what is sent. It maps received bytes to bytes to send and the next
//! step, and knows no socket, no clock and no randomness. Bytes received before the handshake are
//! never treated as protected by TLS (CVE-2011-0411, CVE-2021-23214, CVE-2021-23222,
//! CVE-2021-38371).

mod ftp;
mod imap;
mod ldap;
mod lines;
mod pop3;
mod postgres;
mod sieve;
mod smtp;
#[cfg(test)]
mod tests;
mod xmpp;

pub use conclave_store::record::ListenerProtocol;

/// Buffers of one side of a conversation.
#[derive(Debug, Default)]
pub struct Side {
    /// Received bytes, not parsed yet.
    pub said: Vec<u8>,
    /// Bytes to send.
    pub tell: Vec<u8>,
}

/// Buffers of both sides.
#[derive(Debug, Default)]
pub struct Sides {
    /// The client of the listener.
    pub client: Side,
    /// The upstream of the listener.
    pub upstream: Side,
}

/// One side of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The client of the listener.
    Client,
    /// The upstream of the listener.
    Upstream,
}

/// What to do after the pending output has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Receive more bytes from this side.
    Read(Who),
    /// Receive more bytes from whichever side sends next.
    ReadAny,
    /// Start TLS with the client, or for outgoing TLS with the upstream. Then continue the
    /// conversation. On the client's side it continues with a new connection to the upstream.
    StartTls,
    /// Forward everything from here on, including the bytes already received.
    Pass,
    /// Close the connection.
    Close(Reason),
}

/// Why a conversation ends before forwarding starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The client ended the session.
    #[error("it has ended")]
    Ended,
    /// Unencrypted bytes followed the command or reply that starts TLS. They could be taken for
    /// protected.
    #[error("data in the clear behind the start of TLS")]
    Injected,
    /// A command is too long, or there are too many.
    #[error("too much before TLS")]
    TooMuch,
    /// The bytes are not of the listener's protocol.
    #[error("not the protocol of the listener")]
    Malformed,
    /// The peer refuses a necessary step; explained in words.
    #[error("{0}")]
    Refused(String),
}

/// The state machine of a protocol before and directly after the start of TLS.
pub trait Conversation: Send {
    /// Parses received bytes, adds bytes to send, and returns the next step.
    fn step(&mut self, sides: &mut Sides) -> Step;

    /// Returns a message for the client about the end of the connection.
    fn farewell(&self, text: &str) -> Vec<u8>;

    /// Returns the target domain of the client's stream (XMPP).
    fn stream_to(&self) -> Option<&str> {
        None
    }
}

/// Behaviour of a listener towards its clients before TLS.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Host name in its greeting.
    pub host: String,
    /// Whether only TLS is allowed. Then other commands are refused.
    pub requires_tls: bool,
    /// Random bytes for the id of an XMPP stream.
    pub stream_id: [u8; 16],
}

/// Returns the conversation with clients of a protocol; none if TLS comes with the first byte.
pub fn with_client(protocol: ListenerProtocol, manners: Manners) -> Option<Box<dyn Conversation>> {
    Some(match protocol {
        ListenerProtocol::Smtp => Box::new(lines::WithClient::new(smtp::Smtp, manners)),
        ListenerProtocol::Imap => Box::new(lines::WithClient::new(imap::Imap::default(), manners)),
        ListenerProtocol::Pop3 => Box::new(lines::WithClient::new(pop3::Pop3::default(), manners)),
        ListenerProtocol::Sieve => Box::new(lines::WithClient::new(sieve::Sieve, manners)),
        ListenerProtocol::Ftp => Box::new(lines::WithClient::new(ftp::Ftp, manners)),
        ListenerProtocol::XmppClient | ListenerProtocol::XmppServer => {
            Box::new(xmpp::WithClient::new(protocol, manners))
        }
        ListenerProtocol::Ldap => Box::new(ldap::WithClient::new(manners)),
        ListenerProtocol::Postgres => Box::new(postgres::WithClient::new(manners)),
        ListenerProtocol::Tls | ListenerProtocol::OutgoingTls | ListenerProtocol::Dtls => {
            return None;
        }
    })
}

/// Returns the conversation with remote servers of a protocol. It ends in TLS or fails. None if TLS
/// comes with the first byte.
pub fn with_server(protocol: ListenerProtocol, host: &str) -> Option<Box<dyn Conversation>> {
    let host = host.to_owned();
    Some(match protocol {
        ListenerProtocol::Smtp => Box::new(lines::WithServer::new(smtp::Smtp, host)),
        ListenerProtocol::Imap => Box::new(lines::WithServer::new(imap::Imap::default(), host)),
        ListenerProtocol::Pop3 => Box::new(lines::WithServer::new(pop3::Pop3::default(), host)),
        ListenerProtocol::Sieve => Box::new(lines::WithServer::new(sieve::Sieve, host)),
        ListenerProtocol::Ftp => Box::new(lines::WithServer::new(ftp::Ftp, host)),
        ListenerProtocol::XmppClient | ListenerProtocol::XmppServer => {
            Box::new(xmpp::WithServer::new(protocol))
        }
        ListenerProtocol::Ldap => Box::new(ldap::WithServer::default()),
        ListenerProtocol::Postgres => Box::new(postgres::WithServer::default()),
        ListenerProtocol::Tls | ListenerProtocol::OutgoingTls | ListenerProtocol::Dtls => {
            return None;
        }
    })
}

//! The part of a connection before TLS, where a command of the protocol starts TLS.
//!
//! What is said is decided by a [`Conversation`]: bytes in, bytes to say and the next step out;
//! it knows no socket, no clock and no randomness.
//! Nothing that was read before the handshake is ever taken for something that was said under
//! its protection (CVE-2011-0411, CVE-2021-23214, CVE-2021-23222, CVE-2021-38371).

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

/// One side of a conversation.
#[derive(Debug, Default)]
pub struct Side {
    /// What it said and nobody has looked at yet.
    pub said: Vec<u8>,
    /// What it is to be told.
    pub tell: Vec<u8>,
}

/// Both sides.
#[derive(Debug, Default)]
pub struct Sides {
    /// Whoever connected to the listener.
    pub client: Side,
    /// Whom the listener connects to.
    pub upstream: Side,
}

/// One of the sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever connected to the listener.
    Client,
    /// Whom the listener connects to.
    Upstream,
}

/// What to do after the pending output has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// More must be heard of one end.
    Read(Who),
    /// TLS starts with the client, or for outgoing TLS with the upstream; then the conversation
    /// goes on, on the client's side with a new connection to the upstream.
    StartTls,
    /// Nothing is left to look at: what both said and will say is passed on.
    Pass,
    /// The connection ends.
    Close(Reason),
}

/// Why a conversation ends before its bytes are passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// By its own rules.
    #[error("it has ended")]
    Ended,
    /// Something came before the handshake that could be taken for protected.
    #[error("data in the clear behind the start of TLS")]
    Injected,
    /// Too much for one command, or too many commands.
    #[error("too much before TLS")]
    TooMuch,
    /// Not the protocol.
    #[error("not the protocol of the listener")]
    Malformed,
    /// The other end does not do what it must; in words.
    #[error("{0}")]
    Refused(String),
}

/// What both sides say around the start of TLS.
pub trait Conversation: Send {
    /// Looks at what was said, and says what follows.
    fn step(&mut self, sides: &mut Sides) -> Step;

    /// The protocol's way to tell the client why the connection ends.
    fn farewell(&self, text: &str) -> Vec<u8>;

    /// The domain that the client opened its stream to (XMPP).
    fn stream_to(&self) -> Option<&str> {
        None
    }
}

/// How a listener speaks with its clients before TLS.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Name by which it greets.
    pub host: String,
    /// Nothing but the way to TLS is allowed.
    pub requires_tls: bool,
    /// Random bytes for the id of an XMPP stream.
    pub stream_id: [u8; 16],
}

/// The conversation with clients of a protocol; none if TLS comes with the first byte.
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

/// The conversation with a remote server of a protocol that ends in TLS or not at all; none if
/// TLS comes with the first byte.
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

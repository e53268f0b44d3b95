//! PostgreSQL: SSLRequest, GSSENCRequest, CancelRequest and StartupMessage (Frontend/Backend
//! Protocol, "Message Formats").

use super::{Conversation, Manners, Reason, Sides, Step, Who, lines::take};

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// Longest first message, as in the PostgreSQL server.
const MESSAGE_BYTES_MAX: u32 = 10_000;
/// Longest CancelRequest: 16 bytes, or up to 268 with the longer keys of version 3.2.
const CANCEL_BYTES_MAX: usize = 268;

/// First message of a connection, which has no type byte.
#[derive(Debug, PartialEq, Eq)]
enum First {
    Incomplete,
    Ssl,
    Gss,
    Cancel(usize),
    /// StartupMessage of protocol version 3.
    Startup,
    Malformed,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let part = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(part.try_into().ok()?))
}

fn first(said: &[u8]) -> First {
    let Some(length) = number(said, 0) else { return First::Incomplete };
    if !(8..=MESSAGE_BYTES_MAX).contains(&length) {
        return First::Malformed;
    }
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    match number(said, 4) {
        Some(_) if said.len() < bytes => First::Incomplete,
        None => First::Incomplete,
        Some(SSL) if bytes == 8 => First::Ssl,
        Some(GSS) if bytes == 8 => First::Gss,
        Some(CANCEL) if (16..=CANCEL_BYTES_MAX).contains(&bytes) => First::Cancel(bytes),
        Some(version) if version >> 16 == 3 => First::Startup,
        Some(_) => First::Malformed,
    }
}

/// Encodes a fatal ErrorResponse.
fn fatal(code: &str, text: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat()
}

/// SQLSTATE codes.
const INVALID_AUTHORIZATION: &str = "28000";
const PROTOCOL_VIOLATION: &str = "08P01";
const CONNECTION_FAILURE: &str = "08006";

/// State of the conversation with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for the first message.
    First,
    /// Waiting for the first message after GSSAPI encryption was refused.
    SecondTry,
    /// The client sent a CancelRequest and sends nothing else.
    Cancelled,
    /// TLS has started.
    Secure,
}

/// The conversation with a client.
pub(super) struct WithClient {
    requires_tls: bool,
    stage: Stage,
}

impl WithClient {
    pub(super) fn new(manners: Manners) -> WithClient {
        WithClient { requires_tls: manners.requires_tls, stage: Stage::First }
    }

    fn close(sides: &mut Sides, reason: Reason, code: &str, text: &str) -> Step {
        sides.client.said.clear();
        sides.client.tell.extend(fatal(code, text));
        Step::Close(reason)
    }

    fn first(&mut self, sides: &mut Sides) -> Step {
        let said = &mut sides.client.said;
        match first(said) {
            First::Incomplete => Step::Read(Who::Client),
            // CVE-2021-23214: bytes after the request were sent unencrypted.
            First::Ssl | First::Gss if said.len() > 8 => {
                let text = "received unencrypted data after a request for encryption";
                Self::close(sides, Reason::Injected, PROTOCOL_VIOLATION, text)
            }
            First::Ssl => {
                said.clear();
                sides.client.tell.push(b'S');
                self.stage = Stage::Secure;
                Step::StartTls
            }
            First::Gss if self.stage == Stage::First => {
                said.clear();
                sides.client.tell.push(b'N');
                self.stage = Stage::SecondTry;
                Step::Read(Who::Client)
            }
            // Clients before version 17 send CancelRequest unencrypted even if they use TLS, and
            // PostgreSQL accepts that. Its key permits nothing else.
            First::Cancel(bytes) => {
                sides.upstream.tell = take(said, bytes);
                self.stage = Stage::Cancelled;
                Step::Read(Who::Upstream)
            }
            First::Startup if !self.requires_tls => Step::Pass,
            First::Startup => {
                let text = "TLS is required: connect with sslmode=verify-full";
                let reason = Reason::Refused("no request for TLS".to_owned());
                Self::close(sides, reason, INVALID_AUTHORIZATION, text)
            }
            First::Gss | First::Malformed => {
                let text = "not a first message of the protocol";
                Self::close(sides, Reason::Malformed, PROTOCOL_VIOLATION, text)
            }
        }
    }
}

impl Conversation for WithClient {
    fn step(&mut self, sides: &mut Sides) -> Step {
        match self.stage {
            Stage::First | Stage::SecondTry => self.first(sides),
            Stage::Cancelled => {
                // The server replies by closing. An error message goes to the client.
                sides.client.tell.append(&mut sides.upstream.said);
                Step::Read(Who::Upstream)
            }
            Stage::Secure => Step::Pass,
        }
    }

    fn farewell(&self, text: &str) -> Vec<u8> {
        match self.stage {
            Stage::Cancelled => Vec::new(),
            _ => fatal(CONNECTION_FAILURE, text),
        }
    }
}

/// The conversation with a remote server.
#[derive(Default)]
pub(super) struct WithServer {
    has_asked: bool,
    is_secure: bool,
}

impl WithServer {
    /// Handles a client's request for encryption, which is refused: the client's side has no TLS.
    fn first(sides: &mut Sides) -> Step {
        let said = &mut sides.client.said;
        match first(said) {
            First::Ssl | First::Gss if said.len() == 8 => {
                said.clear();
                sides.client.tell.push(b'N');
                Step::Read(Who::Client)
            }
            First::Incomplete => Step::Read(Who::Client),
            First::Startup | First::Cancel(_) => Step::Pass,
            First::Ssl | First::Gss | First::Malformed => {
                let text = "not a first message of the protocol";
                WithClient::close(sides, Reason::Malformed, PROTOCOL_VIOLATION, text)
            }
        }
    }
}

impl Conversation for WithServer {
    fn step(&mut self, sides: &mut Sides) -> Step {
        if self.is_secure {
            return Self::first(sides);
        }
        if !self.has_asked {
            self.has_asked = true;
            let request = [8_u32.to_be_bytes(), SSL.to_be_bytes()].concat();
            sides.upstream.tell.extend(request);
        }
        let reason = match sides.upstream.said.as_slice() {
            [] => return Step::Read(Who::Upstream),
            b"S" => {
                sides.upstream.said.clear();
                self.is_secure = true;
                return Step::StartTls;
            }
            // CVE-2021-23222: bytes before the handshake are not authenticated as the server's.
            [b'S', ..] => Reason::Injected,
            [b'N', ..] => Reason::Refused("the server offers no TLS".to_owned()),
            _ => Reason::Malformed,
        };
        sides.client.tell.extend(fatal(CONNECTION_FAILURE, "no TLS with the server"));
        Step::Close(reason)
    }

    fn farewell(&self, text: &str) -> Vec<u8> {
        fatal(CONNECTION_FAILURE, text)
    }
}

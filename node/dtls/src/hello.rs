//! Parser for the ClientHello of DTLS, run before OpenSSL sees a byte of it.
//!
//! Record: RFC 6347 §4.1. Handshake header and fragments: §4.2.2, §4.2.3. ClientHello: §4.2.1, RFC
//! 5246 §7.4.1.2. Server name: RFC 6066 §3. ALPN: RFC 7301 §3.1.

mod assembly;
mod reader;

use std::net::IpAddr;

pub use assembly::Assembly;
use reader::Reader;

use crate::limits;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// Why a datagram is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ignored {
    /// Too short for its length fields, or with bytes left over.
    #[error("malformed record or ClientHello")]
    Malformed,
    /// A record of another type: an alert, application data, or no DTLS.
    #[error("content type {0} where a handshake was expected")]
    ContentType(u8),
    /// The record's version is not a version of DTLS.
    #[error("record version {0:#06x} is not DTLS")]
    Version(u16),
    /// An encrypted record without a session.
    #[error("encrypted record of epoch {0} without a session")]
    Encrypted(u16),
    /// Another handshake message.
    #[error("handshake message {0} where a ClientHello was expected")]
    Message(u8),
    /// A message or record number too high for a ClientHello.
    #[error("message or record number out of range")]
    Number,
    /// A ClientHello above [`limits::HELLO_BYTES_MAX`].
    #[error("ClientHello of {0} bytes is too long")]
    TooLong(usize),
    /// A later fragment of a ClientHello whose first fragment has not arrived.
    #[error("fragment of a ClientHello without its first one")]
    StrayFragment,
    /// The first fragment ends before the last field that the cookie covers.
    #[error("first fragment of a ClientHello ends before its compression methods")]
    ShortFragment,
    /// A fragment of another ClientHello than the one being assembled.
    #[error("fragment of another ClientHello")]
    OtherHello,
    /// The server name is not a host name.
    #[error("server name is not a host name")]
    ServerName,
    /// The answer would be larger than the request.
    #[error("HelloVerifyRequest would be larger than the ClientHello")]
    Amplification,
}

/// One fragment of a handshake message in an unprotected record.
#[derive(Clone, Copy)]
pub(crate) struct Fragment<'a> {
    pub(crate) version: u16,
    pub(crate) record_number: u64,
    pub(crate) message_number: u16,
    pub(crate) message_bytes: usize,
    pub(crate) offset: usize,
    pub(crate) body: &'a [u8],
}

/// Iterator over the ClientHello fragments in one datagram.
pub(crate) struct Fragments<'a> {
    datagram: Reader<'a>,
    record: Reader<'a>,
    version: u16,
    record_number: u64,
}

impl<'a> Fragments<'a> {
    pub(crate) fn of(datagram: &'a [u8]) -> Fragments<'a> {
        let (datagram, record) = (Reader(datagram), Reader(&[]));
        Fragments { datagram, record, version: 0, record_number: 0 }
    }

    fn open_record(&mut self) -> Result<(), Ignored> {
        let content_type = self.datagram.u8().ok_or(Ignored::Malformed)?;
        if content_type != HANDSHAKE {
            return Err(Ignored::ContentType(content_type));
        }
        self.version = self.datagram.u16().ok_or(Ignored::Malformed)?;
        if self.version >> 8 != 0xFE {
            return Err(Ignored::Version(self.version));
        }
        let epoch = self.datagram.u16().ok_or(Ignored::Malformed)?;
        if epoch != 0 {
            return Err(Ignored::Encrypted(epoch));
        }
        self.record_number = self.datagram.u48().ok_or(Ignored::Malformed)?;
        let body = self.datagram.prefixed_u16().ok_or(Ignored::Malformed)?;
        self.record = Reader(body);
        if self.record_number > limits::HELLO_RECORD_NUMBER_MAX {
            return Err(Ignored::Number);
        }
        Ok(())
    }

    fn fragment(&mut self) -> Result<Fragment<'a>, Ignored> {
        let kind = self.record.u8().ok_or(Ignored::Malformed)?;
        if kind != CLIENT_HELLO {
            return Err(Ignored::Message(kind));
        }
        let message_bytes = self.record.u24().ok_or(Ignored::Malformed)?;
        let message_number = self.record.u16().ok_or(Ignored::Malformed)?;
        let offset = self.record.u24().ok_or(Ignored::Malformed)?;
        let body = self.record.prefixed_u24().ok_or(Ignored::Malformed)?;
        // The message number is 0 without a cookie, 1 with it (RFC 6347 §4.2.2).
        if message_number > 1 {
            return Err(Ignored::Number);
        }
        if message_bytes > limits::HELLO_BYTES_MAX {
            return Err(Ignored::TooLong(message_bytes));
        }
        if offset + body.len() > message_bytes {
            return Err(Ignored::Malformed);
        }
        let (version, record_number) = (self.version, self.record_number);
        Ok(Fragment { version, record_number, message_number, message_bytes, offset, body })
    }
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<Fragment<'a>, Ignored>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.record.is_empty() {
            if self.datagram.is_empty() {
                return None;
            }
            if let Err(why) = self.open_record() {
                (self.datagram, self.record) = (Reader(&[]), Reader(&[]));
                return Some(Err(why));
            }
        }
        let fragment = self.fragment();
        if fragment.is_err() {
            (self.datagram, self.record) = (Reader(&[]), Reader(&[]));
        }
        Some(fragment)
    }
}

/// Returns whether a datagram begins with a ClientHello. For an address pair with a session, it is
/// a retransmission or the client has restarted: [`Door::answer`](crate::Door::answer) must see it
/// first.
pub fn is_client_hello(datagram: &[u8]) -> bool {
    matches!(Fragments::of(datagram).next(), Some(Ok(_)))
}

/// The start of a ClientHello: all fields that the cookie covers.
pub(crate) struct Start<'a> {
    pub(crate) version: u16,
    pub(crate) random: &'a [u8],
    pub(crate) session_id: &'a [u8],
    pub(crate) cookie: &'a [u8],
    pub(crate) cipher_suites: &'a [u8],
    pub(crate) compression: &'a [u8],
    extensions: Reader<'a>,
}

impl<'a> Start<'a> {
    /// Parses the fields. Returns `None` if the bytes end too early or a length is invalid.
    pub(crate) fn read(body: &'a [u8]) -> Option<Start<'a>> {
        let mut reader = Reader(body);
        let start = Start {
            version: reader.u16()?,
            random: reader.take(32)?,
            session_id: reader.prefixed_u8()?,
            cookie: reader.prefixed_u8()?,
            cipher_suites: reader.prefixed_u16()?,
            compression: reader.prefixed_u8()?,
            extensions: reader,
        };
        let is_whole = start.session_id.len() <= 32
            && !start.cipher_suites.is_empty()
            && start.cipher_suites.len().is_multiple_of(2)
            && !start.compression.is_empty();
        is_whole.then_some(start)
    }
}

/// Why a proven client gets no session: fatal alerts of RFC 5246 §7.2.2 and RFC 6066 §9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alert {
    /// The domain exists but does not serve clients.
    AccessDenied,
    /// No domain matches the server name.
    UnrecognisedName,
    /// This node cannot serve the domain, through no fault of the client.
    InternalError,
    /// The client offers no supported version.
    ProtocolVersion,
}

impl Alert {
    fn code(self) -> u8 {
        match self {
            Alert::AccessDenied => 49,
            Alert::UnrecognisedName => 112,
            Alert::InternalError => 80,
            Alert::ProtocolVersion => 70,
        }
    }
}

/// A complete ClientHello with a verified cookie: the client's address is proven.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientHello {
    record_version: u16,
    record_number: u64,
    message_number: u16,
    body: Vec<u8>,
    version: u16,
    random: [u8; 32],
    server_name: Option<String>,
    alpn: Vec<Vec<u8>>,
}

impl ClientHello {
    /// Returns the highest offered version as on the wire: 0xFEFD is DTLS 1.2, 0xFEFF is DTLS 1.0.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Returns the server name, in lower case. `None` if there is none, or if it is a literal
    /// address, which is not allowed as a name (RFC 6066 §3).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Returns the offered application protocols, most preferred first.
    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.alpn
    }

    /// Returns the random. It identifies one handshake of a client; retransmissions repeat it.
    pub fn random(&self) -> [u8; 32] {
        self.random
    }

    /// Encodes a fatal alert for this hello, for a caller without a context for its server name.
    pub fn refuse(&self, alert: Alert) -> Vec<u8> {
        let mut bytes = vec![ALERT];
        bytes.extend(self.record_version.to_be_bytes());
        bytes.extend(self.record_number.to_be_bytes()); // epoch 0 and 48 bits
        bytes.extend([0, 2, 2, alert.code()]);
        bytes
    }

    /// Returns the number of the hello's record. The first record of the answer takes it over.
    pub(crate) fn record_number(&self) -> u64 {
        self.record_number
    }

    /// Encodes the message as a single record, as the client would have sent it unfragmented. The
    /// handshake hash covers this form (RFC 6347 §4.2.6).
    pub(crate) fn to_record(&self) -> Vec<u8> {
        let length = self.body.len();
        let u24 = |value: usize| {
            let bytes = u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
            [bytes[1], bytes[2], bytes[3]]
        };
        let record = u16::try_from(length + 12).expect("at most HELLO_BYTES_MAX");
        let mut bytes = Vec::with_capacity(25 + length);
        bytes.push(HANDSHAKE);
        bytes.extend(self.record_version.to_be_bytes());
        bytes.extend(self.record_number.to_be_bytes()); // epoch 0 and 48 bits
        bytes.extend(record.to_be_bytes());
        bytes.push(CLIENT_HELLO);
        bytes.extend(u24(length));
        bytes.extend(self.message_number.to_be_bytes());
        bytes.extend(u24(0));
        bytes.extend(u24(length));
        bytes.extend(&self.body);
        bytes
    }

    fn read(first: &Fragment<'_>, body: Vec<u8>) -> Result<ClientHello, Ignored> {
        let start = Start::read(&body).ok_or(Ignored::Malformed)?;
        let random = start.random.try_into().map_err(|_| Ignored::Malformed)?;
        let extensions = Extensions::read(start.extensions)?;
        Ok(ClientHello {
            record_version: first.version,
            record_number: first.record_number,
            message_number: first.message_number,
            version: start.version,
            random,
            server_name: extensions.server_name,
            alpn: extensions.alpn,
            body,
        })
    }
}

#[derive(Default)]
struct Extensions {
    server_name: Option<String>,
    alpn: Vec<Vec<u8>>,
}

impl Extensions {
    fn read(mut reader: Reader<'_>) -> Result<Extensions, Ignored> {
        let mut found = Extensions::default();
        if reader.is_empty() {
            return Ok(found);
        }
        let mut list = Reader(reader.prefixed_u16().ok_or(Ignored::Malformed)?);
        if !reader.is_empty() {
            return Err(Ignored::Malformed);
        }
        let (mut has_name, mut has_alpn) = (false, false);
        while !list.is_empty() {
            let kind = list.u16().ok_or(Ignored::Malformed)?;
            let data = Reader(list.prefixed_u16().ok_or(Ignored::Malformed)?);
            let seen = match kind {
                SERVER_NAME => &mut has_name,
                ALPN => &mut has_alpn,
                _ => continue,
            };
            // An extension must not occur twice (RFC 5246 §7.4.1.4).
            if std::mem::replace(seen, true) {
                return Err(Ignored::Malformed);
            }
            if kind == SERVER_NAME {
                found.server_name = host_name(data)?;
            } else {
                found.alpn = protocols(data).ok_or(Ignored::Malformed)?;
            }
        }
        Ok(found)
    }
}

fn host_name(mut data: Reader<'_>) -> Result<Option<String>, Ignored> {
    let mut list = Reader(data.prefixed_u16().ok_or(Ignored::Malformed)?);
    let kind = list.u8().ok_or(Ignored::Malformed)?;
    let name = list.prefixed_u16().ok_or(Ignored::Malformed)?;
    // host_name is the only type ever defined, and each type may occur once.
    if kind != 0 || !list.is_empty() || !data.is_empty() {
        return Err(Ignored::Malformed);
    }
    let name = std::str::from_utf8(name).map_err(|_| Ignored::ServerName)?;
    if name.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    // A dot at the end names the root and is taken as TLS takes it.
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(is_known)
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(Ignored::ServerName);
    }
    Ok(Some(name.to_ascii_lowercase()))
}

fn protocols(mut data: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = Reader(data.prefixed_u16()?);
    let mut names = Vec::new();
    while !list.is_empty() {
        let name = list.prefixed_u8().filter(|name| !name.is_empty())?;
        names.push(name.to_vec());
    }
    (data.is_empty() && !names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests;

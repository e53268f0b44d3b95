//! StartTLS of LDAP (RFC 4511 §4.14).

use super::{Conversation, Manners, Reason, Sides, Step, Who, lines::take};
use crate::limits::{CLEAR_COMMANDS_MAX, SAID_BYTES_MAX};

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const NOTICE_OF_DISCONNECTION: &[u8] = b"1.3.6.1.4.1.1466.20036";

/// Result codes (RFC 4511 appendix A).
const SUCCESS: u8 = 0;
const OPERATIONS_ERROR: u8 = 1;
const PROTOCOL_ERROR: u8 = 2;
const UNAVAILABLE_CRITICAL_EXTENSION: u8 = 12;
const CONFIDENTIALITY_REQUIRED: u8 = 13;
const UNAVAILABLE: u8 = 52;

/// Tags of operations (RFC 4511 §4.2 to §4.14).
const UNBIND: u8 = 0x42;
const ABANDON: u8 = 0x50;
const SEARCH: u8 = 0x63;
const SEARCH_DONE: u8 = 0x65;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
/// Tag of the controls of a message (RFC 4511 §4.1.1).
const CONTROLS: u8 = 0xa0;
/// Refusal of a critical control.
const NO_CONTROL: &str = "no critical control is known here";

/// A BER element: tag, content and total length.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    bytes: usize,
}

/// Result of parsing an element.
enum Read<'a> {
    Element(Element<'a>),
    /// More bytes are needed.
    Incomplete,
    Malformed,
}

/// Parses the first element, with definite length (RFC 4511 §5.1).
fn read(bytes: &[u8]) -> Read<'_> {
    let (Some(tag), Some(first)) = (bytes.first(), bytes.get(1)) else { return Read::Incomplete };
    let (start, length) = match first {
        0..=0x7f => (2_usize, usize::from(*first)),
        0x81..=0x84 => {
            let start = 2 + usize::from(first & 0x7f);
            let Some(octets) = bytes.get(2..start) else { return Read::Incomplete };
            (start, octets.iter().fold(0, |sum, octet| (sum << 8) | usize::from(*octet)))
        }
        _ => return Read::Malformed,
    };
    let Some(end) = start.checked_add(length).filter(|end| *end <= SAID_BYTES_MAX) else {
        return Read::Malformed;
    };
    match bytes.get(start..end) {
        Some(content) => Read::Element(Element { tag: *tag, content, bytes: end }),
        None => Read::Incomplete,
    }
}

/// Parses the first element of complete bytes, and returns the rest too.
fn split(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    match read(bytes) {
        Read::Element(element) => {
            let rest = bytes.get(element.bytes..)?;
            Some((element, rest))
        }
        Read::Incomplete | Read::Malformed => None,
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => bytes.push(short),
        // Our messages are far shorter than 64 KiB.
        _ => {
            bytes.push(0x82);
            bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// An LDAPMessage (RFC 4511 §4.1.1).
struct Message {
    /// Content of its message id, as encoded.
    id: Vec<u8>,
    operation: u8,
    content: Vec<u8>,
    /// Content of its controls, if there are any.
    controls: Vec<u8>,
    bytes: usize,
}

impl Message {
    /// Parses the first message; `None` if more bytes are needed.
    fn read(said: &[u8]) -> Result<Option<Message>, ()> {
        let message = match read(said) {
            Read::Element(message) if message.tag == 0x30 => message,
            Read::Incomplete if said.first().is_none_or(|tag| *tag == 0x30) => return Ok(None),
            _ => return Err(()),
        };
        let (id, rest) = split(message.content).ok_or(())?;
        let (operation, rest) = split(rest).ok_or(())?;
        if id.tag != 2 || id.content.is_empty() || id.content.len() > 4 {
            return Err(());
        }
        let controls = match split(rest) {
            None if rest.is_empty() => &[],
            Some((controls, [])) if controls.tag == CONTROLS => controls.content,
            _ => return Err(()),
        };
        Ok(Some(Message {
            id: id.content.to_vec(),
            operation: operation.tag,
            content: operation.content.to_vec(),
            controls: controls.to_vec(),
            bytes: message.bytes,
        }))
    }

    fn is_start_tls(&self) -> bool {
        let name = split(&self.content).filter(|(name, _)| name.tag == 0x80);
        self.operation == EXTENDED && name.is_some_and(|(name, _)| name.content == START_TLS)
    }

    /// Returns whether a control says that it must not be ignored (RFC 4511 §4.1.11). Returns none
    /// for malformed controls.
    fn has_critical_control(&self) -> Option<bool> {
        let (mut rest, mut is_critical) = (self.controls.as_slice(), false);
        while !rest.is_empty() {
            let (control, after) = split(rest).filter(|(control, _)| control.tag == 0x30)?;
            let (_, parts) = split(control.content).filter(|(kind, _)| kind.tag == 4)?;
            let flag = split(parts).filter(|(flag, _)| flag.tag == 1);
            is_critical |= flag.is_some_and(|(flag, _)| flag.content != [0]);
            rest = after;
        }
        Some(is_critical)
    }

    /// Returns whether this is a search for the root DSE, where a server lists its capabilities
    /// (RFC 4512 §5.1).
    fn is_root_search(&self) -> bool {
        let Some((base, rest)) = split(&self.content) else { return false };
        let scope = split(rest).map(|(scope, _)| scope.content);
        self.operation == SEARCH && base.content.is_empty() && scope == Some(&[0])
    }
}

fn message(id: &[u8], tag: u8, content: &[u8]) -> Vec<u8> {
    element(0x30, &[element(2, id), element(tag, content)].concat())
}

/// Encodes a result (RFC 4511 §4.1.9), with a response name for extended operations.
fn result(id: &[u8], tag: u8, code: u8, text: &str, name: Option<&[u8]>) -> Vec<u8> {
    let name = name.map(|name| element(0x8a, name)).unwrap_or_default();
    let parts = [element(0x0a, &[code]), element(4, b""), element(4, text.as_bytes()), name];
    message(id, tag, &parts.concat())
}

fn farewell(code: u8, text: &str) -> Vec<u8> {
    result(&[0], EXTENDED_RESPONSE, code, text, Some(NOTICE_OF_DISCONNECTION))
}

/// Encodes the root DSE before TLS: it lists only the StartTLS operation.
fn root(id: &[u8]) -> Vec<u8> {
    let values = element(0x31, &element(4, START_TLS));
    let attribute = element(0x30, &[element(4, b"supportedExtension"), values].concat());
    let entry = [element(4, b""), element(0x30, &attribute)].concat();
    [message(id, 0x64, &entry), result(id, SEARCH_DONE, SUCCESS, "", None)].concat()
}

/// The conversation with a client.
pub(super) struct WithClient {
    requires_tls: bool,
    is_secure: bool,
    messages: usize,
    /// Id of a search of the root DSE that the upstream is answering.
    asked: Option<Vec<u8>>,
}

impl WithClient {
    pub(super) fn new(manners: Manners) -> WithClient {
        let requires_tls = manners.requires_tls;
        WithClient { requires_tls, is_secure: false, messages: 0, asked: None }
    }

    /// Relays the upstream's answer to a search of the root DSE.
    fn answer(&mut self, id: &[u8], sides: &mut Sides) -> Option<Step> {
        let said = &mut sides.upstream.said;
        match Message::read(said) {
            Ok(Some(found)) => {
                sides.client.tell.extend(take(said, found.bytes));
                if found.id == id && found.operation == SEARCH_DONE {
                    self.asked = None;
                }
                None
            }
            Ok(None) => Some(Step::Read(Who::Upstream)),
            // Larger than is kept here, or not LDAP: leave the client to the upstream.
            Err(()) => Some(Step::Pass),
        }
    }

    fn start_tls(&mut self, found: &Message, sides: &mut Sides) -> Option<Step> {
        let answer =
            |code, text: &str| result(&found.id, EXTENDED_RESPONSE, code, text, Some(START_TLS));
        let client = &mut sides.client;
        if !client.said.is_empty() {
            // RFC 4511 §4.14.1: the client must send nothing before the response.
            client.said.clear();
            client.tell.extend(answer(OPERATIONS_ERROR, "data behind the request for TLS"));
            return Some(Step::Close(Reason::Injected));
        }
        match found.has_critical_control() {
            Some(false) => {}
            Some(true) => {
                client.tell.extend(answer(UNAVAILABLE_CRITICAL_EXTENSION, NO_CONTROL));
                return None;
            }
            None => {
                client.tell.extend(answer(PROTOCOL_ERROR, "malformed controls"));
                return Some(Step::Close(Reason::Malformed));
            }
        }
        client.tell.extend(answer(SUCCESS, ""));
        self.is_secure = true;
        Some(Step::StartTls)
    }

    fn message(&mut self, sides: &mut Sides) -> Option<Step> {
        let client = &mut sides.client;
        let found = match Message::read(&client.said) {
            Ok(Some(found)) => found,
            Ok(None) => return Some(Step::Read(Who::Client)),
            Err(()) => {
                client.tell.extend(farewell(PROTOCOL_ERROR, "not a message of LDAP"));
                return Some(Step::Close(Reason::Malformed));
            }
        };
        self.messages += 1;
        if self.messages > CLEAR_COMMANDS_MAX {
            client.tell.extend(farewell(UNAVAILABLE, "too many requests before TLS"));
            return Some(Step::Close(Reason::TooMuch));
        }
        if found.is_start_tls() {
            take(&mut client.said, found.bytes);
            return self.start_tls(&found, sides);
        }
        if !self.requires_tls {
            // Clients look at the root DSE for what a server can do before they start TLS.
            if !found.is_root_search() {
                return Some(Step::Pass);
            }
            sides.upstream.tell.extend(take(&mut client.said, found.bytes));
            self.asked = Some(found.id);
            return None;
        }
        take(&mut client.said, found.bytes);
        if found.is_root_search() {
            client.tell.extend(match found.has_critical_control() {
                Some(false) => root(&found.id),
                _ => {
                    let (code, text) = (UNAVAILABLE_CRITICAL_EXTENSION, NO_CONTROL);
                    result(&found.id, SEARCH_DONE, code, text, None)
                }
            });
            return None;
        }
        let name = (found.operation == EXTENDED).then_some(&b""[..]);
        let response = match found.operation {
            UNBIND => return Some(Step::Close(Reason::Ended)),
            ABANDON => return None,
            SEARCH => SEARCH_DONE,
            0x4a => 0x6b,
            // For bind, modify, add, modify DN, compare and extended, the tag of the response is
            // one higher.
            known @ (0x60 | 0x66 | 0x68 | 0x6c | 0x6e | EXTENDED) => known + 1,
            _ => {
                client.tell.extend(farewell(PROTOCOL_ERROR, "not a request of LDAP"));
                return Some(Step::Close(Reason::Malformed));
            }
        };
        let name = name.filter(|name| !name.is_empty());
        let text = "TLS must be started first";
        client.tell.extend(result(&found.id, response, CONFIDENTIALITY_REQUIRED, text, name));
        None
    }
}

impl Conversation for WithClient {
    fn step(&mut self, sides: &mut Sides) -> Step {
        if self.is_secure {
            return Step::Pass;
        }
        loop {
            let step = match self.asked.clone() {
                Some(id) => self.answer(&id, sides),
                None => self.message(sides),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn farewell(&self, text: &str) -> Vec<u8> {
        farewell(UNAVAILABLE, text)
    }
}

/// The conversation with a remote server.
#[derive(Default)]
pub(super) struct WithServer {
    has_asked: bool,
    is_secure: bool,
}

impl Conversation for WithServer {
    fn step(&mut self, sides: &mut Sides) -> Step {
        if self.is_secure {
            return Step::Pass;
        }
        if !self.has_asked {
            self.has_asked = true;
            sides.upstream.tell.extend(message(&[1], EXTENDED, &element(0x80, START_TLS)));
        }
        let said = &mut sides.upstream.said;
        let (reason, code) = match Message::read(said) {
            Ok(None) => return Step::Read(Who::Upstream),
            Ok(Some(answer)) => {
                take(said, answer.bytes);
                let code = split(&answer.content).map(|(code, _)| code.content.to_vec());
                let is_answer = answer.id == [1] && answer.operation == EXTENDED_RESPONSE;
                match code {
                    Some(code) if is_answer && code == [SUCCESS] => {
                        if said.is_empty() {
                            self.is_secure = true;
                            return Step::StartTls;
                        }
                        (Reason::Injected, UNAVAILABLE)
                    }
                    _ => (Reason::Refused("the server does not start TLS".to_owned()), UNAVAILABLE),
                }
            }
            Err(()) => (Reason::Malformed, UNAVAILABLE),
        };
        sides.client.tell.extend(farewell(code, "no TLS with the server"));
        Step::Close(reason)
    }

    fn farewell(&self, text: &str) -> Vec<u8> {
        farewell(UNAVAILABLE, text)
    }
}

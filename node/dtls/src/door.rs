//! The stateless door: a datagram without a session gets a cookie, a session or no answer.

use std::net::SocketAddr;

use crate::{
    cookie::CookieKeys,
    hello::{Assembly, ClientHello, Fragment, Fragments, Ignored, Start},
};

/// A stateless cookie check, so that a flood from unproven addresses costs no memory.
///
/// Shared by reference. Make a new door when the cookie keys change.
pub struct Door {
    keys: CookieKeys,
}

/// Next step for a datagram from an address without a session.
#[non_exhaustive]
pub enum Answer {
    /// Do nothing. Invalid datagrams are never answered, since the sender's address is unproven.
    Ignore(Ignored),
    /// Send this HelloVerifyRequest and keep no state. It is smaller than the received datagram.
    Verify(Vec<u8>),
    /// The address is proven, but the ClientHello is fragmented. Pass the next datagrams of this
    /// address to the assembly. Bound the number of assemblies and their lifetime.
    Partial(Assembly),
    /// The address is proven and the ClientHello complete: choose a context and accept.
    Proven(ClientHello),
}

impl Door {
    /// Makes a door with these cookie keys.
    pub fn new(keys: CookieKeys) -> Door {
        Door { keys }
    }

    /// Judges a datagram of `client`.
    pub fn answer(&self, client: SocketAddr, datagram: &[u8]) -> Answer {
        self.examine(client, datagram).unwrap_or_else(Answer::Ignore)
    }

    fn examine(&self, client: SocketAddr, datagram: &[u8]) -> Result<Answer, Ignored> {
        let first = Fragments::of(datagram).next().ok_or(Ignored::Malformed)??;
        if first.offset > 0 {
            return Err(Ignored::StrayFragment);
        }
        let is_whole = first.body.len() == first.message_bytes;
        let short = if is_whole { Ignored::Malformed } else { Ignored::ShortFragment };
        let start = Start::read(first.body).ok_or(short)?;
        // With its cookie the ClientHello is the client's second message (RFC 6347 §4.2.2).
        if first.message_number == 1 && self.keys.accept(client, &start) {
            let mut assembly = Assembly::new(&first);
            let hello = assembly.datagram(datagram)?;
            return Ok(hello.map_or(Answer::Partial(assembly), Answer::Proven));
        }
        let reply = hello_verify_request(&first, &self.keys.cookie(client, &start));
        if reply.len() >= datagram.len() {
            return Err(Ignored::Amplification);
        }
        Ok(Answer::Verify(reply))
    }
}

/// Encodes a HelloVerifyRequest. RFC 6347 §4.2.1: its version is 1.0 whatever is negotiated later,
/// and its record number is that of the ClientHello.
fn hello_verify_request(first: &Fragment<'_>, cookie: &[u8]) -> Vec<u8> {
    const DTLS_1_0: [u8; 2] = [0xFE, 0xFF];
    let count = u8::try_from(cookie.len()).expect("a cookie has 24 bytes");
    let body = 3 + count;
    let mut bytes = Vec::with_capacity(25 + usize::from(body));
    bytes.push(22);
    bytes.extend(DTLS_1_0);
    bytes.extend(first.record_number.to_be_bytes()); // epoch 0 and 48 bits
    bytes.extend([0, 12 + body]);
    bytes.extend([3, 0, 0, body, 0, 0, 0, 0, 0, 0, 0, body]);
    bytes.extend(DTLS_1_0);
    bytes.push(count);
    bytes.extend(cookie);
    bytes
}

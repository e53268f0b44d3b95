//! What a datagram gets that has no session: as it stands, and after the cookie of its answer is
//! put into it, since no mutation finds a valid one.

use std::{sync::LazyLock, time::Instant};

use conclave_dtls::{
    Alert, Answer, Assembly, ClientHello, Door, Ignored, Opening, is_client_hello, limits,
};

use super::{ASKING, DOOR, Input, OPEN, address, door};

/// Has other keys under the same id.
static STRANGER: LazyLock<Door> = LazyLock::new(|| door(2));
/// As many as a node takes of one client before it gives an assembly up.
const DATAGRAMS_MAX: usize = 64;
const RECORD_BYTES: usize = 13;
const MESSAGE_BYTES: usize = 12;
/// Where the length of the session id stands.
const SESSION_ID: usize = RECORD_BYTES + MESSAGE_BYTES + 34;

/// One byte: what is done behind the door. Then datagrams, each after two bytes of length.
pub fn dtls_hello(input: &[u8]) {
    let mut input = Input(input);
    let Some(how) = input.u8() else { return };
    let mut assembly = None;
    for _ in 0..DATAGRAMS_MAX {
        let Some(datagram) = input.datagram() else { return };
        if let Some(known) = assembly.as_mut() {
            match Assembly::datagram(known, datagram) {
                Ok(None) => continue,
                Ok(Some(hello)) => behind(&hello, how),
                Err(_) => {}
            }
            assembly = None;
        }
        let Some(cookie) = ask(datagram, how, &mut assembly) else { continue };
        let Some(proven) = with_cookie(datagram, &cookie) else { continue };
        assert!(ask(&proven, how, &mut assembly).is_none(), "the cookie is not taken");
        if let Answer::Proven(hello) = DOOR.answer(address(1), &proven) {
            fragmented(&proven, &hello, how);
        }
    }
}

/// Asks the door; gives the cookie if that is the answer.
fn ask(datagram: &[u8], how: u8, partial: &mut Option<Assembly>) -> Option<Vec<u8>> {
    let is_hello = is_client_hello(datagram);
    // Whatever it is: it proves nothing of another address, or to another cluster.
    for answer in [DOOR.answer(address(2), datagram), STRANGER.answer(address(1), datagram)] {
        assert!(matches!(answer, Answer::Verify(_) | Answer::Ignore(_)));
    }
    match DOOR.answer(address(1), datagram) {
        Answer::Verify(reply) => {
            assert!(is_hello && reply.len() < datagram.len(), "more bytes out than in");
            assert_eq!(reply.len(), 52);
            assert_eq!(&reply[..3], [22, 0xFE, 0xFF]);
            assert_eq!(reply[3..11], datagram[3..11], "the number of the record");
            return Some(reply[28..].to_vec());
        }
        Answer::Proven(hello) => behind(&hello, how),
        Answer::Partial(assembly) => *partial = Some(assembly),
        Answer::Ignore(why) => {
            assert!(!why.to_string().is_empty());
            assert!(is_hello || !matches!(why, Ignored::Amplification | Ignored::ServerName));
        }
        _ => unreachable!("no other answer is known"),
    }
    None
}

/// The same ClientHello as its sender repeats it with the cookie (RFC 6347 §4.2.1); none if that
/// would not fit its fields any more.
fn with_cookie(datagram: &[u8], cookie: &[u8]) -> Option<Vec<u8>> {
    let at = SESSION_ID + 1 + usize::from(*datagram.get(SESSION_ID)?);
    let old = usize::from(*datagram.get(at)?);
    let rest = datagram.get(at + 1 + old..)?;
    let count = u8::try_from(cookie.len()).unwrap();
    let mut proven = [&datagram[..at], &[count], cookie, rest].concat();
    let grown = |bytes: &[u8]| {
        let length = bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        length + cookie.len() - old.min(length + cookie.len())
    };
    let (record, message, fragment) =
        (grown(&proven[11..13]), grown(&proven[14..17]), grown(&proven[22..25]));
    if message > limits::HELLO_BYTES_MAX {
        return None;
    }
    proven[11..13].copy_from_slice(&u16::try_from(record).ok()?.to_be_bytes());
    proven[14..17].copy_from_slice(&u24(message));
    proven[17..19].copy_from_slice(&[0, 1]);
    proven[22..25].copy_from_slice(&u24(fragment));
    Some(proven)
}

fn u24(value: usize) -> [u8; 3] {
    let bytes = u32::try_from(value).unwrap().to_be_bytes();
    [bytes[1], bytes[2], bytes[3]]
}

/// What a node does with a client that is proven.
fn behind(hello: &ClientHello, how: u8) {
    if let Some(name) = hello.server_name() {
        assert!(!name.is_empty() && name.len() <= 253);
        assert_eq!(name, name.to_ascii_lowercase());
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    assert!(hello.alpn().iter().all(|name| !name.is_empty()));
    assert_eq!(hello.refuse(Alert::UnrecognisedName).len(), 15);
    let context = if how & 1 == 0 { &OPEN } else { &ASKING };
    let (now, path_mtu_bytes) = (Instant::now(), if how & 2 == 0 { 1500 } else { 576 });
    let opening = Opening { now, unix_seconds: 1_767_225_600, tickets: None, path_mtu_bytes };
    let mut session = context.accept(hello, opening).unwrap();
    let mut sent = 0;
    while let Some(datagram) = session.next_datagram() {
        assert!(datagram.len() + usize::from(limits::IP_UDP_BYTES) <= usize::from(path_mtu_bytes));
        sent += datagram.len();
    }
    assert!(sent < 4_096, "{sent} bytes for one ClientHello");
    assert!(session.began_with(hello) && session.facts().is_none());
}

/// In fragments of some size, in some order, some twice, it is the same ClientHello.
fn fragmented(proven: &[u8], hello: &ClientHello, how: u8) {
    let body = &proven[RECORD_BYTES + MESSAGE_BYTES..];
    let is_one = proven[19..22] == [0; 3]
        && proven[14..17] == proven[22..25]
        && proven[22..25] == u24(body.len());
    if !is_one {
        return;
    }
    let size = 16 + usize::from(how >> 3) * 8;
    // Up to the compression methods at least: 34 bytes, and all that has a length.
    let needed = [1, 1, 2, 1].into_iter().fold(34, |at, width| {
        let length = body[at..at + width].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        at + width + length
    });
    let (first, rest) = body.split_at(needed);
    let piece = |offset: usize, bytes: &[u8]| {
        let record = u16::try_from(MESSAGE_BYTES + bytes.len()).unwrap().to_be_bytes();
        let (offset, length) = (u24(offset), u24(bytes.len()));
        [&proven[..11], &record, &proven[13..19], &offset, &length, bytes].concat()
    };
    let places = (needed..).step_by(size);
    let mut pieces: Vec<_> =
        places.zip(rest.chunks(size)).map(|(at, rest)| piece(at, rest)).collect();
    if how & 4 > 0 {
        pieces.reverse();
    }
    let Answer::Partial(mut assembly) = DOOR.answer(address(1), &piece(0, first)) else {
        assert!(pieces.is_empty(), "the first fragment of a proven ClientHello is refused");
        return;
    };
    let mut whole = None;
    for piece in &pieces {
        assert!(whole.is_none(), "whole before its last fragment");
        let twice = assembly.datagram(piece).unwrap();
        whole = assembly.datagram(piece).unwrap().or(twice);
    }
    assert!(whole.is_some_and(|whole| whole == *hello), "fragments make another ClientHello");
}

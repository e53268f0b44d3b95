use std::net::SocketAddr;

use super::{Ignored, is_client_hello};
use crate::{Answer, ClientHello, CookieKey, CookieKeys, Door, limits};

/// Fields of a ClientHello, valid unless changed.
#[derive(Clone)]
struct Parts {
    version: [u8; 2],
    random: [u8; 32],
    session_id: Vec<u8>,
    cookie: Vec<u8>,
    cipher_suites: Vec<u8>,
    compression: Vec<u8>,
    extensions: Option<Vec<u8>>,
    message_number: u8,
    record_number: u8,
}

impl Parts {
    fn good() -> Parts {
        Parts {
            version: [0xFE, 0xFD],
            random: [7; 32],
            session_id: vec![],
            cookie: vec![],
            cipher_suites: vec![0xC0, 0x2B],
            compression: vec![0],
            extensions: Some(server_name(b"Shop.example")),
            message_number: 0,
            record_number: 0,
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = [&self.version[..], &self.random].concat();
        for (field, wide) in [
            (&self.session_id, false),
            (&self.cookie, false),
            (&self.cipher_suites, true),
            (&self.compression, false),
        ] {
            body.extend(if wide { count(field) } else { vec![u8::try_from(field.len()).unwrap()] });
            body.extend(field);
        }
        if let Some(extensions) = &self.extensions {
            body.extend(count(extensions));
            body.extend(extensions);
        }
        body
    }

    /// Returns one record with this range of the body.
    fn fragment(&self, range: std::ops::Range<usize>) -> Vec<u8> {
        let body = self.body();
        let part = &body[range.clone()];
        let u24 = |value: usize| u32::try_from(value).unwrap().to_be_bytes()[1..].to_vec();
        let message = [
            &[1][..],
            &u24(body.len()),
            &[0, self.message_number],
            &u24(range.start),
            &u24(part.len()),
            part,
        ]
        .concat();
        let header = [22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, self.record_number];
        [&header[..], &count(&message), &message].concat()
    }

    fn datagram(&self) -> Vec<u8> {
        self.fragment(0..self.body().len())
    }

    /// Returns the second ClientHello, with a cookie of the door.
    fn proven(&self, door: &Door) -> Parts {
        let Answer::Verify(reply) = door.answer(client(), &self.datagram()) else { panic!() };
        Parts { cookie: reply[28..].to_vec(), message_number: 1, ..self.clone() }
    }
}

fn count(field: &[u8]) -> Vec<u8> {
    u16::try_from(field.len()).unwrap().to_be_bytes().to_vec()
}

fn extension(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[0, kind][..], &count(data), data].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &count(name), name].concat();
    extension(0, &[&count(&entry)[..], &entry].concat())
}

fn client() -> SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

fn key(id: u8) -> CookieKey {
    CookieKey::new([id; 8], &[id; 32])
}

fn door() -> Door {
    Door::new(CookieKeys { make: key(1), also: Vec::new() })
}

fn ignored(datagram: &[u8]) -> Ignored {
    match door().answer(client(), datagram) {
        Answer::Ignore(why) => why,
        _ => panic!("{datagram:?} was not ignored"),
    }
}

/// Parses a proven hello with these parts.
fn read(parts: &Parts) -> Result<ClientHello, Ignored> {
    let door = door();
    match door.answer(client(), &parts.proven(&door).datagram()) {
        Answer::Proven(hello) => Ok(hello),
        Answer::Ignore(why) => Err(why),
        _ => panic!(),
    }
}

#[test]
fn a_hello_is_answered_by_a_smaller_cookie_and_then_read() {
    let parts = Parts { record_number: 9, ..Parts::good() };
    let datagram = parts.datagram();
    let Answer::Verify(reply) = door().answer(client(), &datagram) else { panic!() };
    assert!(reply.len() < datagram.len() && reply.len() == 52);
    assert_eq!(
        reply[..11],
        [22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 9],
        "the record number is the hello's"
    );
    let hello = read(&parts).unwrap();
    assert_eq!((hello.version(), hello.random()), (0xFEFD, [7; 32]));
    assert_eq!(hello.server_name(), Some("shop.example"));
    assert_eq!(hello.to_record(), parts.proven(&door()).datagram());
}

#[test]
fn even_the_smallest_hello_is_larger_than_its_answer() {
    let parts = Parts { extensions: None, ..Parts::good() };
    let first = parts.fragment(0..parts.body().len());
    let Answer::Verify(reply) = door().answer(client(), &first) else { panic!() };
    assert!(reply.len() < first.len());
}

#[test]
fn a_cookie_is_good_for_one_hello_of_one_address() {
    let door = door();
    let good = Parts::good().proven(&door);
    let is_proven = |address: &str, parts: &Parts| {
        let answer = door.answer(address.parse().unwrap(), &parts.datagram());
        assert!(matches!(answer, Answer::Proven(_) | Answer::Verify(_)));
        matches!(answer, Answer::Proven(_))
    };
    assert!(is_proven("192.0.2.1:40000", &good));
    assert!(is_proven("[::ffff:192.0.2.1]:40000", &good), "one client, one form");
    assert!(is_proven("192.0.2.1:40000", &Parts { extensions: None, ..good.clone() }));
    assert!(!is_proven("192.0.2.2:40000", &good));
    assert!(!is_proven("192.0.2.1:40001", &good));
    let mut flipped = good.cookie.clone();
    flipped[23] ^= 1;
    for wrong in [
        Parts { version: [0xFE, 0xFF], ..good.clone() },
        Parts { random: [8; 32], ..good.clone() },
        Parts { session_id: vec![1], ..good.clone() },
        Parts { cipher_suites: vec![0xC0, 0x2F], ..good.clone() },
        Parts { compression: vec![0, 1], ..good.clone() },
        Parts { cookie: good.cookie[..23].to_vec(), ..good.clone() },
        Parts { cookie: [&good.cookie[..], &[0]].concat(), ..good.clone() },
        Parts { cookie: flipped, ..good.clone() },
        Parts { cookie: vec![], ..good.clone() },
        // With its cookie a hello is the second message.
        Parts { message_number: 0, ..good.clone() },
    ] {
        assert!(!is_proven("192.0.2.1:40000", &wrong));
    }
}

#[test]
fn cookies_count_before_and_after_their_key_makes_them() {
    let door = |make: u8, also: &[u8]| {
        let also = also.iter().map(|id| key(*id)).collect();
        Door::new(CookieKeys { make: key(make), also })
    };
    let parts = Parts::good().proven(&door(2, &[1]));
    for (door, is_proven) in [
        (door(2, &[1]), true),
        (door(1, &[2]), true),
        (door(3, &[1, 2]), true),
        (door(3, &[4]), false),
    ] {
        let answer = door.answer(client(), &parts.datagram());
        assert_eq!(matches!(answer, Answer::Proven(_)), is_proven);
    }
}

#[test]
fn what_is_no_first_hello_is_ignored_by_name() {
    let good = Parts::good().datagram();
    let changed = |at: usize, byte: u8| {
        let mut datagram = good.clone();
        datagram[at] = byte;
        datagram
    };
    for (datagram, why) in [
        (vec![], Ignored::Malformed),
        (b"GET / HTTP/1.1".to_vec(), Ignored::ContentType(b'G')),
        (changed(0, 21), Ignored::ContentType(21)),
        (changed(0, 23), Ignored::ContentType(23)),
        (changed(1, 3), Ignored::Version(0x03FF)),
        (changed(4, 1), Ignored::Encrypted(1)),
        (changed(5, 1), Ignored::Number),
        (changed(13, 2), Ignored::Message(2)),
        (changed(14, 1), Ignored::TooLong(65_536 + Parts::good().body().len())),
        (changed(18, 2), Ignored::Number),
        (changed(21, 1), Ignored::Malformed),
        (good[..good.len() - 1].to_vec(), Ignored::Malformed),
        (Parts { cipher_suites: vec![], ..Parts::good() }.datagram(), Ignored::Malformed),
        (Parts { cipher_suites: vec![1], ..Parts::good() }.datagram(), Ignored::Malformed),
        (Parts { compression: vec![], ..Parts::good() }.datagram(), Ignored::Malformed),
        (Parts { session_id: vec![0; 33], ..Parts::good() }.datagram(), Ignored::Malformed),
        (Parts::good().fragment(0..40), Ignored::ShortFragment),
        (Parts::good().fragment(40..50), Ignored::StrayFragment),
    ] {
        assert_eq!(ignored(&datagram), why, "{datagram:?}");
    }
    assert!(is_client_hello(&good) && !is_client_hello(&changed(4, 1)) && !is_client_hello(b""));
}

#[test]
fn server_names_are_host_names_or_refused() {
    let long = [b'a'; 64];
    for (name, expected) in [
        (&b"shop.example"[..], Ok(Some("shop.example"))),
        (b"SHOP.example", Ok(Some("shop.example"))),
        (b"_dmarc.xn--bcher-kva.example", Ok(Some("_dmarc.xn--bcher-kva.example"))),
        (b"192.0.2.1", Ok(None)),
        (b"::1", Ok(None)),
        (b"", Err(Ignored::ServerName)),
        (b"shop.example.", Ok(Some("shop.example"))),
        (b"Shop.Example.", Ok(Some("shop.example"))),
        (b".", Err(Ignored::ServerName)),
        (b"shop.example..", Err(Ignored::ServerName)),
        (b"shop..example", Err(Ignored::ServerName)),
        (b"sh op", Err(Ignored::ServerName)),
        (b"shop\0.example", Err(Ignored::ServerName)),
        (b"b\xC3\xBCcher.example", Err(Ignored::ServerName)),
        (b"\xFF", Err(Ignored::ServerName)),
        (&long, Err(Ignored::ServerName)),
    ] {
        let hello = read(&Parts { extensions: Some(server_name(name)), ..Parts::good() });
        let found = hello.as_ref().map(ClientHello::server_name).map_err(|why| *why);
        assert_eq!(found, expected, "{name:?}");
    }
}

#[test]
fn extensions_are_read_strictly() {
    let name = server_name(b"shop.example");
    let alpn = extension(16, b"\x00\x0D\x04coap\x07coap/v2");
    let read = |extensions: Option<Vec<u8>>| {
        let hello = read(&Parts { extensions, ..Parts::good() })?;
        Ok::<_, Ignored>((hello.server_name().is_some(), hello.alpn().len()))
    };
    assert_eq!(read(None), Ok((false, 0)));
    assert_eq!(read(Some(vec![])), Ok((false, 0)));
    assert_eq!(read(Some([&alpn[..], &extension(99, b"?"), &name].concat())), Ok((true, 2)));
    for bad in [
        [&name[..], &name].concat(),
        [&alpn[..], &alpn].concat(),
        [&name[..], &[0]].concat(),
        extension(0, b""),
        extension(0, b"\x00\x04\x01\x00\x01a"),
        extension(16, b""),
        extension(16, b"\x00\x00"),
        extension(16, b"\x00\x01\x00"),
        name[..name.len() - 1].to_vec(),
    ] {
        assert_eq!(read(Some(bad.clone())), Err(Ignored::Malformed), "{bad:?}");
    }
}

#[test]
fn fragments_come_together_in_any_order_after_the_first() {
    let door = door();
    let parts = Parts::good().proven(&door);
    let end = parts.body().len();
    let whole = parts.datagram();
    let fragment = |range: std::ops::Range<usize>, record_number: u8| {
        Parts { record_number, ..parts.clone() }.fragment(range)
    };
    let begin = |datagram: &[u8]| match door.answer(client(), datagram) {
        Answer::Partial(assembly) => assembly,
        _ => panic!("not in part"),
    };
    let mut assembly = begin(&fragment(0..70, 1));
    assert!(assembly.datagram(&fragment(80..end, 3)).unwrap().is_none());
    assert!(assembly.datagram(&fragment(0..70, 4)).unwrap().is_none(), "repeated");
    let hello = assembly.datagram(&fragment(60..85, 2)).unwrap().expect("whole, by overlapping");
    assert_eq!(hello.record_number(), 4);
    assert_eq!(hello.to_record()[25..], whole[25..]);
    // Two records in one datagram.
    let both = [fragment(0..70, 1), fragment(70..end, 2)].concat();
    assert!(matches!(door.answer(client(), &both), Answer::Proven(_)));
    // Fragments of another hello, or fragments that contradict this one.
    let mut assembly = begin(&fragment(0..70, 1));
    let other = Parts { random: [8; 32], ..parts.clone() };
    for foreign in [other.fragment(0..70), Parts::good().datagram()] {
        assert_eq!(assembly.datagram(&foreign).err(), Some(Ignored::OtherHello));
    }
    assert!(assembly.datagram(b"garbage").is_err());
    assert!(assembly.datagram(&fragment(70..end, 2)).unwrap().is_some());
}

#[test]
fn the_longest_hello_fits_and_a_longer_one_is_refused() {
    let padding = |bytes: usize| Some(extension(21, &vec![0; bytes]));
    let rest = Parts { extensions: padding(0), ..Parts::good() }.body().len() + 24;
    let longest = limits::HELLO_BYTES_MAX - rest;
    assert!(read(&Parts { extensions: padding(longest), ..Parts::good() }).is_ok());
    let longer = Parts { extensions: padding(longest + 25), ..Parts::good() }.datagram();
    assert_eq!(ignored(&longer), Ignored::TooLong(limits::HELLO_BYTES_MAX + 1));
}

/// Cuts the hello at every length and sets every byte to several values. Nothing panics, and no
/// answer is larger than its request.
#[test]
fn mutilated_hellos_never_panic_or_amplify() {
    let door = door();
    let proven = Parts::good().proven(&door);
    let mut assembly = match door.answer(client(), &proven.fragment(0..70)) {
        Answer::Partial(assembly) => assembly,
        _ => panic!(),
    };
    let mut check = |datagram: &[u8]| {
        if let Answer::Verify(reply) = door.answer(client(), datagram) {
            assert!(reply.len() < datagram.len());
        }
        let _ = assembly.datagram(datagram);
    };
    for datagram in [Parts::good().datagram(), proven.datagram(), proven.fragment(70..80)] {
        (0..datagram.len()).for_each(|end| check(&datagram[..end]));
        for at in 0..datagram.len() {
            for byte in [0, 1, 0x7F, 0x80, 0xFE, 0xFF] {
                let mut changed = datagram.clone();
                changed[at] = byte;
                check(&changed);
            }
        }
    }
}

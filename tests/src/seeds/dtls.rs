//! Datagrams that clients send, and what may become of them on their way.

use std::{path::Path, time::Instant};

use conclave_dtls::Connector;

use super::seed;

/// Writes the seeds of the three targets.
pub(crate) fn seeds(directory: &Path) {
    let connector = Connector::new(&[]).unwrap();
    for (name, server_name) in [("named", Some("shop.example")), ("nameless", None)] {
        let mut client = connector.connect(server_name, Instant::now(), 1500).unwrap();
        hello(directory, name, &client.next_datagram().unwrap());
    }
    let server_name = [&[0, 0, 0, 17, 0, 15, 0, 0, 12][..], b"shop.example"].concat();
    let alpn = [&[0, 16, 0, 7, 0, 5, 4][..], b"coap"].concat();
    let groups = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    for (name, extensions) in [
        ("no-extensions", &[][..]),
        ("name-only", &server_name),
        ("alpn", &[&server_name[..], &alpn, &groups].concat()),
        ("alpn-first", &[&alpn[..], &groups, &server_name].concat()),
        ("padded", &[&groups[..], &[0, 21, 8, 0], &[0; 2048]].concat()),
    ] {
        hello(directory, name, &made(extensions));
    }
    records(directory);
    fragments(directory);
}

/// A datagram of its own, and one that is cut, for several ways behind the door.
fn hello(directory: &Path, name: &str, datagram: &[u8]) {
    for how in [0, 1, 2, 7, 0x1c, 0xfb] {
        let input = [&[how][..], &framed(datagram)].concat();
        seed(directory, "dtls_hello", &format!("{name}-{how}"), &input);
    }
    let twice = [&[0][..], &framed(datagram), &framed(&datagram[..60]), &framed(datagram)].concat();
    seed(directory, "dtls_hello", &format!("{name}-again"), &twice);
}

/// After two bytes of length.
fn framed(datagram: &[u8]) -> Vec<u8> {
    [&u16::try_from(datagram.len()).unwrap().to_be_bytes()[..], datagram].concat()
}

/// A ClientHello with these extensions.
fn made(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![0xFE, 0xFD];
    body.extend([7; 32]);
    body.extend([0, 0, 0, 4, 0xC0, 0x2B, 0xC0, 0x2F, 1, 0]);
    if !extensions.is_empty() {
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
    }
    message(1, 0, &body)
}

/// A record with a whole handshake message.
fn message(kind: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let length = &u32::try_from(body.len()).unwrap().to_be_bytes()[1..];
    record(22, 0, &[&[kind], length, &[0, number, 0, 0, 0], length, body].concat())
}

fn record(kind: u8, epoch: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0xFE, 0xFD, 0, epoch, 0, 0, 0, 0, 0, 9][..], &length, content].concat()
}

fn records(directory: &Path) {
    let strange = [
        record(21, 0, &[2, 40]),
        record(21, 0, &[1, 0]),
        record(20, 0, &[1]),
        record(23, 0, b"in the clear"),
        record(23, 1, &[0; 40]),
        record(22, 1, &[0; 40]),
        message(0, 0, &[]),
        message(14, 4, &[]),
        message(16, 2, &[65; 66]),
        message(11, 1, &[0, 0, 3, 0, 0, 0]),
        message(20, 3, &[0; 12]),
        made(&[]),
    ];
    for steps in [0, 2, 3, 4, 6, 9, 12, 31] {
        for who in 0..4 {
            let how = steps << 3 | who;
            let mut all = vec![how];
            for (place, datagram) in strange.iter().enumerate() {
                let event = [&[u8::from(place % 3 == 0)][..], &framed(datagram)].concat();
                let input = [&[how][..], &event, &[6, 6, 6]].concat();
                seed(directory, "dtls_record", &format!("{how}-{place}"), &input);
                all.extend(event);
            }
            all.extend([4, 0, 30, 6, 4, 0, 200, 2, 1, 0, 13, 1, 0, 30, 4, 5]);
            all.extend([4, 0, 30, 3, 0, 20, 0, 2, 9, 9, 7, 2, 0, 99, 7, 3, 7, 1, 6, 7, 0]);
            seed(directory, "dtls_record", &format!("{how}-all"), &all);
        }
    }
}

fn fragments(directory: &Path) {
    for how in 0..4 {
        for fate in (0..=255).step_by(9) {
            let same = [&[how][..], &[fate; 40]].concat();
            seed(directory, "dtls_fragment", &format!("{how}-{fate}"), &same);
            let mixed = (0..60).map(|place: u8| place.wrapping_mul(fate) ^ 0x44);
            let mixed: Vec<u8> = std::iter::once(how).chain(mixed).collect();
            seed(directory, "dtls_fragment", &format!("{how}-{fate}-mixed"), &mixed);
        }
    }
}

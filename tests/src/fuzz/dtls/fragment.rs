//! A handshake and an exchange over a path that cuts, joins, doubles, delays and loses.

use super::{
    Input,
    link::{Link, Side, other},
};

/// Datagrams on their way in one input.
const DATAGRAMS_MAX: usize = 400;
const RECORD_BYTES: usize = 13;
const MESSAGE_BYTES: usize = 12;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// No ClientHello of ours has its compression methods behind this.
const HELLO_START_BYTES: usize = 300;

/// One byte: what kind of handshake. Then one byte for each datagram: what becomes of it; when
/// there are no more, everything arrives as it was sent.
pub fn dtls_fragment(input: &[u8]) {
    let mut input = Input(input);
    let Some(how) = input.u8() else { return };
    let mut link = Link::new(how & 1 > 0, if how & 2 > 0 { 576 } else { 1500 });
    let mut is_gentle = carry(&mut link, &mut input);
    let is_done = link.is_established(Side::Client) && link.is_established(Side::Server);
    assert!(is_done || !is_gentle, "a path that loses nothing costs a handshake");
    if !is_done {
        return;
    }
    for side in [Side::Client, Side::Server, Side::Client] {
        link.say(side, 400);
        link.say(side, 8);
    }
    is_gentle &= carry(&mut link, &mut input);
    let unheard = link.unheard(Side::Client) + link.unheard(Side::Server);
    assert!(unheard == 0 || !is_gentle, "a path that loses nothing loses words");
}

/// Carries until nothing is on its way; whether everything has arrived, in its order.
fn carry(link: &mut Link, input: &mut Input<'_>) -> bool {
    let (mut is_gentle, mut towards) = (true, Side::Server);
    for _ in 0..DATAGRAMS_MAX {
        if link.queue(towards).is_empty() {
            towards = other(towards);
        }
        let Some(datagram) = link.queue(towards).pop_front() else { return is_gentle };
        let fate = input.u8().unwrap_or(0);
        let size = 1 + usize::from(fate >> 3) * 4;
        match fate % 8 {
            0 => link.arrive(towards, &datagram),
            1 => is_gentle = false,
            2 => {
                link.arrive(towards, &datagram);
                link.arrive(towards, &datagram);
            }
            3 => {
                is_gentle &= link.queue(towards).is_empty();
                link.queue(towards).push_back(datagram);
                towards = other(towards);
            }
            4 => records(&datagram).iter().for_each(|record| link.arrive(towards, record)),
            5 => {
                let next = link.queue(towards).pop_front().unwrap_or_default();
                link.arrive(towards, &[datagram, next].concat());
            }
            6 => {
                let cut = records(&datagram).into_iter().map(|record| fragments(record, size, 1));
                link.arrive(towards, &cut.flatten().collect::<Vec<_>>().concat());
            }
            _ => {
                for record in records(&datagram) {
                    // Only a door takes several records under one number.
                    let is_hello = record.get(RECORD_BYTES) == Some(&CLIENT_HELLO);
                    let cut = fragments(record, size, if is_hello { 2 } else { 0 });
                    cut.iter().for_each(|record| link.arrive(towards, record));
                }
            }
        }
    }
    false
}

/// The records of a datagram that our own sides made.
fn records(mut datagram: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while datagram.len() >= RECORD_BYTES {
        let length = usize::from(u16::from_be_bytes([datagram[11], datagram[12]]));
        let (record, rest) = datagram.split_at((RECORD_BYTES + length).min(datagram.len()));
        found.push(record);
        datagram = rest;
    }
    found
}

/// A record with its message in fragments of at most `size` bytes: as one record with all of them
/// backwards (0) or in order (1), or as a record for each, all under one number (2). A record that
/// holds no readable message stays as it is.
fn fragments(record: &[u8], size: usize, form: u8) -> Vec<Vec<u8>> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let is_clear = record[0] == HANDSHAKE && record[3..5] == [0, 0];
    let Some((head, body)) = record.split_at_checked(RECORD_BYTES + MESSAGE_BYTES) else {
        return vec![record.to_vec()];
    };
    if !is_clear || number(&head[22..25]) != body.len() || body.is_empty() {
        return vec![record.to_vec()];
    }
    let start = number(&head[19..22]);
    let size = if head[13] == CLIENT_HELLO { size.max(HELLO_START_BYTES) } else { size };
    let mut pieces: Vec<_> = (start..)
        .step_by(size)
        .zip(body.chunks(size))
        .map(|(at, piece)| {
            let offset = u32::try_from(at).unwrap().to_be_bytes();
            let length = u32::try_from(piece.len()).unwrap().to_be_bytes();
            [&head[13..19], &offset[1..], &length[1..], piece].concat()
        })
        .collect();
    let in_record = |content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&head[..11], &length, content].concat()
    };
    match form {
        0 => pieces.reverse(),
        1 => {}
        _ => return pieces.iter().map(|piece| in_record(piece)).collect(),
    }
    vec![in_record(&pieces.concat())]
}

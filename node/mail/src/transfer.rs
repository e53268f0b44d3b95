//! A message from its sender to its deliveries, piece by piece.

use conclave_smime::{
    cms::Cipher,
    message::{self, Kind},
};
use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::{
    data::Decoder,
    delivery::Delivery,
    limits::{BODY_START_BYTES, DATA_TIME_MAX, HEAD_BYTES_MAX},
    reply::Reply,
    wire::{Wire, WireError},
};

/// Reads a message up to its end and hands it to all deliveries. On an error nothing is stored: the
/// caller drops the deliveries, which cuts their connections.
pub(crate) async fn transfer(
    wire: &mut Wire,
    deliveries: &mut [Delivery],
    cipher: Cipher,
) -> Result<(), WireError> {
    let deadline = Instant::now() + DATA_TIME_MAX;
    let (mut decoder, mut head, mut piece) = (Decoder::new(), Some(Head::default()), Vec::new());
    while !decoder.is_end() {
        let bytes = timeout_at(deadline, wire.piece()).await.map_err(|_| WireError::Slow)??;
        piece.clear();
        let used = decoder.decode(bytes, &mut piece);
        wire.consume(used);
        if decoder.is_smuggling() {
            let text = "5.6.0 The message has a lone dot beside a CR or LF that is no CRLF";
            deliveries.iter_mut().for_each(|one| one.refuse(Reply::new(554, text)));
            continue;
        }
        match &mut head {
            Some(held) => {
                held.take(&piece);
                if decoder.is_end() || held.is_enough() {
                    start(deliveries, &held.bytes, cipher).await;
                    head = None;
                }
            }
            None => {
                deliveries.iter_mut().for_each(|one| one.take(&piece));
                join_all(deliveries.iter_mut().map(Delivery::send)).await;
            }
        }
    }
    Ok(())
}

/// Starts the deliveries, one after the other: a long header grows, and is held once at a time.
async fn start(deliveries: &mut [Delivery], head: &[u8], cipher: Cipher) {
    // A damaged header is not that of an encrypted message; encrypting it reports the damage.
    let is_encrypted = message::kind(head).is_ok_and(|kind| kind == Kind::Encrypted);
    for one in deliveries {
        one.start(head, is_encrypted, cipher);
        one.send().await;
    }
}

/// Start of a message: header and a part of the body.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    /// Length of the header with the empty line behind it, once it was found.
    header: Option<usize>,
}

impl Head {
    fn take(&mut self, piece: &[u8]) {
        // An empty line may begin in what is known.
        let from = self.bytes.len().saturating_sub(2);
        self.bytes.extend_from_slice(piece);
        if self.header.is_none() {
            self.header = header_end(&self.bytes, from);
        }
    }

    fn is_enough(&self) -> bool {
        match self.header {
            Some(header) => self.bytes.len() >= header + BODY_START_BYTES,
            None => self.bytes.len() > HEAD_BYTES_MAX,
        }
    }
}

/// Returns the length of a header with its empty line, looking from `from` on. A LF alone ends a
/// line here, as it does for those who read messages.
fn header_end(bytes: &[u8], from: usize) -> Option<usize> {
    if from == 0 && bytes.starts_with(b"\n") {
        return Some(1);
    }
    if from == 0 && bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    let rest = bytes.get(from..)?;
    let ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| from + at + 1).find_map(|next| match bytes.get(next..) {
        Some([b'\n', ..]) => Some(next + 1),
        Some([b'\r', b'\n', ..]) => Some(next + 2),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_header_is_found_in_any_pieces() {
        let check = |message: &str, expected: Option<usize>| {
            for size in 1..=message.len() {
                let mut head = Head::default();
                message.as_bytes().chunks(size).for_each(|piece| head.take(piece));
                assert_eq!(head.header, expected, "{message:?} in pieces of {size}");
            }
        };
        check("A: b\r\n\r\nbody\r\n\r\n", Some(8));
        check("A: b\n\nbody\n\n", Some(6));
        check("A: b\r\n\nbody", Some(7));
        check("\r\nbody\r\n\r\n", Some(2));
        check("\nbody", Some(1));
        check("A: b\r\nC: d\r\n", None);
    }
}

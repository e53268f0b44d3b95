//! Puts a fragmented ClientHello together.

use super::{ClientHello, Fragment, Fragments, Ignored, Start};

/// A ClientHello whose first fragment proved the client's address and whose rest is to come.
///
/// At most [`HELLO_BYTES_MAX`](crate::limits::HELLO_BYTES_MAX) bytes and as many marks. Nothing
/// is kept of a client before its cookie, so a fragment that overtakes the first one is lost, and
/// the client's retransmission brings it again.
pub struct Assembly {
    version: u16,
    record_number: u64,
    message_number: u16,
    body: Vec<u8>,
    // RFC 6347 §4.2.3: ranges may overlap, so bytes are counted and not fragments.
    has: Vec<bool>,
    missing: usize,
}

impl Assembly {
    pub(crate) fn new(first: &Fragment<'_>) -> Assembly {
        Assembly {
            version: first.version,
            record_number: first.record_number,
            message_number: first.message_number,
            body: vec![0; first.message_bytes],
            has: vec![false; first.message_bytes],
            missing: first.message_bytes,
        }
    }

    /// Takes the fragments of one more datagram of the same client; gives the ClientHello once
    /// it is whole. [`Ignored::OtherHello`]: the client began anew; drop this and ask the door.
    pub fn datagram(&mut self, datagram: &[u8]) -> Result<Option<ClientHello>, Ignored> {
        for fragment in Fragments::of(datagram) {
            self.put(&fragment?)?;
        }
        if self.missing > 0 {
            return Ok(None);
        }
        let first = Fragment {
            version: self.version,
            record_number: self.record_number,
            message_number: self.message_number,
            message_bytes: self.body.len(),
            offset: 0,
            body: &[],
        };
        ClientHello::read(&first, self.body.clone()).map(Some)
    }

    fn put(&mut self, fragment: &Fragment<'_>) -> Result<(), Ignored> {
        let is_same = fragment.message_bytes == self.body.len()
            && fragment.message_number == self.message_number
            && self.agrees(fragment);
        if !is_same {
            return Err(Ignored::OtherHello);
        }
        // The answer takes over the highest number, which no earlier answer can have had.
        self.record_number = self.record_number.max(fragment.record_number);
        let range = fragment.offset..fragment.offset + fragment.body.len();
        let (Some(body), Some(has)) = (self.body.get_mut(range.clone()), self.has.get_mut(range))
        else {
            return Err(Ignored::Malformed);
        };
        body.copy_from_slice(fragment.body);
        self.missing -= has.iter().filter(|has| !**has).count();
        has.fill(true);
        Ok(())
    }

    /// A first fragment with another random is another ClientHello, or it would change what the
    /// cookie was checked for.
    fn agrees(&self, fragment: &Fragment<'_>) -> bool {
        let known = |offset: usize| self.has.get(offset).is_some_and(|has| *has);
        let mut bytes = (fragment.offset..).zip(fragment.body);
        bytes.all(|(offset, byte)| !known(offset) || self.body.get(offset) == Some(byte))
            && (fragment.offset > 0 || Start::read(fragment.body).is_some())
    }
}

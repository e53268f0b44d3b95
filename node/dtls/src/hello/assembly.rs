//! Reassembly of a fragmented ClientHello.

use super::{ClientHello, Fragment, Fragments, Ignored, Start};

/// An incomplete ClientHello. Its first fragment has proven the client's address.
///
/// Takes at most [`HELLO_BYTES_MAX`](crate::limits::HELLO_BYTES_MAX) bytes and as many marks. No
/// state is kept for a client before its cookie is verified. A fragment that overtakes the first
/// one is therefore lost, and the client retransmits it.
pub struct Assembly {
    version: u16,
    record_number: u64,
    message_number: u16,
    body: Vec<u8>,
    // RFC 6347 §4.2.3: ranges may overlap, so track bytes rather than fragments.
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

    /// Adds the fragments of another datagram of the same client. Returns the ClientHello once it
    /// is complete. After [`Ignored::OtherHello`] the client has started again: drop the assembly
    /// and ask the door.
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
        // The answer takes the highest number. No HelloVerifyRequest can have used it before.
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

    /// Returns whether a fragment agrees with the known bytes. Otherwise it belongs to another
    /// ClientHello, or would change fields that the verified cookie covers.
    fn agrees(&self, fragment: &Fragment<'_>) -> bool {
        let known = |offset: usize| self.has.get(offset).is_some_and(|has| *has);
        let mut bytes = (fragment.offset..).zip(fragment.body);
        bytes.all(|(offset, byte)| !known(offset) || self.body.get(offset) == Some(byte))
            && (fragment.offset > 0 || Start::read(fragment.body).is_some())
    }
}

//! A datagram queue that OpenSSL reads and writes as if it were a socket.

use std::{
    collections::VecDeque,
    io::{Error, ErrorKind, Read, Result, Write},
};

const RECORD_HEADER_BYTES: usize = 13;

/// Datagrams on their way in and out of one session.
pub(crate) struct Queue {
    pub(crate) incoming: VecDeque<Vec<u8>>,
    pub(crate) outgoing: VecDeque<Vec<u8>>,
    /// Added to the number of each unprotected record that goes out.
    ///
    /// RFC 6347 §4.2.1: the first record of the answer has the number of the ClientHello's, so
    /// that it cannot be one that a HelloVerifyRequest had. OpenSSL always begins with 1; a
    /// client that asked twice for its cookie would drop the ServerHello as a replay.
    record_number_shift: u64,
}

impl Queue {
    /// A queue for a session whose ClientHello came in this record.
    pub(crate) fn new(hello_record_number: u64) -> Queue {
        Queue {
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            record_number_shift: hello_record_number.saturating_sub(1),
        }
    }

    /// Unprotected records carry no code over their header, so their numbers are free to change.
    fn shift(&self, datagram: &mut [u8]) {
        let mut rest = datagram;
        while let Some((header, body)) = rest.split_at_mut_checked(RECORD_HEADER_BYTES) {
            let [_, _, _, number @ .., high, low] = header else { return };
            let Ok(bytes) = <[u8; 8]>::try_from(&*number) else { return };
            let old = u64::from_be_bytes(bytes); // epoch and number
            if old >> 48 == 0 {
                number.copy_from_slice(&(old + self.record_number_shift).to_be_bytes());
            }
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some((_, next)) = body.split_at_mut_checked(length) else { return };
            rest = next;
        }
    }
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let datagram = self.incoming.pop_front().ok_or(Error::from(ErrorKind::WouldBlock))?;
        // As a socket does: what does not fit is lost.
        datagram.as_slice().read(buffer)
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut datagram = bytes.to_vec();
        if self.record_number_shift > 0 {
            self.shift(&mut datagram);
        }
        self.outgoing.push_back(datagram);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

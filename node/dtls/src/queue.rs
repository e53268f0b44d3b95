//! Datagram queues in place of OpenSSL's socket.

use std::{
    collections::VecDeque,
    io::{Error, ErrorKind, Read, Result, Write},
};

const RECORD_HEADER_BYTES: usize = 13;

/// Incoming and outgoing datagrams of a session.
pub(crate) struct Queue {
    pub(crate) incoming: VecDeque<Vec<u8>>,
    pub(crate) outgoing: VecDeque<Vec<u8>>,
    /// Offset for the record numbers of outgoing unprotected records.
    ///
    /// RFC 6347 §4.2.1: the first record of the answer takes the record number of the ClientHello,
    /// so that it differs from the records of all HelloVerifyRequests. OpenSSL always begins with
    /// 1. A client that requested its cookie twice would drop that ServerHello as a replay.
    record_number_shift: u64,
}

impl Queue {
    /// Makes the queues of a session whose ClientHello had this record number.
    pub(crate) fn new(hello_record_number: u64) -> Queue {
        Queue {
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            record_number_shift: hello_record_number.saturating_sub(1),
        }
    }

    /// Shifts the numbers of unprotected records, which no MAC covers.
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
        // As with a UDP socket, bytes beyond the buffer are lost.
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

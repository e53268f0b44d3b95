//! Data of a message on the wire: its end, and the dots in front of lines (RFC 5321 §4.5.2).
//!
//! Only CRLF ends a line, and only CRLF.CRLF the message (§4.1.1.4). Servers that take a CR or LF
//! alone for a line end find the end of a message where there is none, and take the rest of it for
//! commands: "SMTP smuggling" (SEC Consult, December 2023). A lone dot beside such a line end is in
//! no honest message, so it is reported and the message is refused.

/// Place of the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// First of a line.
    Start,
    /// Behind a dot that is first of a line, and not written yet.
    Dot,
    /// Behind such a dot and CR, neither of them written yet.
    DotCr,
    /// Behind a CR.
    Cr,
    /// Behind a LF without CR.
    Lf,
    /// Behind a dot that follows a CR or LF alone.
    BareDot,
    /// Anywhere else.
    Line,
    /// Behind the end.
    End,
}

/// Reader of a message from the wire: finds its end, and removes the dots that were added.
pub(crate) struct Decoder {
    at: At,
    is_smuggling: bool,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { at: At::Start, is_smuggling: false }
    }

    /// Decodes bytes, appends the content to `content`, and returns how many bytes belong to the
    /// message: fewer than all only at its end.
    pub(crate) fn decode(&mut self, bytes: &[u8], content: &mut Vec<u8>) -> usize {
        for (count, byte) in bytes.iter().enumerate() {
            if self.at == At::End {
                return count;
            }
            self.take(*byte, content);
        }
        bytes.len()
    }

    fn take(&mut self, byte: u8, content: &mut Vec<u8>) {
        self.is_smuggling |= self.at == At::BareDot && matches!(byte, b'\r' | b'\n');
        self.at = match (self.at, byte) {
            (At::Start, b'.') => {
                self.at = At::Dot;
                return;
            }
            (At::Dot, b'\r') => {
                self.at = At::DotCr;
                return;
            }
            (At::DotCr, b'\n') => {
                self.at = At::End;
                return;
            }
            (At::DotCr, _) => {
                content.push(b'\r');
                self.at = At::Cr;
                return self.take(byte, content);
            }
            (At::Cr, b'\n') => At::Start,
            (At::Cr | At::Lf, b'.') => At::BareDot,
            (_, b'\r') => At::Cr,
            (_, b'\n') => At::Lf,
            _ => At::Line,
        };
        content.push(byte);
    }

    pub(crate) fn is_end(&self) -> bool {
        self.at == At::End
    }

    /// Returns whether some servers would find another end than this one.
    pub(crate) fn is_smuggling(&self) -> bool {
        self.is_smuggling
    }
}

/// Writer of a message to the wire.
pub(crate) struct Stuffing {
    /// The last bytes written.
    last: [u8; 2],
}

impl Stuffing {
    pub(crate) fn new() -> Stuffing {
        Stuffing { last: *b"\r\n" }
    }

    /// Appends content to `wire`, with a dot before each line that begins with one.
    pub(crate) fn write(&mut self, content: &[u8], wire: &mut Vec<u8>) {
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            if self.last == *b"\r\n" && line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
            self.last = match line {
                [.., one, two] => [*one, *two],
                [one] => [self.last[1], *one],
                [] => self.last,
            };
        }
    }

    /// Appends the end of the message.
    pub(crate) fn end(self, wire: &mut Vec<u8>) {
        if self.last != *b"\r\n" {
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in pieces of each size: content, bytes left, and whether it is smuggling.
    fn decoded(bytes: &[u8]) -> Option<(Vec<u8>, usize, bool)> {
        let mut all = (1..=bytes.len().max(1)).map(|size| {
            let (mut decoder, mut content, mut used) = (Decoder::new(), Vec::new(), 0);
            for piece in bytes.chunks(size) {
                used += decoder.decode(piece, &mut content);
            }
            let is_smuggling = decoder.is_smuggling();
            decoder.is_end().then(|| (content, bytes.len() - used, is_smuggling))
        });
        let first = all.next().unwrap();
        assert!(all.all(|other| other == first), "pieces make a difference");
        first
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message() {
        let check = |wire: &[u8], content: &[u8], left: usize| {
            let shown = String::from_utf8_lossy(wire);
            assert_eq!(decoded(wire), Some((content.to_vec(), left, false)), "{shown:?}");
        };
        check(b".\r\n", b"", 0);
        check(b"a\r\n.\r\nQUIT\r\n", b"a\r\n", 6);
        check(b"..\r\n...\r\n.\r\n", b".\r\n..\r\n", 0);
        check(b".a\r\n.\r\n", b"a\r\n", 0);
        check(b"a\0\xff\r\n.\r\n", b"a\0\xff\r\n", 0);
    }

    #[test]
    fn line_ends_that_only_some_servers_know_end_nothing() {
        for wire in ["a\n.\n", "a\n.\r\n", "a\r.\r\n", "a\r.\r", "a\r\r.\r\n", "a\n\n.\r\n"] {
            assert_eq!(decoded(wire.as_bytes()), None, "{wire:?}");
            let (_, left, is_smuggling) = decoded(format!("{wire}\r\n.\r\n").as_bytes()).unwrap();
            assert!(left == 0 && is_smuggling, "{wire:?}");
        }
        let (content, left, is_smuggling) = decoded(b"a\r.\r\n.\r\nb").unwrap();
        assert!(content == b"a\r.\r\n" && left == 1 && is_smuggling);
        // The dot is gone, so that no server finds an end.
        for (wire, content) in
            [("a\r\n.\n\r\n.\r\n", "a\r\n\n\r\n"), ("\r\n.\rb\r\n.\r\n", "\r\n\rb\r\n")]
        {
            let expected = (content.as_bytes().to_vec(), 0, false);
            assert_eq!(decoded(wire.as_bytes()), Some(expected), "{wire:?}");
        }
        // Bare line ends without a dot are bad manners, and stay.
        let (content, _, is_smuggling) = decoded(b"a\nb\rc\n.d\r\n.\r\n").unwrap();
        assert!(content == b"a\nb\rc\n.d\r\n" && !is_smuggling);
    }

    #[test]
    fn what_was_decoded_is_encoded_as_it_came() {
        for wire in ["a\r\n.\r\n", "..\r\n...a\r\n\r\n.\r\n", ".\r\n", "a\n\rb\0\r\n..\n\r\n.\r\n"]
        {
            let (content, ..) = decoded(wire.as_bytes()).unwrap();
            for size in 1..=content.len().max(1) {
                let (mut stuffing, mut made) = (Stuffing::new(), Vec::new());
                content.chunks(size).for_each(|piece| stuffing.write(piece, &mut made));
                stuffing.end(&mut made);
                assert_eq!(String::from_utf8_lossy(&made), wire, "{size}");
            }
        }
        let (mut stuffing, mut made) = (Stuffing::new(), Vec::new());
        stuffing.write(b"no end", &mut made);
        stuffing.end(&mut made);
        assert_eq!(made, b"no end\r\n.\r\n");
    }
}

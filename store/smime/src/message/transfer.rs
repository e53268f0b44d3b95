//! Transfer encodings (RFC 2045 §6) and canonical line ends, as streams.

use std::io::{self, Read, Write};

use data_encoding::{BASE64, BASE64_MIME};

/// Bytes of one line of base64.
const LINE_BYTES: usize = 57;
/// Bytes encoded or decoded at once.
const BATCH_BYTES: usize = LINE_BYTES * 256;
/// Longest line of quoted-printable (RFC 2045 §6.7), without the sign of a soft line break.
const COLUMNS: usize = 75;

/// Writer of base64 in lines of 76 letters.
pub(super) struct Base64Writer<W> {
    out: W,
    held: Vec<u8>,
}

impl<W: Write> Base64Writer<W> {
    pub(super) fn new(out: W) -> Base64Writer<W> {
        Base64Writer { out, held: Vec::with_capacity(BATCH_BYTES) }
    }

    pub(super) fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes the last line with its end and returns the output.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(BASE64_MIME.encode(&self.held).as_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Base64Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at((BATCH_BYTES - self.held.len()).min(bytes.len()));
        self.held.extend_from_slice(now);
        if self.held.len() == BATCH_BYTES {
            self.out.write_all(BASE64_MIME.encode(&self.held).as_bytes())?;
            self.held.clear();
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reader of base64, whatever its lines look like.
pub(super) struct Base64Reader<R> {
    input: R,
    letters: Vec<u8>,
    decoded: io::Cursor<Vec<u8>>,
}

impl<R: Read> Base64Reader<R> {
    pub(super) fn new(input: R) -> Base64Reader<R> {
        Base64Reader { input, letters: Vec::new(), decoded: io::Cursor::default() }
    }
}

impl<R: Read> Read for Base64Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoded.read(bytes)?;
            if count > 0 || bytes.is_empty() {
                return Ok(count);
            }
            let mut raw = [0; 8192];
            let count = self.input.read(&mut raw)?;
            let raw = raw.get(..count).unwrap_or_default();
            self.letters.extend(raw.iter().filter(|byte| !byte.is_ascii_whitespace()));
            let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not base64");
            if count == 0 {
                return if self.letters.is_empty() { Ok(0) } else { Err(invalid()) };
            }
            let whole = self.letters.len() - self.letters.len() % 4;
            let groups: Vec<u8> = self.letters.drain(..whole).collect();
            let decoded = BASE64.decode(&groups).map_err(|_| invalid())?;
            self.decoded = io::Cursor::new(decoded);
        }
    }
}

/// Writer that makes CRLF of each LF, as what is signed must have it (RFC 8551 §3.1.1). A CR alone
/// is no line end and is left.
pub(super) struct Canonical<W> {
    out: W,
    is_binary: bool,
    was_cr: bool,
}

impl<W: Write> Canonical<W> {
    /// A body whose transfer encoding is `binary` has no lines, and is left as it is.
    pub(super) fn new(out: W, is_binary: bool) -> Canonical<W> {
        Canonical { out, is_binary, was_cr: false }
    }

    pub(super) fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    pub(super) fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Canonical<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_binary {
            return self.out.write(bytes);
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let ends_in_cr = text.last().map_or(self.was_cr, |last| *last == b'\r');
            self.out.write_all(text)?;
            if text.len() < line.len() {
                self.out.write_all(if ends_in_cr { b"\n" } else { b"\r\n" })?;
            }
            self.was_cr = ends_in_cr && text.len() == line.len();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writer of quoted-printable (RFC 2045 §6.7). What is written to it has CRLF as line ends; a CR or
/// LF alone is data.
pub(super) struct QuotedWriter<W> {
    out: W,
    column: usize,
    was_cr: bool,
    /// Space or tab that may be the last of its line, where it would be lost on the way.
    space: Option<u8>,
}

impl<W: Write> QuotedWriter<W> {
    pub(super) fn new(out: W) -> QuotedWriter<W> {
        QuotedWriter { out, column: 0, was_cr: false, space: None }
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        let mut end = Vec::new();
        self.end_text(&mut end);
        if self.was_cr {
            self.put(b'\r', false, &mut end);
        }
        self.out.write_all(&end)?;
        Ok(self.out)
    }

    fn end_text(&mut self, out: &mut Vec<u8>) {
        if let Some(space) = self.space.take() {
            self.put(space, false, out);
        }
    }

    fn put(&mut self, byte: u8, is_plain: bool, out: &mut Vec<u8>) {
        let width = if is_plain { 1 } else { 3 };
        if self.column + width > COLUMNS {
            out.extend(b"=\r\n");
            self.column = 0;
        }
        match is_plain {
            true => out.push(byte),
            false => out.extend(format!("={byte:02X}").as_bytes()),
        }
        self.column += width;
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.was_cr) {
            if byte == b'\n' {
                self.column = 0;
                out.extend(b"\r\n");
                return;
            }
            self.put(b'\r', false, out);
        }
        if byte == b'\r' {
            self.end_text(out);
            self.was_cr = true;
            return;
        }
        if let Some(space) = self.space.take() {
            self.put(space, true, out);
        }
        match byte {
            b' ' | b'\t' => self.space = Some(byte),
            // Mailboxes in files mark `From ` at the start of a line, and SMTP a dot. A boundary
            // may be any line that begins with two hyphens.
            b'F' | b'.' | b'-' => self.put(byte, self.column > 0 && self.column < COLUMNS, out),
            byte => self.put(byte, byte.is_ascii_graphic() && byte != b'=', out),
        }
    }
}

impl<W: Write> Write for QuotedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut encoded = Vec::with_capacity(bytes.len() + bytes.len() / 8);
        bytes.iter().for_each(|byte| self.byte(*byte, &mut encoded));
        self.out.write_all(&encoded)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_back_in_every_split() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| n.to_be_bytes()[3]).collect();
        for size in [1, 56, 57, 58, 20_000] {
            let mut writer = Base64Writer::new(Vec::new());
            bytes.chunks(size).for_each(|piece| writer.write_all(piece).unwrap());
            let text = writer.finish().unwrap();
            assert!(text.split(|b| *b == b'\n').all(|line| line.len() <= 77));
            let mut read = Vec::new();
            Base64Reader::new(text.as_slice()).read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
        let mut read = Vec::new();
        assert!(Base64Reader::new(&b"AAA"[..]).read_to_end(&mut read).is_err());
        assert!(Base64Reader::new(&b"A!AA"[..]).read_to_end(&mut read).is_err());
    }

    #[test]
    fn quoted_printable_is_safe_on_its_way() {
        let check = |text: &str, expected: &str| {
            let mut writer = QuotedWriter::new(Vec::new());
            text.bytes().for_each(|byte| writer.write_all(&[byte]).unwrap());
            assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), expected, "{text}");
        };
        check("a = b \r\n\r\n", "a =3D b=20\r\n\r\n");
        check("From a\r\n.\r\n--b", "=46rom a\r\n=2E\r\n=2D-b");
        check("\u{fc}\rx\ny\t", "=C3=BC=0Dx=0Ay=09");
        check("\r", "=0D");
        check(&"x".repeat(80), &format!("{}=\r\n{}", "x".repeat(75), "x".repeat(5)));
    }

    #[test]
    fn line_ends_become_canonical_in_every_split() {
        let (input, expected) = (b"a\nb\r\nc\rd\r\r\n\n\n", b"a\r\nb\r\nc\rd\r\r\n\r\n\r\n");
        for size in 1..input.len() {
            let mut writer = Canonical::new(Vec::new(), false);
            input.chunks(size).for_each(|piece| writer.write_all(piece).unwrap());
            assert_eq!(writer.into_inner(), expected, "{size}");
        }
    }
}

//! Messages made safe for a 7-bit path before they are signed (RFC 8551 §3.1.3).
//!
//! A mail server may encode 8-bit text anew, cut spaces at line ends and break long lines, each of
//! which destroys a signature over what everybody can read. So parts with any of it get a transfer
//! encoding before. Parts that have one, or are signed themselves, are left as they are.

use std::io::{self, BufRead, Write};

use super::{
    MessageError,
    header::{Header, MediaType},
    lines::{Lines, Next},
    transfer::{Base64Writer, QuotedWriter},
};
use crate::limits::{HELD_BYTES_MAX, LINE_BYTES_MAX, PARTS_DEPTH_MAX};

/// Writes a message or part with this header, whose body is the input.
pub(super) fn write(
    header: Header,
    input: impl BufRead,
    out: &mut dyn Write,
) -> Result<(), MessageError> {
    part(&mut Lines::new(input), header, 0, out).map(|_| ())
}

fn part<R: BufRead>(
    lines: &mut Lines<R>,
    mut header: Header,
    depth: usize,
    out: &mut dyn Write,
) -> Result<Next, MessageError> {
    if depth > PARTS_DEPTH_MAX {
        return Err(MessageError::TooDeep);
    }
    let (media, encoding) = (header.media_type(), header.transfer_encoding());
    let essence = media.essence.as_str();
    let is_open = matches!(encoding.as_str(), "7bit" | "8bit" | "binary");
    let is_sealed = matches!(essence, "multipart/signed" | "multipart/encrypted");
    let holds_parts = essence == "message/rfc822" || essence.starts_with("multipart/");
    if !is_open || is_sealed {
        put(out, &seven_bit(&header)?)?;
        return lines.body(&mut |text| {
            let is_short = text.len() <= LINE_BYTES_MAX;
            let is_good = is_short && !text.iter().any(|byte| !byte.is_ascii() || *byte == 0);
            if is_good { put(out, text) } else { Err(MessageError::NotSevenBit) }
        });
    }
    if !holds_parts {
        return leaf(lines, header, &media, out);
    }
    if encoding != "7bit" {
        header.set_transfer_encoding("7bit");
    }
    put(out, &seven_bit(&header)?)?;
    if essence == "message/rfc822" {
        return inner(lines, depth, out);
    }
    multipart(lines, &media.delimiter()?, depth, out)
}

/// Writes header and body of a part inside.
fn inner<R: BufRead>(
    lines: &mut Lines<R>,
    depth: usize,
    out: &mut dyn Write,
) -> Result<Next, MessageError> {
    match lines.header()? {
        (header, None) => part(lines, header, depth + 1, out),
        (header, Some(next)) => put(out, &seven_bit(&header)?).map(|()| next),
    }
}

fn multipart<R: BufRead>(
    lines: &mut Lines<R>,
    delimiter: &[u8],
    depth: usize,
    out: &mut dyn Write,
) -> Result<Next, MessageError> {
    let own = lines.enter(delimiter.to_vec());
    let mut next = lines.skip_text()?;
    let mut before: &[u8] = b"";
    while next == (Next::Delimiter { level: own, is_last: false }) {
        put(out, &[before, delimiter, b"\r\n"].concat())?;
        next = inner(lines, depth, out)?;
        before = b"\r\n";
    }
    lines.leave();
    put(out, &[before, delimiter, b"--"].concat())?;
    match next {
        Next::Delimiter { level, .. } if level == own => lines.skip_text(),
        other => Ok(other),
    }
}

/// Writes a part without parts inside, encoded if it needs it.
fn leaf<R: BufRead>(
    lines: &mut Lines<R>,
    mut header: Header,
    media: &MediaType,
    out: &mut dyn Write,
) -> Result<Next, MessageError> {
    let is_binary = header.transfer_encoding() == "binary";
    let (mut held, mut end, mut is_clean) = (Vec::new(), Vec::new(), !is_binary);
    let mut next = lines.next()?;
    while next == Next::Text && is_clean && held.len() <= HELD_BYTES_MAX {
        is_clean = take(lines, is_binary, &mut held, &mut end);
        next = lines.next()?;
    }
    if next != Next::Text && is_clean {
        if next == Next::End {
            held.append(&mut end);
        }
        put(out, &seven_bit(&header)?)?;
        return put(out, &held).map(|()| next);
    }
    let is_text = media.essence.starts_with("text/") && !is_binary;
    header.set_transfer_encoding(if is_text { "quoted-printable" } else { "base64" });
    put(out, &seven_bit(&header)?)?;
    let mut encoder = match is_text {
        true => Encoder::Quoted(QuotedWriter::new(out)),
        false => Encoder::Base64(Base64Writer::new(out)),
    };
    loop {
        if next == Next::Text {
            take(lines, is_binary, &mut held, &mut end);
        } else if next == Next::End {
            held.append(&mut end);
        }
        encoder.write(&held).map_err(MessageError::Write)?;
        held.clear();
        if next != Next::Text {
            encoder.finish().map_err(MessageError::Write)?;
            return Ok(next);
        }
        next = lines.next()?;
    }
}

/// Adds a line to `held`, with the end of the line before. Returns whether it passes everywhere
/// unchanged.
fn take<R: BufRead>(
    lines: &Lines<R>,
    is_binary: bool,
    held: &mut Vec<u8>,
    end: &mut Vec<u8>,
) -> bool {
    let (text, own_end) = lines.line();
    held.append(end);
    held.extend_from_slice(text);
    let own_end = if is_binary || own_end.is_empty() { own_end } else { b"\r\n" };
    end.extend_from_slice(own_end);
    text.len() <= LINE_BYTES_MAX
        && text.iter().all(|byte| byte.is_ascii() && !matches!(byte, 0 | b'\r'))
        && !text.ends_with(b" ")
        && !text.ends_with(b"\t")
        && !text.starts_with(b"From ")
}

/// Returns the lines of a header, which cannot be encoded here.
fn seven_bit(header: &Header) -> Result<Vec<u8>, MessageError> {
    let lines = header.lines();
    if lines.is_ascii() { Ok(lines) } else { Err(MessageError::NotSevenBit) }
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<(), MessageError> {
    out.write_all(bytes).map_err(MessageError::Write)
}

enum Encoder<'a> {
    Quoted(QuotedWriter<&'a mut dyn Write>),
    Base64(Base64Writer<&'a mut dyn Write>),
}

impl Encoder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Quoted(writer) => writer.write_all(bytes),
            Encoder::Base64(writer) => writer.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Encoder::Quoted(writer) => writer.finish().map(|_| ()),
            Encoder::Base64(writer) => writer.finish().map(|_| ()),
        }
    }
}

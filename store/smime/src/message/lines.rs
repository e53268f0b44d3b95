//! Lines of a message, and the delimiters between its parts (RFC 2046 §5.1.1).

use std::io::{BufRead, Read};

use super::{
    MessageError,
    header::{Header, text},
};
use crate::limits::HELD_BYTES_MAX;

/// What comes next in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, or a piece of a long one.
    Text,
    /// The delimiter of the multipart at this level, the outermost one being 0.
    Delimiter {
        /// Its level.
        level: usize,
        /// Whether it closes the multipart.
        is_last: bool,
    },
    /// The end of the input.
    End,
}

/// Reader of lines that knows the delimiters around them.
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    delimiters: Vec<Vec<u8>>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Lines<R> {
        Lines { input, line: Vec::new(), delimiters: Vec::new() }
    }

    /// Enters a multipart and returns its level.
    pub(super) fn enter(&mut self, delimiter: Vec<u8>) -> usize {
        self.delimiters.push(delimiter);
        self.delimiters.len() - 1
    }

    /// Leaves the multipart that was entered last.
    pub(super) fn leave(&mut self) {
        self.delimiters.pop();
    }

    /// Returns the text of the line, and its end, empty for a piece.
    pub(super) fn line(&self) -> (&[u8], &[u8]) {
        self.line.split_at(text(&self.line).len().min(self.line.len()))
    }

    /// Reads the next line.
    pub(super) fn next(&mut self) -> Result<Next, MessageError> {
        let is_start = self.line.is_empty() || self.line.ends_with(b"\n");
        self.line.clear();
        let max = u64::try_from(HELD_BYTES_MAX).unwrap_or(u64::MAX);
        let read = self.input.by_ref().take(max).read_until(b'\n', &mut self.line);
        read.map_err(MessageError::Read)?;
        if self.line.is_empty() {
            return Ok(Next::End);
        }
        // A line end must not be cut in two.
        if self.line.ends_with(b"\r") {
            let rest = self.input.fill_buf().map_err(MessageError::Read)?;
            if rest.starts_with(b"\n") {
                self.input.consume(1);
                self.line.push(b'\n');
            }
        }
        Ok(self.delimiter().filter(|_| is_start).unwrap_or(Next::Text))
    }

    fn delimiter(&self) -> Option<Next> {
        let line = self.line.trim_ascii_end();
        self.delimiters.iter().enumerate().rev().find_map(|(level, delimiter)| {
            match line.strip_prefix(delimiter.as_slice())? {
                b"" => Some(Next::Delimiter { level, is_last: false }),
                b"--" => Some(Next::Delimiter { level, is_last: true }),
                _ => None,
            }
        })
    }

    /// Passes over text that no reader shows, before the first part and after the last.
    pub(super) fn skip_text(&mut self) -> Result<Next, MessageError> {
        loop {
            match self.next()? {
                Next::Text => {}
                other => return Ok(other),
            }
        }
    }

    /// Reads the header of a part. A part without a body ends with its header: then what follows is
    /// returned too.
    pub(super) fn header(&mut self) -> Result<(Header, Option<Next>), MessageError> {
        let mut header = Header::default();
        loop {
            let next = self.next()?;
            if next != Next::Text {
                return Ok((header, Some(next)));
            }
            if !header.push(self.line().0)? {
                return Ok((header, None));
            }
        }
    }

    /// Reads a body to the next delimiter or the end. The line end before a delimiter is a part of
    /// it, and not of the body. Line ends become CRLF.
    pub(super) fn body(
        &mut self,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), MessageError>,
    ) -> Result<Next, MessageError> {
        let mut has_end = false;
        loop {
            let next = self.next()?;
            if next == Next::Text || next == Next::End {
                if has_end {
                    sink(b"\r\n")?;
                }
                if next == Next::End {
                    return Ok(next);
                }
            } else {
                return Ok(next);
            }
            let (text, end) = self.line();
            sink(text)?;
            has_end = !end.is_empty();
        }
    }
}

//! BER (X.690) read as a stream: indefinite lengths and strings in pieces, within bounds.
//!
//! Senders that do not know the size of a content write it in pieces. What is small enough to hold
//! in memory is normalised to definite lengths, for the DER reader.

use std::io::{self, Read};

use der::Encode;

use crate::limits::{DEPTH_MAX, ELEMENT_BYTES_MAX, PIECE_BYTES};

/// Tag of an OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Tag of a SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;
/// Tag of a SET.
pub(crate) const SET: u8 = 0x31;
/// Tag of the constructed context-specific element 0.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// Tag of the constructed context-specific element 1.
pub(crate) const CONTEXT_1: u8 = 0xa1;
/// Tag of the constructed context-specific element 2.
pub(crate) const CONTEXT_2: u8 = 0xa2;

const CONSTRUCTED: u8 = 0x20;

/// Reason why an encoding cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BerError {
    /// The input fails, or ends early.
    #[error("the input fails at byte {at}")]
    Read {
        /// Position.
        at: u64,
        /// The failure.
        #[source]
        source: io::Error,
    },
    /// The output fails.
    #[error("the output fails")]
    Write(#[source] io::Error),
    /// The encoding breaks a rule of X.690, or is not the structure that was expected.
    #[error("damaged at byte {at}: {why}")]
    Damaged {
        /// Position.
        at: u64,
        /// The rule.
        why: &'static str,
    },
    /// A part is larger, or nested deeper, than those of any honest message.
    #[error("too large at byte {at}: {what}")]
    TooLarge {
        /// Position.
        at: u64,
        /// The part and its bound.
        what: &'static str,
    },
}

/// An element that was entered and not left.
enum Frame {
    /// It ends at this position.
    Definite(u64),
    /// It ends with two zeros (X.690 §8.1.5).
    Indefinite,
}

/// Reader of nested elements.
pub(crate) struct Reader<R> {
    input: R,
    frames: Vec<Frame>,
    /// Bytes consumed, without the one that was only looked at.
    at: u64,
    next: Option<u8>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Reader<R> {
        Reader { input, frames: Vec::new(), at: 0, next: None }
    }

    /// Returns an error at this position.
    pub(crate) fn damaged(&self, why: &'static str) -> BerError {
        BerError::Damaged { at: self.at, why }
    }

    fn too_large(&self, what: &'static str) -> BerError {
        BerError::TooLarge { at: self.at, what }
    }

    /// Returns the end of the innermost element with a definite length.
    fn limit(&self) -> u64 {
        let definite = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::Definite(end) => Some(*end),
            Frame::Indefinite => None,
        });
        definite.unwrap_or(u64::MAX)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BerError> {
        let end = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if end > self.limit() {
            return Err(self.damaged("an element ends after the one around it"));
        }
        let mut filled = 0;
        if let Some(first) = bytes.first_mut()
            && let Some(byte) = self.next.take()
        {
            *first = byte;
            filled = 1;
        }
        let (at, rest) = (self.at, bytes.get_mut(filled..).unwrap_or_default());
        self.input.read_exact(rest).map_err(|source| BerError::Read { at, source })?;
        self.at = end;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, BerError> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    /// Returns the tag of the next element, without consuming it; `None` at the end of the element
    /// that was entered.
    pub(crate) fn tag(&mut self) -> Result<Option<u8>, BerError> {
        if matches!(self.frames.last(), Some(Frame::Definite(end)) if *end == self.at) {
            return Ok(None);
        }
        let tag = match self.next {
            Some(tag) => tag,
            None => {
                let tag = self.byte()?;
                self.at -= 1;
                self.next = Some(tag);
                tag
            }
        };
        let is_end = tag == 0 && matches!(self.frames.last(), Some(Frame::Indefinite));
        Ok((!is_end).then_some(tag))
    }

    /// Consumes tag and length; `None` for an indefinite length.
    fn header(&mut self) -> Result<(u8, Option<u64>), BerError> {
        let tag = self.byte()?;
        if tag & 0x1f == 0x1f || tag == 0 {
            return Err(self.damaged("a tag that no message has"));
        }
        let length = match self.byte()? {
            short @ 0..0x80 => u64::from(short),
            0x80 if tag & CONSTRUCTED != 0 => return Ok((tag, None)),
            long => {
                let count = usize::from(long & 0x7f);
                let mut bytes = [0; 8];
                let Some(bytes) = bytes.get_mut(..count).filter(|_| count > 0) else {
                    return Err(self.damaged("a length of more than 8 bytes"));
                };
                self.fill(bytes)?;
                bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
        };
        if self.at.checked_add(length).is_none_or(|end| end > self.limit()) {
            return Err(self.damaged("an element ends after the one around it"));
        }
        Ok((tag, Some(length)))
    }

    fn push(&mut self, length: Option<u64>) -> Result<(), BerError> {
        if self.frames.len() >= DEPTH_MAX {
            return Err(self.too_large("more than 32 nested elements"));
        }
        let end = length.and_then(|length| self.at.checked_add(length));
        self.frames.push(end.map_or(Frame::Indefinite, Frame::Definite));
        Ok(())
    }

    /// Enters an element of this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Result<(), BerError> {
        let (found, length) = self.header()?;
        if found != tag {
            return Err(self.damaged("an element of another type was expected here"));
        }
        self.push(length)
    }

    /// Leaves the element that was entered last, at its end.
    pub(crate) fn leave(&mut self) -> Result<(), BerError> {
        if self.tag()?.is_some() {
            return Err(self.damaged("an element that does not belong here"));
        }
        if let Some(Frame::Indefinite) = self.frames.last() {
            let mut end = [0xff; 2];
            self.fill(&mut end)?;
            if end != [0, 0] {
                return Err(self.damaged("an end of contents with a length"));
            }
        }
        self.frames.pop();
        Ok(())
    }

    /// Reads a string of this tag, primitive or in pieces (X.690 §8.7.3), piece by piece.
    pub(crate) fn string(
        &mut self,
        tag: u8,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), BerError> {
        let (found, length) = self.header()?;
        if found == tag | CONSTRUCTED {
            self.push(length)?;
            while self.tag()?.is_some() {
                self.string(OCTET_STRING, sink)?;
            }
            return self.leave();
        }
        let Some(mut rest) = length.filter(|_| found == tag) else {
            return Err(self.damaged("an OCTET STRING was expected here"));
        };
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(rest).unwrap_or(PIECE_BYTES))];
        while rest > 0 {
            let bytes = usize::try_from(rest).unwrap_or(PIECE_BYTES).min(piece.len());
            let part = piece.get_mut(..bytes).unwrap_or_default();
            self.fill(part)?;
            sink(part).map_err(BerError::Write)?;
            rest -= u64::try_from(bytes).unwrap_or(rest);
        }
        Ok(())
    }

    /// Reads the next element whole, with definite lengths.
    pub(crate) fn element(&mut self) -> Result<Vec<u8>, BerError> {
        let mut out = Vec::new();
        self.copy(&mut out)?;
        Ok(out)
    }

    fn copy(&mut self, out: &mut Vec<u8>) -> Result<(), BerError> {
        const WHAT: &str = "an element of more than 1 MiB";
        let at = self.at;
        if matches!(self.tag()?, Some(tag) if tag & !CONSTRUCTED == OCTET_STRING) {
            let mut content = Vec::new();
            let held = self.string(OCTET_STRING, &mut |piece| {
                content.extend_from_slice(piece);
                let fits = content.len() <= ELEMENT_BYTES_MAX;
                fits.then_some(()).ok_or(io::ErrorKind::FileTooLarge.into())
            });
            held.map_err(|error| match error {
                BerError::Write(_) => BerError::TooLarge { at, what: WHAT },
                other => other,
            })?;
            out.extend(tlv(OCTET_STRING, &[&content]));
        } else {
            let (tag, length) = self.header()?;
            let mut content = Vec::new();
            if tag & CONSTRUCTED != 0 {
                self.push(length)?;
                while self.tag()?.is_some() {
                    self.copy(&mut content)?;
                }
                self.leave()?;
            } else {
                let length = length.and_then(|length| usize::try_from(length).ok());
                let length = length.filter(|length| *length <= ELEMENT_BYTES_MAX);
                content.resize(length.ok_or_else(|| self.too_large(WHAT))?, 0);
                self.fill(&mut content)?;
            }
            out.extend(tlv(tag, &[&content]));
        }
        if out.len() > ELEMENT_BYTES_MAX {
            return Err(self.too_large(WHAT));
        }
        Ok(())
    }

    /// Passes over the next element.
    pub(crate) fn skip(&mut self) -> Result<(), BerError> {
        let (tag, length) = self.header()?;
        if tag & CONSTRUCTED != 0 {
            self.push(length)?;
            while self.tag()?.is_some() {
                self.skip()?;
            }
            return self.leave();
        }
        let (mut rest, mut piece) = (length.unwrap_or(0), [0; 4096]);
        while rest > 0 {
            let bytes = usize::try_from(rest).unwrap_or(usize::MAX).min(piece.len());
            self.fill(piece.get_mut(..bytes).unwrap_or_default())?;
            rest -= u64::try_from(bytes).unwrap_or(rest);
        }
        Ok(())
    }
}

/// Encodes tag, length and content (DER).
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let length = der::Length::try_from(bytes).and_then(|length| length.to_der());
    // A length is refused only above 4 GiB, and what is written here is bounded.
    [&[tag], length.unwrap_or_default().as_slice(), &parts.concat()].concat()
}

/// Length of a constructed element that ends with [`END`].
pub(crate) const INDEFINITE: u8 = 0x80;
/// End of an element of indefinite length.
pub(crate) const END: [u8; 2] = [0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(input: &[u8]) -> Option<Vec<u8>> {
        Reader::new(input).element().ok()
    }

    #[test]
    fn each_form_of_an_element_becomes_the_same() {
        let expected = vec![0x30, 5, 0x04, 3, 1, 2, 3];
        for form in [
            &[0x30, 5, 0x04, 3, 1, 2, 3][..],
            &[0x30, 0x81, 5, 0x04, 3, 1, 2, 3],
            &[0x30, 0x80, 0x04, 3, 1, 2, 3, 0, 0],
            &[0x30, 0x80, 0x24, 0x80, 0x04, 1, 1, 0x04, 2, 2, 3, 0, 0, 0, 0],
            &[0x30, 13, 0x24, 11, 0x24, 3, 0x04, 1, 1, 0x04, 0, 0x04, 2, 2, 3],
            &[0x30, 0x80, 0x24, 0x80, 0x24, 5, 0x04, 3, 1, 2, 3, 0, 0, 0, 0],
        ] {
            assert_eq!(normal(form), Some(expected.clone()), "{form:?}");
        }
    }

    #[test]
    fn damage_is_refused() {
        for damaged in [
            &[0x30, 5, 0x04, 3, 1, 2][..],
            &[0x30, 4, 0x04, 3, 1, 2, 3],
            &[0x04, 0x80, 0, 0],
            &[0x30, 0x80, 0x04, 1, 1, 0, 1],
            &[0x30, 0x80, 0x24, 0x80, 0x02, 1, 1, 0, 0, 0, 0],
            &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 1, 1],
            &[0x04, 0x84, 0x7f, 0xff, 0xff, 0xff],
            &[],
        ] {
            assert_eq!(normal(damaged), None, "{damaged:?}");
        }
        assert_eq!(normal(&[0x30, 0x80].repeat(100_000)), None);
    }
}

//! Streams that keep the hash of a file: the reader holds back the signature at its end.

use std::io::{self, Read, Write};

use conclave_pki::{certificate::Certificate, key};
use ring::digest::{Context, SHA256};

use crate::{SIGNED_AS, limits::SIGNATURE_BYTES_MAX};

/// Bytes of the signature in the file: its length, and the signature filled up with zeros. All
/// backups have the same, so that a reader finds where the body ends.
pub(crate) const TRAILER_BYTES: usize = SIGNATURE_BYTES_MAX + 1;
/// Bytes read from the file at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Returns what is signed for a file with this hash.
pub(crate) fn signed(context: Context) -> Vec<u8> {
    [SIGNED_AS, context.finish().as_ref()].concat()
}

/// A writer that hashes what it passes on.
pub(crate) struct Hashing<W> {
    out: W,
    context: Context,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(out: W) -> Hashing<W> {
        Hashing { out, context: Context::new(&SHA256) }
    }

    /// Writes the signature that `sign` makes. It is not part of the hash.
    pub(crate) fn finish<E>(
        mut self,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<io::Result<W>, E> {
        let signature = sign(&signed(self.context))?;
        let mut trailer = [0; TRAILER_BYTES];
        let written = match (u8::try_from(signature.len()), trailer.split_first_mut()) {
            (Ok(length), Some((first, rest))) if signature.len() <= rest.len() => {
                *first = length;
                rest.iter_mut().zip(&signature).for_each(|(to, from)| *to = *from);
                self.out.write_all(&trailer).and_then(|()| self.out.flush())
            }
            _ => Err(io::Error::other("the signature is too long")),
        };
        Ok(written.map(|()| self.out))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.context.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A reader of everything but the signature at the end, with the hash of what it gave out.
pub(crate) struct Held<R> {
    input: R,
    context: Context,
    /// Bytes read and not given out; the last [`TRAILER_BYTES`] may be the signature.
    held: Vec<u8>,
    /// Bytes at the beginning of `held` that were given out.
    given: usize,
    count: u64,
    has_ended: bool,
}

impl<R: Read> Held<R> {
    pub(crate) fn new(input: R) -> Held<R> {
        let context = Context::new(&SHA256);
        Held { input, context, held: Vec::new(), given: 0, count: 0, has_ended: false }
    }

    /// Returns the number of bytes given out.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Reads to the end and returns whether the signature is that of `authority`.
    pub(crate) fn check_signature(mut self, authority: &Certificate) -> io::Result<bool> {
        io::copy(&mut self, &mut io::sink())?;
        let trailer = self.held.get(self.given..).unwrap_or_default();
        let Some((length, filled)) = trailer.split_first() else { return Ok(false) };
        let split = filled.split_at_checked(usize::from(*length));
        let Some((signature, zeros)) = split.filter(|_| trailer.len() == TRAILER_BYTES) else {
            return Ok(false);
        };
        let is_filled = zeros.iter().all(|byte| *byte == 0);
        let message = signed(self.context);
        Ok(is_filled && key::is_signed(authority.public_key_der(), &message, signature))
    }

    /// Reads until there is more than a signature, or the end.
    fn fill(&mut self) -> io::Result<()> {
        while !self.has_ended && self.held.len() - self.given <= TRAILER_BYTES {
            self.held.drain(..self.given);
            self.given = 0;
            let begin = self.held.len();
            self.held.resize(begin + PIECE_BYTES, 0);
            let read = self.input.read(self.held.get_mut(begin..).unwrap_or_default());
            self.held.truncate(begin + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(count) => self.has_ended = count == 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Held<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let left = self.held.get(self.given..).unwrap_or_default();
        let body = left.get(..left.len().saturating_sub(TRAILER_BYTES)).unwrap_or_default();
        let count = body.len().min(out.len());
        if let (Some(from), Some(to)) = (body.get(..count), out.get_mut(..count)) {
            to.copy_from_slice(from);
            self.context.update(from);
        }
        self.given += count;
        self.count += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}

//! Decrypting (RFC 5652 §6, RFC 5083).

use std::io::{self, Read, Seek, SeekFrom, Write};

use conclave_pki::{certificate::Certificate, key::PrivateKey};
use der::oid::ObjectIdentifier;
use x509_cert::spki::AlgorithmIdentifierOwned;
use zeroize::Zeroizing;

use super::{
    AUTH_ENVELOPED_DATA, ENVELOPED_DATA,
    cipher::{self, Cipher, Step, Tag},
    read,
    recipient::Found,
};
use crate::{
    ber::{BerError, CONTEXT_0, CONTEXT_1, Reader, SEQUENCE, SET},
    limits::{KEYS_MAX, PIECE_BYTES, RECIPIENTS_MAX},
};

/// Tag of an implicit primitive element 0, the encrypted content.
const CONTENT: u8 = 0x80;

/// Reason why a content cannot be decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The structure cannot be read.
    #[error("the encrypted message cannot be read")]
    Read(#[from] BerError),
    /// It is another type of CMS message.
    #[error("expected an encrypted message, found content of type {found}")]
    NotEncrypted {
        /// Object identifier of the type.
        found: String,
    },
    /// None of the keys is for it.
    #[error(
        "the message is encrypted for others: {recipients} recipients, none of them has this key"
    )]
    NoRecipient {
        /// Number of recipients.
        recipients: usize,
    },
    /// There are more recipients than in any honest message, or more keys.
    #[error("more than {max} {what}")]
    TooMany {
        /// The parts.
        what: &'static str,
        /// Number allowed.
        max: usize,
    },
    /// The algorithm is not supported.
    #[error("encrypted by the algorithm {found} or its parameters, which are not supported")]
    Algorithm {
        /// Object identifier.
        found: String,
    },
    /// The key is wrong, or the message was changed. There is one error for all causes, because the
    /// difference would help an attacker who may ask often (RFC 3218 §2.3).
    #[error("the message does not decrypt: it was changed, or its key was")]
    Failed,
    /// The input, the output or the spool fails.
    #[error("the decrypted message cannot be written")]
    Write(#[source] io::Error),
}

/// Private key of a recipient and its certificate.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The key.
    pub key: &'a PrivateKey,
    /// Its certificate, which names it in messages.
    pub certificate: &'a Certificate,
}

/// Empty storage for as much as the message, such as a file that was just created. It gets nothing
/// but ciphertext.
pub trait Spool: Read + Write + Seek {}

impl<T: Read + Write + Seek> Spool for T {}

/// Decrypts EnvelopedData or AuthEnvelopedData into `out`, by the first of the keys that it is for.
///
/// CBC (EnvelopedData) has no protection from changes: plaintext is written while the input is read,
/// and on an error the caller must discard it. GCM (AuthEnvelopedData) has: its ciphertext goes to
/// `spool` first, and nothing is written to `out` before the tag at the end was right.
pub fn decrypt(
    input: impl Read,
    out: &mut dyn Write,
    holders: &[Holder<'_>],
    spool: &mut dyn Spool,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<(), DecryptError> {
    if holders.len() > KEYS_MAX {
        return Err(DecryptError::TooMany { what: "keys", max: KEYS_MAX });
    }
    let mut reader = Reader::new(input);
    reader.enter(SEQUENCE)?;
    let kind: ObjectIdentifier = read(&mut reader, "a type of content was expected here")?;
    if kind != ENVELOPED_DATA && kind != AUTH_ENVELOPED_DATA {
        return Err(DecryptError::NotEncrypted { found: kind.to_string() });
    }
    reader.enter(CONTEXT_0)?;
    reader.enter(SEQUENCE)?;
    reader.skip()?;
    if reader.tag()? == Some(CONTEXT_0) {
        reader.skip()?;
    }
    let found = recipient(&mut reader, holders)?;
    reader.enter(SEQUENCE)?;
    reader.skip()?;
    let identifier: AlgorithmIdentifierOwned = read(&mut reader, "an algorithm was expected here")?;
    let unsupported = || DecryptError::Algorithm { found: identifier.oid.to_string() };
    let (cipher, start, tag_bytes) = Cipher::read(&identifier).ok_or_else(unsupported)?;
    if cipher.is_authenticated() != (kind == AUTH_ENVELOPED_DATA) {
        return Err(unsupported());
    }
    let key = found.open(cipher.key_bytes(), fill);
    let step = cipher::decryption(cipher, &key, &start).ok_or_else(unsupported)?;
    if reader.tag()? != Some(CONTENT) && reader.tag()? != Some(CONTENT | 0x20) {
        return Err(reader.damaged("the encrypted content is missing").into());
    }
    if cipher.is_authenticated() {
        reader.string(CONTENT, &mut |piece| spool.write_all(piece))?;
        let (attributes, mac) = end_of_authenticated(&mut reader)?;
        let tag = Tag::new(cipher, &key, &start, &attributes).ok_or_else(unsupported)?;
        return authenticated(spool, tag, &mac, tag_bytes, step, out);
    }
    let mut cbc = Cbc { step, block: cipher.block_bytes(), held: Zeroizing::default(), out };
    reader.string(CONTENT, &mut |piece| cbc.write(piece))?;
    let is_padded = cbc.finish();
    reader.leave()?;
    if reader.tag()? == Some(CONTEXT_1) {
        reader.skip()?;
    }
    (0..3).try_for_each(|_| reader.leave())?;
    is_padded
}

/// Reads the recipients and returns what is for the first holder among them.
fn recipient<'a, R: Read>(
    reader: &mut Reader<R>,
    holders: &[Holder<'a>],
) -> Result<Found<'a>, DecryptError> {
    reader.enter(SET)?;
    let (mut found, mut recipients) = (None, 0);
    while reader.tag()?.is_some() {
        recipients += 1;
        if recipients > RECIPIENTS_MAX {
            return Err(DecryptError::TooMany { what: "recipients", max: RECIPIENTS_MAX });
        }
        let info = reader.element()?;
        if found.is_none() {
            found = Found::read(&info, holders)
                .map_err(|oid| DecryptError::Algorithm { found: oid.to_string() })?;
        }
    }
    reader.leave()?;
    found.ok_or(DecryptError::NoRecipient { recipients })
}

/// Reads what follows the content: the authenticated attributes, as GCM covers them (RFC 5083 §2.2),
/// and the tag.
fn end_of_authenticated<R: Read>(
    reader: &mut Reader<R>,
) -> Result<(Vec<u8>, Vec<u8>), DecryptError> {
    reader.leave()?;
    let mut attributes = Vec::new();
    if reader.tag()? == Some(CONTEXT_1) {
        attributes = reader.element()?;
        if let Some(first) = attributes.first_mut() {
            *first = SET;
        }
    }
    let mac: der::asn1::OctetString = read(reader, "a tag was expected here")?;
    if reader.tag()?.is_some() {
        reader.skip()?;
    }
    (0..3).try_for_each(|_| reader.leave())?;
    Ok((attributes, mac.as_bytes().to_vec()))
}

/// Checks the tag over the spooled ciphertext, then decrypts it.
fn authenticated(
    spool: &mut dyn Spool,
    mut tag: Tag,
    mac: &[u8],
    tag_bytes: usize,
    mut step: Step,
    out: &mut dyn Write,
) -> Result<(), DecryptError> {
    each_piece(spool, &mut |piece| {
        tag.update(piece);
        Ok(())
    })?;
    let own = tag.finish();
    let own = own.get(..tag_bytes).unwrap_or_default();
    aws_lc_rs::constant_time::verify_slices_are_equal(own, mac)
        .map_err(|_| DecryptError::Failed)?;
    each_piece(spool, &mut |piece| {
        step(piece);
        out.write_all(piece)
    })
}

fn each_piece(
    spool: &mut dyn Spool,
    sink: &mut dyn FnMut(&mut [u8]) -> io::Result<()>,
) -> Result<(), DecryptError> {
    spool.seek(SeekFrom::Start(0)).map_err(DecryptError::Write)?;
    let mut piece = Zeroizing::new(vec![0; PIECE_BYTES]);
    loop {
        let bytes = spool.read(&mut piece).map_err(DecryptError::Write)?;
        match piece.get_mut(..bytes).filter(|piece| !piece.is_empty()) {
            Some(piece) => sink(piece).map_err(DecryptError::Write)?,
            None => return Ok(()),
        }
    }
}

/// Decryption in CBC mode, with the last block held back until it is known to be the last.
struct Cbc<'a> {
    step: Step,
    block: usize,
    held: Zeroizing<Vec<u8>>,
    out: &'a mut dyn Write,
}

impl Cbc<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(piece);
        let last = self.held.len().saturating_sub(1);
        let ready = last - last % self.block;
        if let Some(whole) = self.held.get_mut(..ready).filter(|whole| !whole.is_empty()) {
            (self.step)(whole);
            self.out.write_all(whole)?;
            self.held.drain(..ready);
        }
        Ok(())
    }

    /// Decrypts the last block and writes it without padding (RFC 5652 §6.3). The time does not
    /// depend on the padding.
    fn finish(mut self) -> Result<(), DecryptError> {
        if self.held.len() != self.block {
            return Err(DecryptError::Failed);
        }
        (self.step)(&mut self.held);
        let count = self.held.last().map_or(0, |count| usize::from(*count));
        let mut wrong = u8::from(count == 0) | u8::from(count > self.block);
        for (from_end, byte) in self.held.iter().rev().enumerate() {
            let is_padding = u8::from(from_end < count);
            wrong |= is_padding & u8::from(usize::from(*byte) != count);
        }
        let kept = self.held.get(..self.block.saturating_sub(count));
        let kept = kept.filter(|_| wrong == 0).ok_or(DecryptError::Failed)?;
        self.out.write_all(kept).map_err(DecryptError::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_padding_is_taken_off() {
        let check = |last: [u8; 16], expected: Option<usize>| {
            let mut out = Vec::new();
            let step: Step = Box::new(|_| ());
            let mut cbc = Cbc { step, block: 16, held: Zeroizing::default(), out: &mut out };
            cbc.write(&[7; 16]).unwrap();
            cbc.write(&last).unwrap();
            let is_right = cbc.finish().is_ok();
            assert_eq!(is_right.then_some(out.len()), expected, "{last:?}");
        };
        let padded = |count: u8| {
            let mut block = [0xaa; 16];
            block[16 - usize::from(count)..].fill(count);
            block
        };
        check(padded(1), Some(31));
        check(padded(16), Some(16));
        check([0; 16], None);
        check([17; 16], None);
        let mut broken = padded(5);
        broken[12] = 4;
        check(broken, None);
    }
}

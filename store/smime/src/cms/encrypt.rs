//! Encrypting for recipients: EnvelopedData (RFC 5652 §6) and AuthEnvelopedData (RFC 5083).

use std::io::{self, Write};

use conclave_pki::{
    certificate::Certificate,
    key::{KeyError, RsaPadding},
};
use zeroize::Zeroizing;

use super::{
    AUTH_ENVELOPED_DATA, DATA, ENVELOPED_DATA,
    cipher::{self, Cipher, Step, Tag},
    oid,
    recipient::{self, Fill},
};
use crate::{
    ber::{CONTEXT_0, CONTEXT_1, END, INDEFINITE, OCTET_STRING, SEQUENCE, SET, tlv},
    limits::{GCM_BYTES_MAX, PIECE_BYTES, RECIPIENTS_MAX},
};

/// Reason why a content cannot be encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// Nobody could read it.
    #[error("an encrypted message needs at least one recipient")]
    NoRecipient,
    /// There are more recipients than one message can have.
    #[error("a message has at most 1024 recipients, here are {count}")]
    TooMany {
        /// Number found.
        count: usize,
    },
    /// The certificate is not for receiving.
    #[error("the certificate of {subject} is not for encryption: {why}")]
    Recipient {
        /// Subject of the certificate.
        subject: String,
        /// The reason.
        why: &'static str,
    },
    /// The key of a recipient is not usable.
    #[error("nothing can be encrypted to {subject}")]
    Key {
        /// Subject of the certificate.
        subject: String,
        /// The reason.
        #[source]
        source: KeyError,
    },
    /// The cipher is for reading only.
    #[error("{0:?} is for reading old messages only")]
    Cipher(Cipher),
    /// The output fails.
    #[error("the encrypted message cannot be written")]
    Write(#[source] io::Error),
}

/// Encryption of a content that is written to it. Not finished, it is worthless.
pub struct Encryptor<W: Write> {
    out: W,
    cipher: Cipher,
    step: Step,
    tag: Option<Tag>,
    held: Zeroizing<Vec<u8>>,
}

impl<W: Write> Encryptor<W> {
    /// Makes a content key for the owners of `recipients`, 1 to 1024 of them, and writes what comes
    /// before the content. `padding` is for those with RSA keys.
    pub fn new(
        mut out: W,
        recipients: &[Certificate],
        cipher: Cipher,
        padding: RsaPadding,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Encryptor<W>, EncryptError> {
        if recipients.is_empty() {
            return Err(EncryptError::NoRecipient);
        }
        if recipients.len() > RECIPIENTS_MAX {
            return Err(EncryptError::TooMany { count: recipients.len() });
        }
        let mut key = Zeroizing::new(vec![0; cipher.key_bytes()]);
        fill(&mut key);
        let mut start = vec![0; cipher.start_bytes()];
        fill(&mut start);
        let refused = || EncryptError::Cipher(cipher);
        let step = cipher::encryption(cipher, &key, &start).ok_or_else(refused)?;
        let infos = infos(recipients, padding, &key, fill)?;
        // RFC 5652 §6.1: 2 if any recipient has a version other than 0, as agreement has.
        let has_agreement = infos.iter().any(|info| info.first() == Some(&CONTEXT_1));
        let (kind, version, tag) = match cipher.is_authenticated() {
            true => (AUTH_ENVELOPED_DATA, 0, Tag::new(cipher, &key, &start, &[])),
            false => (ENVELOPED_DATA, if has_agreement { 2 } else { 0 }, None),
        };
        let infos: Vec<&[u8]> = infos.iter().map(Vec::as_slice).collect();
        let header = [
            &[SEQUENCE, INDEFINITE][..],
            &oid(kind),
            &[CONTEXT_0, INDEFINITE, SEQUENCE, INDEFINITE, 2, 1, version],
            &tlv(SET, &infos),
            &[SEQUENCE, INDEFINITE],
            &oid(DATA),
            &cipher.identifier(&start),
            &[CONTEXT_0, INDEFINITE],
        ];
        out.write_all(&header.concat()).map_err(EncryptError::Write)?;
        let held = Zeroizing::new(Vec::with_capacity(PIECE_BYTES + cipher.block_bytes()));
        Ok(Encryptor { out, cipher, step, tag, held })
    }

    /// Returns the output.
    pub(crate) fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Encrypts the rest, writes the end and returns the output.
    pub fn finish(mut self) -> Result<W, EncryptError> {
        if !self.cipher.is_authenticated() {
            // RFC 5652 §6.3: 1 to 16 bytes, each with their number.
            let block = self.cipher.block_bytes();
            let missing = block - self.held.len() % block;
            let length = self.held.len() + missing;
            self.held.resize(length, u8::try_from(missing).unwrap_or(16));
        }
        self.piece().map_err(EncryptError::Write)?;
        let tag = self.tag.map(|tag| tlv(OCTET_STRING, &[&tag.finish()])).unwrap_or_default();
        // The content, its structure, the mac, and the three structures around them.
        let end = [&END.repeat(2)[..], &tag, &END.repeat(3)].concat();
        self.out.write_all(&end).map_err(EncryptError::Write)?;
        Ok(self.out)
    }

    fn piece(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        (self.step)(&mut self.held);
        if let Some(tag) = &mut self.tag
            && tag.update(&self.held) > GCM_BYTES_MAX
        {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "64 GiB are the most for GCM"));
        }
        self.out.write_all(&tlv(OCTET_STRING, &[&self.held]))?;
        self.held.clear();
        Ok(())
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES.saturating_sub(self.held.len());
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.held.extend_from_slice(now);
        // A whole number of blocks.
        if self.held.len() >= PIECE_BYTES {
            self.piece()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn infos(
    recipients: &[Certificate],
    padding: RsaPadding,
    content_key: &[u8],
    fill: Fill<'_>,
) -> Result<Vec<Vec<u8>>, EncryptError> {
    let mut all = Vec::new();
    for (at, certificate) in recipients.iter().enumerate() {
        let subject = || certificate.subject_or_names();
        if !certificate.may_receive() {
            let why = "its key usage or the type of its key";
            return Err(EncryptError::Recipient { subject: subject(), why });
        }
        // One certificate named twice is one recipient.
        let earlier = recipients.get(..at).unwrap_or_default();
        if !earlier.iter().any(|other| other.der() == certificate.der()) {
            let info = recipient::info(certificate, padding, content_key, fill);
            let key = |source| EncryptError::Key { subject: subject(), source };
            all.push(info.map_err(key)?);
        }
    }
    // DER wants a SET sorted; strict readers check it.
    all.sort();
    Ok(all)
}

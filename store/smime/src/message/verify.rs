//! Verifying of messages (RFC 8551 §3.5).

use std::{
    collections::BTreeSet,
    io::{BufRead, Read, Write},
};

use super::{
    Kind, MessageError,
    encrypt::unwrapping,
    from_write,
    header::Header,
    kind_of,
    lines::{Lines, Next},
    transfer::Base64Reader,
};
use crate::{
    cms::{self, Digests, Opening, Verified},
    limits::SIGNATURE_BYTES_MAX,
};

/// Outcome of verifying a message. The signatures are right; whether their certificates are trusted
/// is for the caller to judge.
#[derive(Clone)]
pub struct Checked {
    /// Signers and certificates.
    pub verified: Verified,
    /// Addresses of the author (From), in lower case: the protected ones, if there are any.
    pub from: Vec<String>,
    /// Addresses in the certificates of the signers, in lower case.
    pub emails: BTreeSet<String>,
    /// Whether each author's address is in the certificate of a signer (RFC 8550 §3).
    pub is_from_signer: bool,
    /// Whether the signature covers the fields that readers see (RFC 9788). Otherwise From, Subject
    /// and the others may have been changed.
    pub is_header_protected: bool,
}

/// Verifies a signed message of either form and writes the message inside, with the envelope from
/// outside, to `out`. It is written before the signature is known to be right: on an error the
/// caller must discard it.
pub fn verify(
    mut input: impl BufRead,
    out: impl Write,
    opening: Opening<'_>,
) -> Result<Checked, MessageError> {
    let outer = Header::read(&mut input)?;
    let mut seen = None;
    let mut inside = unwrapping(&outer, out, &mut seen);
    let media = outer.media_type();
    let verified = if media.essence == "multipart/signed" {
        detached(Lines::new(input), media.delimiter()?, &mut inside, opening)?
    } else if outer.is_cms() {
        cms::verify(body(&outer, &mut input)?, &mut inside, opening)?
    } else {
        let found = kind_of(&outer, &mut input)?;
        return Err(MessageError::Kind { expected: Kind::Signed, found });
    };
    inside.finish()?.flush().map_err(MessageError::Write)?;
    let (header, is_header_protected) = seen.unwrap_or_default();
    let from = header.from();
    let signers = verified.signers.iter();
    let emails: BTreeSet<String> = signers
        .flat_map(|signer| signer.certificate.emails())
        .map(|email| email.to_ascii_lowercase())
        .collect();
    let is_from_signer = !from.is_empty() && from.iter().all(|one| emails.contains(one));
    Ok(Checked { verified, from, emails, is_from_signer, is_header_protected })
}

/// Verifies `multipart/signed` (RFC 1847 §2.1). Its first part is copied to `inside`.
fn detached<R: BufRead>(
    mut lines: Lines<R>,
    delimiter: Vec<u8>,
    inside: &mut dyn Write,
    opening: Opening<'_>,
) -> Result<Verified, MessageError> {
    const DAMAGED: MessageError =
        MessageError::Header("multipart/signed needs a part and its signature");
    let next_part = Next::Delimiter { level: lines.enter(delimiter), is_last: false };
    if lines.skip_text()? != next_part {
        return Err(DAMAGED);
    }
    let mut digests = Digests::for_reading();
    let next = lines.body(&mut |piece| {
        digests.write_all(piece).map_err(MessageError::Write)?;
        inside.write_all(piece).map_err(from_write)
    })?;
    if next != next_part {
        return Err(DAMAGED);
    }
    let (header, None) = lines.header()? else { return Err(DAMAGED) };
    let essence = header.media_type().essence;
    if !matches!(essence.as_str(), "application/pkcs7-signature" | "application/x-pkcs7-signature")
    {
        return Err(MessageError::Header("the signature is not one of S/MIME"));
    }
    let mut signature = Vec::new();
    lines.body(&mut |piece| {
        signature.extend_from_slice(piece);
        // Base64 takes four bytes for three, and line ends.
        let fits = signature.len() <= SIGNATURE_BYTES_MAX / 2 * 3;
        fits.then_some(()).ok_or(MessageError::Header("the signature is larger than 4 MiB"))
    })?;
    Ok(cms::verify_detached(body(&header, &mut signature.as_slice())?, &digests, opening)?)
}

/// Returns the decoded body of a part that is CMS.
pub(super) fn body<'a>(
    header: &Header,
    input: &'a mut impl BufRead,
) -> Result<Box<dyn Read + 'a>, MessageError> {
    match header.transfer_encoding().as_str() {
        "base64" => Ok(Box::new(Base64Reader::new(input))),
        "7bit" | "8bit" | "binary" => Ok(Box::new(input)),
        _ => Err(MessageError::Header("a transfer encoding other than base64")),
    }
}

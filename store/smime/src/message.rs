//! S/MIME (RFC 8551) on whole messages (RFC 5322): header, empty line, body.
//!
//! Messages are read with LF or CRLF as line ends and written with CRLF. The fields of the envelope
//! (From, To, Subject, Received and so on) stay outside; those about the body move inside, with
//! copies of what readers see (RFC 9788), and come back when the layer is taken off.

mod encrypt;
mod header;
mod lines;
mod seven_bit;
mod sign;
mod transfer;
mod verify;

use std::io::{self, BufRead, Read};

use crate::cms::{ContentType, DecryptError, EncryptError, SignError, VerifyError, content_type};

pub use encrypt::{Encrypting, Encryption, decrypt, encrypt, sign_and_encrypt};
pub use sign::{Form, sign};
pub use verify::{Checked, verify};

/// Reason why a message cannot be signed, verified, encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The input fails.
    #[error("the message cannot be read")]
    Read(#[source] io::Error),
    /// The output fails.
    #[error("the message cannot be written")]
    Write(#[source] io::Error),
    /// A header is damaged.
    #[error("the header of the message is damaged: {0}")]
    Header(&'static str),
    /// Parts are nested deeper than in any honest message.
    #[error("the message has more than 16 nested parts")]
    TooDeep,
    /// A part that must not be changed has bytes that a mail server may change.
    #[error(
        "a header, an encoded or a signed part has 8-bit bytes or long lines: sign it in the opaque form"
    )]
    NotSevenBit,
    /// It is another kind of message.
    #[error("expected a message that is {expected:?}, found one that is {found:?}")]
    Kind {
        /// The kind that was asked for.
        expected: Kind,
        /// The kind of the message.
        found: Kind,
    },
    /// Signing fails.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The signature is not accepted.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Encrypting fails.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// Decrypting fails.
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
}

/// Returns the error of this library that came through a writer, or the failure of the writer.
fn from_write(error: io::Error) -> MessageError {
    error.downcast::<MessageError>().unwrap_or_else(MessageError::Write)
}

/// Protection of a message, as its outermost layer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// None.
    Plain,
    /// Signed, readable for everybody; by S/MIME or another standard.
    Signed,
    /// Encrypted; by S/MIME or another standard.
    Encrypted,
    /// CMS of another type, such as certificates alone or compressed content.
    Other,
}

/// Returns the protection of a message. Reads the header and, if that does not say it, the start of
/// the body.
pub fn kind(mut input: impl BufRead) -> Result<Kind, MessageError> {
    let header = header::Header::read(&mut input)?;
    kind_of(&header, &mut input)
}

fn kind_of(header: &header::Header, input: &mut impl BufRead) -> Result<Kind, MessageError> {
    let media = header.media_type();
    match media.essence.as_str() {
        "multipart/signed" => return Ok(Kind::Signed),
        "multipart/encrypted" => return Ok(Kind::Encrypted),
        _ if !header.is_cms() => return Ok(Kind::Plain),
        _ => {}
    }
    let word = media.parameter("smime-type").unwrap_or_default().to_ascii_lowercase();
    match word.as_str() {
        "signed-data" => return Ok(Kind::Signed),
        "enveloped-data" | "authenveloped-data" => return Ok(Kind::Encrypted),
        _ => {}
    }
    // Programs from before RFC 2633 do not name the type.
    let mut start = Vec::new();
    let Ok(body) = verify::body(header, input) else { return Ok(Kind::Other) };
    match body.take(64).read_to_end(&mut start) {
        // What is no base64 is no CMS either.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Kind::Other),
        read => read.map_err(MessageError::Read)?,
    };
    Ok(match content_type(&start) {
        Some(ContentType::Signed) => Kind::Signed,
        Some(ContentType::Enveloped | ContentType::AuthEnveloped) => Kind::Encrypted,
        _ => Kind::Other,
    })
}

//! Signing of messages (RFC 8551 §3.5).

use std::io::{self, BufRead, Write};

use data_encoding::HEXLOWER;

use super::{
    MessageError, from_write,
    header::{Header, Protection},
    seven_bit,
    transfer::{Base64Writer, Canonical},
};
use crate::cms::{Digests, SignWriter, SigningKey, sign_detached};

/// Form of a signed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `multipart/signed`: readable for programs without S/MIME. Parts that a mail server might
    /// change get a transfer encoding.
    Detached,
    /// `application/pkcs7-mime`: survives every path, but is opaque for programs without S/MIME.
    Opaque,
}

/// Signs a message. `fill` makes the boundary between text and signature.
pub fn sign(
    input: impl BufRead,
    out: impl Write,
    signer: &SigningKey<'_>,
    form: Form,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<(), MessageError> {
    let mut random = [0; 16];
    fill(&mut random);
    sign_under(Protection::Clear, input, out, signer, form, random)
}

/// Signs a message whose header has this protection in the end. A detached signature gets a
/// boundary of `random`.
pub(super) fn sign_under(
    protection: Protection,
    mut input: impl BufRead,
    mut out: impl Write,
    signer: &SigningKey<'_>,
    form: Form,
    random: [u8; 16],
) -> Result<(), MessageError> {
    signer.check()?;
    let header = Header::read(&mut input)?;
    let inner = header.inside(protection);
    out.write_all(&header.outside()).map_err(from_write)?;
    out.write_all(b"MIME-Version: 1.0\r\n").map_err(from_write)?;
    match form {
        Form::Detached => detached(inner, input, &mut out, signer, random),
        Form::Opaque => opaque(&inner, input, &mut out, signer),
    }
    .map_err(|error| match error {
        MessageError::Write(error) => from_write(error),
        other => other,
    })
}

/// Writer to the output and to the digests.
struct Both<'a> {
    out: &'a mut dyn Write,
    digests: &'a mut Digests,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digests.write_all(bytes)?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn detached(
    inner: Header,
    input: impl BufRead,
    out: &mut dyn Write,
    signer: &SigningKey<'_>,
    random: [u8; 16],
) -> Result<(), MessageError> {
    // No line of quoted-printable or base64 has `=_`.
    let boundary = format!("=_{}", HEXLOWER.encode(&random));
    let micalg = signer.hash().micalg();
    let start = format!(
        "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n \
         micalg={micalg}; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n"
    );
    out.write_all(start.as_bytes()).map_err(MessageError::Write)?;
    let mut digests = Digests::of(&[signer.hash()]);
    seven_bit::write(inner, input, &mut Both { out: &mut *out, digests: &mut digests })?;
    let signature = sign_detached(signer, &digests)?;
    let middle = format!(
        "\r\n--{boundary}\r\nContent-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\n"
    );
    let mut write = || -> io::Result<()> {
        out.write_all(middle.as_bytes())?;
        let mut base64 = Base64Writer::new(&mut *out);
        base64.write_all(&signature)?;
        base64.finish()?;
        out.write_all(format!("\r\n--{boundary}--\r\n").as_bytes())
    };
    write().map_err(MessageError::Write)
}

fn opaque(
    inner: &Header,
    mut input: impl BufRead,
    out: &mut dyn Write,
    signer: &SigningKey<'_>,
) -> Result<(), MessageError> {
    out.write_all(&cms_fields("signed-data")).map_err(MessageError::Write)?;
    let mut signed = SignWriter::new(Base64Writer::new(out), *signer)?;
    signed.write_all(&inner.lines()).map_err(MessageError::Write)?;
    let is_binary = inner.transfer_encoding() == "binary";
    let mut canonical = Canonical::new(signed, is_binary);
    copy(&mut input, &mut canonical)?;
    canonical.into_inner().finish()?.finish().map_err(MessageError::Write)?;
    Ok(())
}

/// Returns the fields about a body that is CMS, and the empty line behind them (RFC 8551 §3.2).
pub(super) fn cms_fields(smime_type: &str) -> Vec<u8> {
    format!(
        "Content-Type: application/pkcs7-mime; smime-type={smime_type}; name=\"smime.p7m\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\n"
    )
    .into_bytes()
}

/// Copies the rest of the input, and tells failures of the input and of the output apart.
pub(super) fn copy(input: &mut impl BufRead, out: &mut impl Write) -> Result<(), MessageError> {
    loop {
        let bytes = input.fill_buf().map_err(MessageError::Read)?;
        let count = bytes.len();
        if count == 0 {
            return Ok(());
        }
        out.write_all(bytes).map_err(from_write)?;
        input.consume(count);
    }
}

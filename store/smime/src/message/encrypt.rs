//! Encryption of messages (RFC 8551 §3.3 and §3.4) and its removal.

use std::io::{self, BufRead, Write};

use conclave_pki::{certificate::Certificate, key::RsaPadding};

use super::{
    Kind, MessageError, from_write,
    header::{Header, Protection, Split},
    kind_of,
    sign::{Form, cms_fields, copy, sign_under},
    transfer::{Base64Writer, Canonical},
    verify::body,
};
use crate::cms::{self, Cipher, Encryptor, Holder, SigningKey, Spool};

/// Settings of an encryption.
#[derive(Clone, Copy)]
pub struct Encryption<'a> {
    /// Certificates of those who can read the message, 1 to 1024.
    pub recipients: &'a [Certificate],
    /// Content encryption.
    pub cipher: Cipher,
    /// Encryption of the content key for RSA keys.
    pub padding: RsaPadding,
}

impl<'a> Encryption<'a> {
    /// Returns the settings that most programs read: AES-256-CBC, and PKCS#1 v1.5 for RSA keys.
    pub fn to(recipients: &'a [Certificate]) -> Encryption<'a> {
        Encryption { recipients, cipher: Cipher::Aes256Cbc, padding: RsaPadding::Pkcs1 }
    }
}

type Body<W> = Canonical<Encryptor<Base64Writer<W>>>;

/// Encryption of a message whose body is written to it. Not finished, it is worthless.
pub struct Encrypting<W: Write>(Body<W>);

impl<W: Write> Encrypting<W> {
    /// Reads a header with the empty line behind it, and writes the envelope and what comes before
    /// the encrypted content. What is left of `input` belongs to the body.
    pub fn begin(
        mut input: impl BufRead,
        out: W,
        encryption: &Encryption<'_>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Encrypting<W>, MessageError> {
        Encrypting::under(&Header::read(&mut input)?, out, encryption, fill)
    }

    fn under(
        header: &Header,
        mut out: W,
        encryption: &Encryption<'_>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Encrypting<W>, MessageError> {
        let kind = match encryption.cipher.is_authenticated() {
            true => "authEnveloped-data",
            false => "enveloped-data",
        };
        let fields = [&header.outside()[..], b"MIME-Version: 1.0\r\n", &cms_fields(kind)].concat();
        out.write_all(&fields).map_err(MessageError::Write)?;
        let Encryption { recipients, cipher, padding } = *encryption;
        let out = Base64Writer::new(out);
        let mut encryptor = Encryptor::new(out, recipients, cipher, padding, fill)?;
        let inner = header.inside(Protection::Cipher);
        encryptor.write_all(&inner.lines()).map_err(MessageError::Write)?;
        Ok(Encrypting(Canonical::new(encryptor, inner.transfer_encoding() == "binary")))
    }

    /// Returns the output, such as a buffer that is emptied between writes.
    pub fn get_mut(&mut self) -> &mut W {
        self.0.get_mut().get_mut().get_mut()
    }

    /// Encrypts the rest, writes the end and returns the output.
    pub fn finish(self) -> Result<W, MessageError> {
        self.0.into_inner().finish()?.finish().map_err(MessageError::Write)
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Encrypts a message.
pub fn encrypt(
    mut input: impl BufRead,
    out: impl Write,
    encryption: &Encryption<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<(), MessageError> {
    let mut body = Encrypting::begin(&mut input, out, encryption, fill)?;
    copy(&mut input, &mut body)?;
    body.finish()?;
    Ok(())
}

/// Signs a message and encrypts the signed one, as it streams.
pub fn sign_and_encrypt(
    input: impl BufRead,
    out: impl Write,
    signer: &SigningKey<'_>,
    form: Form,
    encryption: &Encryption<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<(), MessageError> {
    let mut boundary = [0; 16];
    fill(&mut boundary);
    let mut encrypting = Split::new(|header| Encrypting::under(&header, out, encryption, fill));
    sign_under(Protection::Cipher, input, &mut encrypting, signer, form, boundary)?;
    encrypting.finish()?.finish()?;
    Ok(())
}

/// Decrypts a message by the first of the keys that it is for, and writes the message inside, with
/// the envelope from outside. See [`cms::decrypt`] for `spool`, and for what `out` has on an error.
pub fn decrypt(
    mut input: impl BufRead,
    out: impl Write,
    holders: &[Holder<'_>],
    spool: &mut dyn Spool,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<(), MessageError> {
    let outer = Header::read(&mut input)?;
    if !outer.is_cms() {
        let found = kind_of(&outer, &mut io::empty())?;
        return Err(MessageError::Kind { expected: Kind::Encrypted, found });
    }
    let mut seen = None;
    let mut inside = unwrapping(&outer, out, &mut seen);
    cms::decrypt(body(&outer, &mut input)?, &mut inside, holders, spool, fill)?;
    inside.finish()?.flush().map_err(MessageError::Write)
}

/// Returns a writer that takes the message inside, and writes it with the envelope of `outer`. The
/// header as readers will see it goes to `seen`.
pub(super) fn unwrapping<'a, W: Write>(
    outer: &'a Header,
    mut out: W,
    seen: &'a mut Option<(Header, bool)>,
) -> Split<impl FnOnce(Header) -> Result<W, MessageError> + use<'a, W>, W> {
    Split::new(move |inner: Header| {
        let header = outer.unwrapped(&inner);
        out.write_all(&header.lines()).map_err(from_write)?;
        *seen = Some((header, inner.is_protected()));
        Ok(out)
    })
}

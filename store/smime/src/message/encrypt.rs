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

/// Begins an encrypted message with the envelope of `header`.
fn begin<W: Write>(
    header: &Header,
    mut out: W,
    encryption: &Encryption<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Body<W>, MessageError> {
    let kind = match encryption.cipher.is_authenticated() {
        true => "authEnveloped-data",
        false => "enveloped-data",
    };
    let fields = [&header.outside()[..], b"MIME-Version: 1.0\r\n", &cms_fields(kind)].concat();
    out.write_all(&fields).map_err(MessageError::Write)?;
    let Encryption { recipients, cipher, padding } = *encryption;
    let mut encryptor = Encryptor::new(Base64Writer::new(out), recipients, cipher, padding, fill)?;
    let inner = header.inside(Protection::Cipher);
    encryptor.write_all(&inner.lines()).map_err(MessageError::Write)?;
    Ok(Canonical::new(encryptor, inner.transfer_encoding() == "binary"))
}

fn finish<W: Write>(body: Body<W>) -> Result<(), MessageError> {
    body.into_inner().finish()?.finish().map_err(MessageError::Write)?;
    Ok(())
}

/// Encrypts a message.
pub fn encrypt(
    mut input: impl BufRead,
    out: impl Write,
    encryption: &Encryption<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<(), MessageError> {
    let header = Header::read(&mut input)?;
    let mut body = begin(&header, out, encryption, fill)?;
    copy(&mut input, &mut body)?;
    finish(body)
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
    let mut encrypting = Split::new(|header| begin(&header, out, encryption, fill));
    sign_under(Protection::Cipher, input, &mut encrypting, signer, form, boundary)?;
    finish(encrypting.finish()?)
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

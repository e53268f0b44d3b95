//! S/MIME: CMS by itself, and whole messages.

use std::{
    io::{Cursor, sink},
    sync::OnceLock,
};

use conclave_pki::{
    certificate::Certificate,
    issue::{Account, Attributes, Purpose, Validity, smime_authority},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_smime::{
    cms::{self, Age, Cipher, Digests, Encryptor, Holder, Opening, SignWriter, SigningKey},
    message::{self, Encryption, Form},
};

use super::NOON;

const MAIL: &str = "From: Ann <ann@a.example>\r\nTo: bob@a.example\r\nSubject: A test\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b c\"\r\n\r\n\
    --b c\r\n\r\nHello\r\n--b c\r\nContent-Type: text/plain\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\nW=C3=B6rld\r\n--b c--\r\n";

/// The recipient and signer of all seeds: the same in every process.
struct Person {
    key: PrivateKey,
    certificate: Certificate,
}

fn person() -> &'static Person {
    static PERSON: OnceLock<Person> = OnceLock::new();
    PERSON.get_or_init(|| {
        let validity = Validity { not_before: NOON - 1_000, not_after: NOON + 1_000_000 };
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
        let attributes = Attributes { common_name: "Mail".to_owned(), ..Attributes::default() };
        let authority = smime_authority(&key, &attributes, [1; 16], validity).unwrap();
        let account = Account {
            public_key_der: key.public_key_der(),
            emails: &["ann@a.example".to_owned()],
            common_name: "Ann",
            purpose: Purpose::SignAndEncrypt,
            is_client: false,
            crl_url: None,
        };
        let certificate = account.issue(&key, &authority, [2; 16], validity).unwrap();
        Person { key, certificate }
    })
}

/// The same bytes each time, so that a run can be repeated.
fn fill(bytes: &mut [u8]) {
    bytes.fill(7);
}

impl Person {
    fn holders(&self) -> [Holder<'_>; 1] {
        [Holder { key: &self.key, certificate: &self.certificate }]
    }

    fn signer(&self) -> SigningKey<'_> {
        SigningKey { key: &self.key, certificate: &self.certificate, chain: &[], time: NOON }
    }
}

/// CMS in BER: signed with and without content, and encrypted.
pub fn cms(input: &[u8]) {
    let person = person();
    let known = std::slice::from_ref(&person.certificate);
    let opening = Opening { known, age: Age::Old };
    let _ = cms::content_type(input);
    if let Ok(found) = cms::verify(input, &mut sink(), opening) {
        assert!(!found.signers.is_empty());
    }
    let _ = cms::verify_detached(input, &Digests::for_reading(), opening);
    let mut spool = Cursor::new(Vec::new());
    let _ = cms::decrypt(input, &mut sink(), &person.holders(), &mut spool, &mut fill);
}

/// Messages: each layer taken off, and put on. What was encrypted or signed here is read again.
pub fn message(input: &[u8]) {
    let person = person();
    let _ = message::kind(input);
    if let Ok(found) = message::verify(input, sink(), Opening::default()) {
        assert!(!found.verified.signers.is_empty());
    }
    let decrypt = |input: &[u8]| {
        let mut spool = Cursor::new(Vec::new());
        message::decrypt(input, sink(), &person.holders(), &mut spool, &mut fill)
    };
    let _ = decrypt(input);
    let recipients = [person.certificate.clone()];
    let mut encrypted = Vec::new();
    if message::encrypt(input, &mut encrypted, &Encryption::to(&recipients), &mut fill).is_ok() {
        decrypt(&encrypted).unwrap();
    }
    // No message contains its own digest, so none contains the boundary made of it.
    let digest = ring::digest::digest(&ring::digest::SHA256, input);
    let mut of_input = |bytes: &mut [u8]| {
        bytes.iter_mut().zip(digest.as_ref().iter().cycle()).for_each(|(to, from)| *to = *from);
    };
    for form in [Form::Opaque, Form::Detached] {
        let mut signed = Vec::new();
        if message::sign(input, &mut signed, &person.signer(), form, &mut of_input).is_ok() {
            message::verify(&signed[..], sink(), Opening::default()).unwrap();
        }
    }
}

/// What fuzzing begins with: target, name and content.
pub fn mail_seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let person = person();
    let recipients = [person.certificate.clone()];
    let mut seeds = vec![("message", "plain".to_owned(), MAIL.as_bytes().to_vec())];
    for (name, form) in [("opaque", Form::Opaque), ("detached", Form::Detached)] {
        let mut signed = Vec::new();
        message::sign(MAIL.as_bytes(), &mut signed, &person.signer(), form, &mut fill).unwrap();
        seeds.push(("message", name.to_owned(), signed));
    }
    let mut signed = SignWriter::new(Vec::new(), person.signer()).unwrap();
    std::io::Write::write_all(&mut signed, MAIL.as_bytes()).unwrap();
    seeds.push(("cms", "signed".to_owned(), signed.finish().unwrap()));
    let detached = cms::sign_detached(&person.signer(), &Digests::for_reading()).unwrap();
    seeds.push(("cms", "detached".to_owned(), detached));
    for cipher in [Cipher::Aes128Cbc, Cipher::Aes256Cbc, Cipher::Aes128Gcm, Cipher::Aes256Gcm] {
        let encryption = Encryption { cipher, ..Encryption::to(&recipients) };
        let mut encrypted = Vec::new();
        message::encrypt(MAIL.as_bytes(), &mut encrypted, &encryption, &mut fill).unwrap();
        seeds.push(("message", format!("{cipher:?}"), encrypted));
        let padding = encryption.padding;
        let mut encrypted =
            Encryptor::new(Vec::new(), &recipients, cipher, padding, &mut fill).unwrap();
        std::io::Write::write_all(&mut encrypted, MAIL.as_bytes()).unwrap();
        seeds.push(("cms", format!("{cipher:?}"), encrypted.finish().unwrap()));
    }
    seeds
}

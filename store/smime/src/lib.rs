//! CMS (RFC 5652), S/MIME (RFC 8551), PKCS#12 (RFC 7292) and locked keys of accounts as pure
//! functions; time and randomness are passed in.
//!
//! No clock, no files, no sockets. Content streams: memory does not grow with the message. Whether
//! a signer is trusted is for the caller to judge, by `conclave_pki`.
//!
//! ```
//! use conclave_pki::{
//!     issue::{self, Attributes, Validity},
//!     key::{KeyAlgorithm, PrivateKey},
//! };
//! use conclave_smime::{
//!     cms::{Holder, Opening, SigningKey},
//!     message::{self, Encryption, Form},
//! };
//!
//! let mut fill = |bytes: &mut [u8]| bytes.fill(7); // a real caller has real randomness
//! let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
//! let attributes = Attributes { common_name: "Example".into(), ..Attributes::default() };
//! let validity = Validity { not_before: 1_800_000_000, not_after: 1_830_000_000 };
//! let authority = issue::smime_authority(&key, &attributes, [1; 16], validity).unwrap();
//! let account = issue::Account {
//!     public_key_der: key.public_key_der(),
//!     emails: &["ann@a.example".to_owned()],
//!     common_name: "Ann",
//!     purpose: issue::Purpose::SignAndEncrypt,
//!     is_client: false,
//!     crl_url: None,
//! };
//! let certificate = account.issue(&key, &authority, [2; 16], validity).unwrap();
//!
//! let mail = b"From: ann@a.example\r\nSubject: Hi\r\n\r\nHello\r\n";
//! let signer =
//!     SigningKey { key: &key, certificate: &certificate, chain: &[], time: 1_810_000_000 };
//! let recipients = [certificate.clone()];
//! let encryption = Encryption::to(&recipients);
//! let mut sent = Vec::new();
//! message::sign_and_encrypt(
//!     &mail[..], &mut sent, &signer, Form::Opaque, &encryption, &mut fill,
//! ).unwrap();
//!
//! let holders = [Holder { key: &key, certificate: &certificate }];
//! let (mut signed, mut spool) = (Vec::new(), std::io::Cursor::new(Vec::new()));
//! message::decrypt(&sent[..], &mut signed, &holders, &mut spool, &mut fill).unwrap();
//! let mut plain = Vec::new();
//! let found = message::verify(&signed[..], &mut plain, Opening::default()).unwrap();
//! assert!(found.is_from_signer && plain.ends_with(b"\r\n\r\nHello\r\n"));
//! ```

mod ber;
pub mod cms;
pub mod limits;
pub mod lock;
pub mod message;
pub mod pkcs12;

#[cfg(test)]
mod tests;

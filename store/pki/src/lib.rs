//! Keys and certificates, as functions of bytes; time and randomness are passed in.
//!
//! No clock, no files, no sockets; this crate does not know domains.
//!
//! ```
//! use conclave_pki::{
//!     issue::{self, Attributes, Validity},
//!     key::{KeyAlgorithm, PrivateKey},
//! };
//!
//! let mut fill = |bytes: &mut [u8]| bytes.fill(7); // a real caller has real randomness
//! let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
//! let attributes = Attributes { common_name: "shop.example".into(), ..Attributes::default() };
//! let validity = Validity { not_before: 1_800_000_000, not_after: 1_830_000_000 };
//! let certificate =
//!     issue::self_sign(&key, &attributes, &["shop.example".into()], [1; 16], validity).unwrap();
//! assert!(certificate.matches(&key));
//! ```

mod base64;
mod budget;
pub mod builtin;
pub mod certificate;
pub mod chain;
pub mod content;
pub mod crl;
pub mod csr;
mod element;
pub mod issue;
pub mod judge;
pub mod key;
pub mod limits;
pub mod name;
mod pem;
mod rule;
mod signature;
pub mod verify;

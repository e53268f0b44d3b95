//! PKCS#12 (RFC 7292): one private key with its certificates, under a passphrase.
//!
//! ```
//! use conclave_pki::{
//!     issue::{self, Attributes, Validity},
//!     key::{KeyAlgorithm, PrivateKey},
//! };
//! use conclave_smime::pkcs12::{self, Identity, Protection};
//!
//! let mut fill = |bytes: &mut [u8]| bytes.fill(7); // a real caller has real randomness
//! let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap();
//! let validity = Validity { not_before: 1_800_000_000, not_after: 1_830_000_000 };
//! let attributes = Attributes { common_name: "Ann".into(), ..Attributes::default() };
//! let names = ["ann.example".into()];
//! let certificate = issue::self_sign(&key, &attributes, &names, [1; 16], validity).unwrap();
//! let identity = Identity::new(key, vec![certificate], Some("Ann".into())).unwrap();
//! let file =
//!     pkcs12::write(&identity, "correct horse battery", Protection::Modern, &mut fill).unwrap();
//! let read = pkcs12::read(&file, "correct horse battery", None, 1_800_000_000).unwrap();
//! assert_eq!(read.key().public_key_der(), identity.key().public_key_der());
//! ```

mod ber;
mod derive;
mod mac;
mod read;
mod scheme;
mod syntax;
mod write;

use conclave_pki::{
    certificate::{Certificate, CertificateError},
    chain::ChainError,
    key::{KeyError, PrivateKey},
};

use crate::limits::{
    FRIENDLY_NAME_CHARS_MAX, PASSPHRASE_BYTES_MAX, PKCS12_BYTES_MAX, PKCS12_HASHES_MAX,
};

pub use read::read;
pub use write::write;

/// Reason why a PKCS#12 file cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs12Error {
    /// The file is longer than any that holds one key.
    #[error("the file has {bytes} bytes, PKCS#12 at most {PKCS12_BYTES_MAX}")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
    },
    /// The file is truncated, damaged, or no PKCS#12.
    #[error("{place} is damaged")]
    Damaged {
        /// The part at fault.
        place: &'static str,
    },
    /// The file has something that this program does not know.
    #[error("{what} is not supported in PKCS#12")]
    Unsupported {
        /// The unknown thing, by its object identifier.
        what: String,
    },
    /// The MAC does not fit: the passphrase is wrong, or the file was changed. Both look the same.
    #[error("the passphrase does not open the file, or the file was changed")]
    Passphrase,
    /// The MAC fits the passphrase, and a part is nevertheless encrypted under another one.
    #[error("the passphrase opens the file, but does not decrypt {place}")]
    OtherPassphrase {
        /// The encrypted part.
        place: &'static str,
    },
    /// The passphrase is too long, or empty for a new file.
    #[error("the passphrase has {bytes} bytes, expected 1 to {PASSPHRASE_BYTES_MAX}")]
    PassphraseForm {
        /// Bytes found.
        bytes: usize,
    },
    /// The file asks for more work than any honest one.
    #[error("the file asks for {hashes} hashes more, at most {PKCS12_HASHES_MAX} are made for it")]
    TooMuchWork {
        /// Hashes of the derivation that passed the bound.
        hashes: u64,
    },
    /// The file has more parts than any honest one.
    #[error("the file holds more than {max} {what}")]
    TooMany {
        /// Kind of the parts.
        what: &'static str,
        /// Number allowed.
        max: usize,
    },
    /// The file holds certificates alone, or nothing.
    #[error("the file holds no private key")]
    NoKey,
    /// The file has several keys and none was chosen, or not one of them.
    #[error("the file holds {} private keys, choose one by its localKeyID: {}", keys.len(), listed(keys))]
    SeveralKeys {
        /// All of them.
        keys: Vec<KeyLabel>,
    },
    /// No certificate is that of the key.
    #[error("no certificate in the file is that of the private key")]
    NoCertificate,
    /// The key is of no use.
    #[error("the private key in the file: {0}")]
    Key(#[source] KeyError),
    /// A certificate is of no use.
    #[error("a certificate in the file: {0}")]
    Certificate(#[source] CertificateError),
    /// The certificates cannot be brought into an order.
    #[error("the certificates in the file: {0}")]
    Chain(#[source] ChainError),
}

/// The names of one of several keys in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    /// The attribute localKeyID, if the key has one: any bytes, often a hash of its certificate.
    pub local_key_id: Option<Vec<u8>>,
    /// The attribute friendlyName, without control characters.
    pub name: Option<String>,
}

fn listed(keys: &[KeyLabel]) -> String {
    let shown = |key: &KeyLabel| {
        let id = key.local_key_id.as_deref().map_or_else(
            || "none".to_owned(),
            |id| id.iter().map(|byte| format!("{byte:02x}")).collect(),
        );
        key.name.as_ref().map_or_else(|| id.clone(), |name| format!("{id} ({name})"))
    };
    keys.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// A private key with its certificates and the name that programs show for them.
#[derive(Clone)]
pub struct Identity {
    key: PrivateKey,
    certificates: Vec<Certificate>,
    name: Option<String>,
}

impl Identity {
    /// Takes a key, its certificate followed by the chain, and a name, which is cut after
    /// [`FRIENDLY_NAME_CHARS_MAX`] characters. Refuses a first certificate of another key.
    pub fn new(
        key: PrivateKey,
        certificates: Vec<Certificate>,
        name: Option<String>,
    ) -> Result<Identity, Pkcs12Error> {
        if !certificates.first().is_some_and(|leaf| leaf.matches(&key)) {
            return Err(Pkcs12Error::NoCertificate);
        }
        let name = name.map(|name| shown(name.chars()));
        Ok(Identity { key, certificates, name: name.filter(|name| !name.is_empty()) })
    }

    /// Returns the private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Returns the certificate of the key, followed by its chain.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Returns the friendly name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the key and its certificates by value.
    pub fn into_parts(self) -> (PrivateKey, Vec<Certificate>) {
        (self.key, self.certificates)
    }
}

/// Returns a name of bounded length and without what could deceive a terminal.
fn shown(name: impl Iterator<Item = char>) -> String {
    name.filter(|c| !c.is_control()).take(FRIENDLY_NAME_CHARS_MAX).collect()
}

/// Algorithms of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC, and a MAC of HMAC-SHA-256, as current programs
    /// write it. Windows before 10 version 1709 and older macOS refuse it.
    Modern,
    /// pbeWithSHA1And3-KeyTripleDES-CBC and a MAC of HMAC-SHA-1, for older programs.
    Legacy,
}

#[cfg(test)]
mod tests;

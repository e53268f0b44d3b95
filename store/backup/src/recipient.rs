//! Recipients of backups, and the identities that open what was encrypted to them (age, X25519).

use std::{fmt, str::FromStr};

use age::{secrecy::ExposeSecret, x25519};
use zeroize::Zeroizing;

use crate::limits::IDENTITIES_MAX;

/// A public key to encrypt a backup to, `age1…`.
#[derive(Clone)]
pub struct Recipient(x25519::Recipient);

/// Private keys that open a backup; wiped when dropped.
pub struct Identities(Vec<x25519::Identity>);

/// Reason why a text is neither a recipient nor a file of identities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// The text is not an X25519 recipient. It is not repeated: it may be a private key.
    #[error("not a recipient: an X25519 recipient of age begins with age1")]
    Recipient,
    /// The text is a private key, where a public one is expected.
    #[error("this is the private key of a recipient; its public key begins with age1")]
    Private,
    /// A line is not an identity. It is not shown, because it may be a private key.
    #[error("line {0} is not an identity: one begins with AGE-SECRET-KEY-1")]
    Line(usize),
    /// The file holds no identity.
    #[error("no identity: one begins with AGE-SECRET-KEY-1")]
    Empty,
    /// The file holds too many.
    #[error("more than {IDENTITIES_MAX} identities")]
    TooMany,
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Recipient, RecipientError> {
        match text.parse() {
            Ok(recipient) => Ok(Recipient(recipient)),
            Err(_) if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") => {
                Err(RecipientError::Private)
            }
            Err(_) => Err(RecipientError::Recipient),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl Recipient {
    pub(crate) fn of_age(&self) -> &dyn age::Recipient {
        &self.0
    }
}

impl Identities {
    /// Reads a file as `age-keygen` and [`NewIdentity`] write it: an identity a line; empty lines
    /// and lines that begin with `#` are skipped.
    pub fn parse(text: &str) -> Result<Identities, RecipientError> {
        let mut all = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if all.len() == IDENTITIES_MAX {
                return Err(RecipientError::TooMany);
            }
            all.push(line.parse().map_err(|_| RecipientError::Line(at + 1))?);
        }
        if all.is_empty() { Err(RecipientError::Empty) } else { Ok(Identities(all)) }
    }

    pub(crate) fn of_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|one| -> &dyn age::Identity { one })
    }
}

/// A new key pair.
pub struct NewIdentity {
    /// The public half.
    pub recipient: Recipient,
    /// The private half, as a line of a file of identities.
    pub secret: Zeroizing<String>,
}

impl NewIdentity {
    /// Makes a key pair. The randomness is the system's: the library of age takes no other.
    pub fn make() -> NewIdentity {
        let identity = x25519::Identity::generate();
        let recipient = Recipient(identity.to_public());
        let secret = Zeroizing::new(identity.to_string().expose_secret().to_owned());
        NewIdentity { recipient, secret }
    }
}

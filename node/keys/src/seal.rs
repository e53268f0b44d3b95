//! Sealing of secrets: AES-256-GCM under a subkey that is bound to the purpose of the secret.
//!
//! The subkey and the associated data are both derived from the [`Binding`] and the generation. A
//! sealed secret that is moved to another domain, purpose, scope or generation does not open.

use conclave_store::{
    id::{AccountId, ClusterId, DomainId, Generation, SessionKeyId, TokenId, UserId},
    record::{Sealed, SessionKeyUse},
};
use conclave_system::entropy;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret in plaintext; wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes ownership of the bytes.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// Returns the plaintext.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The purpose of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Private key of a domain.
    DomainKey(DomainId),
    /// Private key of the cluster's authority.
    Authority,
    /// Secret of a join token.
    JoinToken(TokenId),
    /// A node's own sealing key, under its unlock key.
    NodeSealing,
    /// A session key.
    SessionKey(SessionKeyUse, SessionKeyId),
    /// Private key of a domain that waits for its certificate.
    PendingKey(DomainId),
    /// Secret of the one-time codes of a user.
    UserCode(UserId),
    /// Private key of a domain's S/MIME issuer.
    SmimeIssuer(DomainId),
    /// Private key of an account, locked under its passphrase.
    AccountKey(AccountId),
    /// The recovery key of a domain's accounts: no secret, but sealed it cannot be forged.
    RecoveryKey(DomainId),
    /// SHA-256 of the secret of an invitation to an account.
    Invitation(AccountId),
}

/// The context of a sealed secret, without its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The cluster; in the local scope the random id of the node's local scope.
    pub scope: ClusterId,
    /// The purpose of the secret.
    pub purpose: Purpose,
}

/// Errors of sealing and opening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// This node does not hold the keyring.
    #[error("this node is sealed")]
    Sealed,
    /// This node does not hold the generation.
    #[error("this node does not hold generation {0} of the keyring")]
    GenerationMissing(Generation),
    /// The sealed secret is damaged, or its binding is another one.
    #[error("the sealed secret is damaged or belongs to something else")]
    Refused,
}

/// The key of one generation; wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct GenerationKey([u8; 32]);

struct KeyBytes;

impl hkdf::KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

impl GenerationKey {
    /// Makes a new random key.
    pub fn make() -> GenerationKey {
        GenerationKey(entropy::array())
    }

    /// Takes ownership of the bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> GenerationKey {
        GenerationKey(bytes)
    }

    /// Returns the key.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `secret`. The result opens only under the same generation and binding.
    pub fn seal(
        &self,
        generation: Generation,
        binding: &Binding,
        secret: &[u8],
    ) -> Result<Sealed, SealError> {
        let nonce: [u8; 12] = entropy::array();
        let context = context(generation, binding)?;
        let mut ciphertext = secret.to_vec();
        let sealed = self.subkey(&context)?.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&context),
            &mut ciphertext,
        );
        if sealed.is_err() {
            ciphertext.zeroize();
            return Err(SealError::Refused);
        }
        Ok(Sealed { generation, nonce, ciphertext })
    }

    /// Opens the result of [`Self::seal`] under the same binding.
    pub fn open(&self, binding: &Binding, sealed: &Sealed) -> Result<Secret, SealError> {
        let context = context(sealed.generation, binding)?;
        let mut buffer = sealed.ciphertext.clone();
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let length = self
            .subkey(&context)?
            .open_in_place(nonce, Aad::from(&context), &mut buffer)
            .map_err(|_| SealError::Refused)?
            .len();
        buffer.truncate(length);
        Ok(Secret(buffer))
    }

    fn subkey(&self, context: &[u8]) -> Result<LessSafeKey, SealError> {
        let mut bytes = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"conclave seal")
            .extract(&self.0)
            .expand(&[context], KeyBytes)
            .and_then(|okm| okm.fill(&mut bytes))
            .map_err(|_| SealError::Refused)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::Refused);
        bytes.zeroize();
        Ok(LessSafeKey::new(key?))
    }
}

/// Encodes binding and generation unambiguously, with the version of this format.
fn context(generation: Generation, binding: &Binding) -> Result<Vec<u8>, SealError> {
    let fields = ("conclave-seal-1", generation, binding);
    bincode::serde::encode_to_vec(fields, bincode::config::standard())
        .map_err(|_| SealError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(scope: u8, domain: u8) -> Binding {
        let purpose = Purpose::DomainKey(DomainId([domain; 16]));
        Binding { scope: ClusterId([scope; 16]), purpose }
    }

    #[test]
    fn a_sealed_secret_opens_only_for_what_it_was_sealed() {
        let key = GenerationKey::make();
        let sealed = key.seal(Generation(1), &binding(1, 1), b"secret").unwrap();
        assert_eq!(key.open(&binding(1, 1), &sealed).unwrap().expose(), b"secret");
        assert!(key.open(&binding(2, 1), &sealed).is_err(), "another scope");
        assert!(key.open(&binding(1, 2), &sealed).is_err(), "another domain");
        let purpose = Purpose::Authority;
        assert!(key.open(&Binding { purpose, ..binding(1, 1) }, &sealed).is_err());
        let moved = Sealed { generation: Generation(2), ..sealed.clone() };
        assert!(key.open(&binding(1, 1), &moved).is_err(), "another generation");
        assert!(GenerationKey::make().open(&binding(1, 1), &sealed).is_err(), "another key");
        for bit in 0..sealed.ciphertext.len() * 8 {
            let mut flipped = sealed.clone();
            flipped.ciphertext[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&binding(1, 1), &flipped).is_err(), "bit {bit}");
        }
    }
}

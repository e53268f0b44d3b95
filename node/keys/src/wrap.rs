//! Wrapping of a generation's key for a member: HPKE (RFC 9180), base mode, DHKEM(X25519,
//! HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

use conclave_store::id::{ClusterId, Generation, NodeId};
use conclave_system::entropy;
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_open, single_shot_seal,
};
use zeroize::Zeroize;

use super::seal::GenerationKey;

/// Length of an encapsulated X25519 key (RFC 9180 §7.1, `Nenc`).
const ENCAPSULATED_BYTES: usize = 32;

/// Errors of wrapping and unwrapping.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The recipient's public key is not a valid X25519 key.
    #[error("the sealing key of node {0} is no X25519 key")]
    Recipient(NodeId),
    /// The wrapped key is damaged, or was wrapped for another node, cluster or generation.
    #[error("the wrapped key is damaged or was wrapped for another node")]
    Refused,
}

/// The private half of a node's sealing key; wiped when dropped.
pub struct SealingKey(<X25519HkdfSha256 as Kem>::PrivateKey);

impl SealingKey {
    /// Makes a new random key.
    pub fn make() -> SealingKey {
        let mut seed: [u8; 32] = entropy::array();
        let (private, _) = X25519HkdfSha256::derive_keypair(&seed);
        seed.zeroize();
        SealingKey(private)
    }

    /// Reads the bytes of [`Self::expose`].
    pub fn from_bytes(bytes: &[u8]) -> Option<SealingKey> {
        <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(bytes).ok().map(SealingKey)
    }

    /// Returns the private key.
    pub fn expose(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// Returns the public key, for the member's row in State.
    pub fn public(&self) -> [u8; 32] {
        X25519HkdfSha256::sk_to_pk(&self.0).to_bytes().into()
    }

    /// Unwraps the result of [`wrap`] for this sealing key.
    pub fn unwrap(
        &self,
        wrapped: &[u8],
        cluster: ClusterId,
        generation: Generation,
        node: NodeId,
    ) -> Result<GenerationKey, WrapError> {
        let (encapsulated, ciphertext) =
            wrapped.split_at_checked(ENCAPSULATED_BYTES).ok_or(WrapError::Refused)?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated)
            .map_err(|_| WrapError::Refused)?;
        let mut bytes = single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0,
            &encapsulated,
            &info(cluster, generation, node),
            ciphertext,
            &[],
        )
        .map_err(|_| WrapError::Refused)?;
        let key = bytes.as_slice().try_into().map(GenerationKey::from_bytes);
        bytes.zeroize();
        key.map_err(|_| WrapError::Refused)
    }
}

/// Wraps `key` for the private half of `recipient`. It unwraps only as this generation of this
/// cluster for this node.
pub fn wrap(
    key: &GenerationKey,
    recipient: &[u8; 32],
    cluster: ClusterId,
    generation: Generation,
    node: NodeId,
) -> Result<Vec<u8>, WrapError> {
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(recipient)
        .map_err(|_| WrapError::Recipient(node))?;
    let (encapsulated, ciphertext) = single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        &info(cluster, generation, node),
        key.expose(),
        &[],
    )
    .map_err(|_| WrapError::Refused)?;
    let mut wrapped = encapsulated.to_bytes().to_vec();
    wrapped.extend_from_slice(&ciphertext);
    Ok(wrapped)
}

fn info(cluster: ClusterId, generation: Generation, node: NodeId) -> Vec<u8> {
    let mut info = b"conclave keyring 1".to_vec();
    info.extend_from_slice(&cluster.0);
    info.extend_from_slice(&generation.0.to_be_bytes());
    info.extend_from_slice(&node.0.to_be_bytes());
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_for_its_node_and_generation_only() {
        let (mine, other) = (SealingKey::make(), SealingKey::make());
        let (cluster, generation, node) = (ClusterId([1; 16]), Generation(3), NodeId(2));
        let key = GenerationKey::make();
        let wrapped = wrap(&key, &mine.public(), cluster, generation, node).unwrap();
        let opened = mine.unwrap(&wrapped, cluster, generation, node).unwrap();
        assert_eq!(opened.expose(), key.expose());
        assert!(other.unwrap(&wrapped, cluster, generation, node).is_err());
        assert!(mine.unwrap(&wrapped, cluster, Generation(4), node).is_err());
        assert!(mine.unwrap(&wrapped, cluster, generation, NodeId(3)).is_err());
        assert!(mine.unwrap(&wrapped, ClusterId([2; 16]), generation, node).is_err());
        assert!(mine.unwrap(&wrapped[..20], cluster, generation, node).is_err());
    }

    #[test]
    fn the_private_key_reads_back() {
        let key = SealingKey::make();
        let again = SealingKey::from_bytes(&key.expose()).unwrap();
        assert_eq!(again.public(), key.public());
    }
}

//! X25519MLKEM768: a key exchange that holds as long as one of its halves does
//! (draft-ietf-tls-ecdhe-mlkem, group 0x11EC), on ring's X25519 and `ml-kem` (FIPS 203).
//!
//! The post-quantum half stands first everywhere: in the client's share (key, then point), in
//! the server's share (ciphertext, then point) and in the secret. Every length is fixed.

use ml_kem::{
    B32, Decapsulate, DecapsulationKey, EncapsulationKey, Key, KeyExport, MlKem768, Seed,
};
use rustls::{
    Error, NamedGroup, PeerMisbehaved, ProtocolVersion,
    crypto::{
        ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup, ring::kx_group,
    },
    ffdhe_groups::FfdheGroup,
};
use zeroize::{Zeroize, Zeroizing};

use crate::entropy;

/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203 §8, table 3).
const KEY_BYTES: usize = 1184;
/// Bytes of an ML-KEM-768 ciphertext.
const CIPHERTEXT_BYTES: usize = 1088;

const INVALID_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// The group.
#[derive(Debug)]
pub(crate) struct X25519MlKem768;

/// Its one instance, as rustls wants it.
pub(crate) static X25519MLKEM768: &dyn SupportedKxGroup = &X25519MlKem768;

impl SupportedKxGroup for X25519MlKem768 {
    /// The client's part; a node is a client to remote servers, and in its own proofs.
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut seed = Zeroizing::new(Seed::default());
        entropy::fill(&mut seed);
        let post_quantum = DecapsulationKey::<MlKem768>::from_seed(*seed);
        let classical = kx_group::X25519.start()?;
        let share = [&post_quantum.encapsulation_key().to_bytes(), classical.pub_key()].concat();
        Ok(Box::new(Started { post_quantum, classical, share }))
    }

    /// The server's part: the answer depends on the client's share, so both are one step.
    fn start_and_complete(&self, client: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let mut message = Zeroizing::new(B32::default());
        entropy::fill(&mut message);
        answer(client, &message)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    /// TLS 1.2 has no place for a share of this form.
    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

fn answer(client: &[u8], message: &B32) -> Result<CompletedKeyExchange, Error> {
    let (key, point) = client.split_at_checked(KEY_BYTES).ok_or(INVALID_SHARE)?;
    let key = Key::<EncapsulationKey<MlKem768>>::try_from(key).map_err(|_| INVALID_SHARE)?;
    // Refuses a key whose coefficients are not reduced (FIPS 203 §7.2).
    let key = EncapsulationKey::<MlKem768>::new(&key).map_err(|_| INVALID_SHARE)?;
    // ring refuses a point of the wrong length or of small order.
    let classical = kx_group::X25519.start_and_complete(point)?;
    let (ciphertext, mut secret) = key.encapsulate_deterministic(message);
    let share = [ciphertext.as_slice(), &classical.pub_key].concat();
    let both = both(secret.as_slice(), classical.secret.secret_bytes());
    secret.zeroize();
    Ok(CompletedKeyExchange { group: NamedGroup::X25519MLKEM768, pub_key: share, secret: both })
}

fn both(post_quantum: &[u8], classical: &[u8]) -> SharedSecret {
    SharedSecret::from([post_quantum, classical].concat())
}

/// A client's share that waits for the server's.
struct Started {
    post_quantum: DecapsulationKey<MlKem768>,
    classical: Box<dyn ActiveKeyExchange>,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, server: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, point) = server.split_at_checked(CIPHERTEXT_BYTES).ok_or(INVALID_SHARE)?;
        let ciphertext = ciphertext.try_into().map_err(|_| INVALID_SHARE)?;
        let classical = self.classical.complete(point)?;
        let mut secret = self.post_quantum.decapsulate(ciphertext);
        let both = both(secret.as_slice(), classical.secret_bytes());
        secret.zeroize();
        Ok(both)
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.classical.group(), self.classical.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, server: &[u8]) -> Result<SharedSecret, Error> {
        self.classical.complete(server)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

#[cfg(test)]
mod tests {
    use ml_kem::Ciphertext;
    use shake::{ExtendableOutput, Shake128, Update, XofReader};

    use super::*;

    /// The accumulated vectors of Go's `crypto/mlkem` (TestAccumulated, 100 rounds): another
    /// implementation of FIPS 203 finds the same keys, ciphertexts and secrets.
    #[test]
    fn another_implementation_finds_the_same_keys_and_secrets() {
        let (mut stream, mut all) = (Shake128::default().finalize_xof(), Shake128::default());
        for _ in 0..100 {
            let (mut seed, mut message) = (Seed::default(), B32::default());
            stream.read(&mut seed);
            stream.read(&mut message);
            let key = DecapsulationKey::<MlKem768>::from_seed(seed);
            let (ciphertext, secret) = key.encapsulation_key().encapsulate_deterministic(&message);
            assert_eq!(key.decapsulate(&ciphertext), secret);
            let mut other = Ciphertext::<MlKem768>::default();
            stream.read(&mut other);
            all.update(&key.encapsulation_key().to_bytes());
            all.update(&ciphertext);
            all.update(&secret);
            all.update(&key.decapsulate(&other));
        }
        let mut digest = [0; 32];
        all.finalize_xof().read(&mut digest);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415";
        assert_eq!(digest, expected);
    }

    #[test]
    fn both_sides_find_one_secret_of_fixed_size() {
        let client = X25519MLKEM768.start().unwrap();
        assert_eq!(client.pub_key().len(), KEY_BYTES + 32);
        let server = X25519MLKEM768.start_and_complete(client.pub_key()).unwrap();
        assert_eq!(server.pub_key.len(), CIPHERTEXT_BYTES + 32);
        let secret = client.complete(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
        assert_eq!(secret.secret_bytes().len(), 64);
    }

    /// The half of X25519 can be used alone, as rustls does when a server knows nothing else.
    #[test]
    fn a_server_may_take_the_half_of_x25519() {
        let client = X25519MLKEM768.start().unwrap();
        let (group, point) = client.hybrid_component().unwrap();
        assert_eq!(group, NamedGroup::X25519);
        let server = kx_group::X25519.start_and_complete(point).unwrap();
        let secret = client.complete_hybrid_component(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        let good = X25519MLKEM768.start().unwrap().pub_key().to_vec();
        let refused = |share: &[u8]| X25519MLKEM768.start_and_complete(share).is_err();
        assert!(!refused(&good));
        for length in [0, 1, KEY_BYTES, good.len() - 1] {
            assert!(refused(&good[..length]), "{length}");
        }
        assert!(refused(&[&good[..], &[0]].concat()), "a byte too many");
        let mut unreduced = good.clone();
        unreduced[..3].fill(0xff);
        assert!(refused(&unreduced), "a coefficient of 4095");
        let mut small = good.clone();
        small[KEY_BYTES..].fill(0);
        assert!(refused(&small), "a point of small order");
        let client = || X25519MLKEM768.start().unwrap();
        let server = X25519MLKEM768.start_and_complete(client().pub_key()).unwrap().pub_key;
        for length in [0, CIPHERTEXT_BYTES, server.len() - 1] {
            assert!(client().complete(&server[..length]).is_err(), "{length}");
        }
    }
}

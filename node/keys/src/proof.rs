//! Proofs: HMAC-SHA256 under a generation of the keyring. Only a node that opens the keyring can
//! make one, so a stolen data directory without its unlock key cannot.

use conclave_store::{
    id::{AccountId, ClusterId, Fingerprint, Generation, NodeId, TokenId, UserId, UserName},
    record::{AccessToken, AuditCut, CertificateLogin, Grant, Member, Proof, User},
    time::UnixMillis,
};
use ring::{digest, hkdf, hmac};
use serde::Serialize;
use zeroize::Zeroize;

use super::seal::GenerationKey;

/// What a proof says. Each kind is encoded with its own number, so that no proof of one kind is
/// taken for another.
#[derive(Serialize)]
pub enum Claim<'a> {
    /// The key of this generation is the one with this [`GenerationKey::commitment`].
    Generation(Generation, [u8; 32]),
    /// A member has this name, identity key and sealing key.
    Member(NodeId, &'a str, &'a [u8], &'a [u8; 32]),
    /// An access token has this secret and this end.
    AccessToken(TokenId, &'a str, Fingerprint, Option<UnixMillis>),
    /// The sender of a request on one connection holds the keyring.
    Call {
        /// Keying material exported from the connection (RFC 8446 §7.5).
        exporter: &'a [u8; 32],
        /// The request.
        request: &'a [u8],
    },
    /// An access token has this secret and this end, and its holder may do this.
    GrantedToken(TokenId, &'a str, Fingerprint, Option<UnixMillis>, &'a Grant),
    /// A user of this name logs in with this, and may do this.
    User {
        /// Name.
        name: &'a str,
        /// Id.
        id: UserId,
        /// Hash of the password.
        password: Option<&'a str>,
        /// Whether a one-time code is asked for. Its secret is sealed for this user alone.
        has_code: bool,
        /// Certificates.
        certificates: &'a [CertificateLogin],
        /// What the user may do.
        grant: &'a Grant,
    },
    /// The audit trail begins with the entry of this number, after one with this hash.
    AuditCut(u64, Fingerprint),
    /// The holder of this session owns an account, under its passphrase of this number, until then.
    OwnerSession(AccountId, &'a str, u32, UnixMillis),
}

impl<'a> Claim<'a> {
    /// Returns the claim about a member. Its address, role and place are not part of it.
    pub fn member(member: &'a Member) -> Claim<'a> {
        Claim::Member(member.id, member.name.as_str(), &member.identity_der, &member.sealing_key)
    }

    /// Returns the claim about an access token. One that was made before level 4 has no grant.
    pub fn access_token(
        id: TokenId,
        token: &'a AccessToken,
        grant: Option<&'a Grant>,
    ) -> Claim<'a> {
        let (name, secret, expires) = (&token.name, token.secret, token.expires);
        match grant {
            Some(grant) => Claim::GrantedToken(id, name, secret, expires, grant),
            None => Claim::AccessToken(id, name, secret, expires),
        }
    }

    /// Returns the claim about a user.
    pub fn user(name: &'a UserName, user: &'a User) -> Claim<'a> {
        Claim::User {
            name: name.as_str(),
            id: user.id,
            password: user.password.as_deref(),
            has_code: user.code.is_some(),
            certificates: &user.certificates,
            grant: &user.grant,
        }
    }

    /// Returns the claim about the removed beginning of the audit trail.
    pub fn audit_cut(cut: &AuditCut) -> Claim<'a> {
        Claim::AuditCut(cut.first, cut.previous)
    }
}

struct KeyBytes;

impl hkdf::KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

impl GenerationKey {
    /// Returns a hash of the key for its proof. It tells nothing about the key.
    pub fn commitment(&self) -> [u8; 32] {
        let mut bytes = self.derived(b"conclave commitment");
        let mut commitment = [0; 32];
        commitment.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
        bytes.zeroize();
        commitment
    }

    /// Proves a claim about a cluster; `generation` is the one of this key.
    pub fn prove(&self, cluster: ClusterId, generation: Generation, claim: &Claim<'_>) -> Proof {
        let tag = hmac::sign(&self.proving_key(), &message(cluster, generation, claim));
        let mut mac = [0; 32];
        mac.copy_from_slice(tag.as_ref());
        Proof { generation, mac }
    }

    /// Returns whether the proof is one of this key for this claim.
    pub fn verifies(&self, cluster: ClusterId, proof: &Proof, claim: &Claim<'_>) -> bool {
        let message = message(cluster, proof.generation, claim);
        hmac::verify(&self.proving_key(), &message, &proof.mac).is_ok()
    }

    fn proving_key(&self) -> hmac::Key {
        let mut bytes = self.derived(b"conclave proof");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        bytes.zeroize();
        key
    }

    fn derived(&self, label: &[u8]) -> [u8; 32] {
        let mut bytes = [0; 32];
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, label).extract(self.expose());
        // 32 bytes are far below what HKDF can give.
        if let Ok(okm) = prk.expand(&[b"1"], KeyBytes) {
            let _ = okm.fill(&mut bytes);
        }
        bytes
    }
}

/// Encodes a claim unambiguously, with the version of this format.
fn message(cluster: ClusterId, generation: Generation, claim: &Claim<'_>) -> Vec<u8> {
    let fields = ("conclave-proof-1", cluster, generation, claim);
    bincode::serde::encode_to_vec(fields, bincode::config::standard()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_claim_cluster_generation_and_key_only() {
        let (key, other) = (GenerationKey::make(), GenerationKey::make());
        let (cluster, generation) = (ClusterId([1; 16]), Generation(3));
        let claim = |request: &'static [u8]| Claim::Call { exporter: &[7; 32], request };
        let proof = key.prove(cluster, generation, &claim(b"drain"));
        assert!(key.verifies(cluster, &proof, &claim(b"drain")));
        assert!(!key.verifies(cluster, &proof, &claim(b"drain now")));
        let elsewhere = Claim::Call { exporter: &[8; 32], request: b"drain" };
        assert!(!key.verifies(cluster, &proof, &elsewhere), "another connection");
        assert!(!key.verifies(ClusterId([2; 16]), &proof, &claim(b"drain")));
        assert!(!other.verifies(cluster, &proof, &claim(b"drain")));
        let later = Proof { generation: Generation(4), ..proof };
        assert!(!key.verifies(cluster, &later, &claim(b"drain")));
        assert_ne!(key.commitment(), other.commitment());
    }
}

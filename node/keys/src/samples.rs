//! Samples of sealed and wrapped secrets, see `tests/src/samples.rs`. They contain randomness, so
//! the tests check that old samples open, not that new ones are equal.

use conclave_store::{
    id::{ClusterId, DomainId, Fingerprint, Generation, NodeId, SessionKeyId, TokenId},
    record::{Proof, Sealed, SessionKeyUse},
    time::UnixMillis,
};

use super::{
    Binding, Claim, GenerationKey, NodeKeys, Purpose,
    wrap::{SealingKey, wrap},
};
use crate::samples_of_formats::{Sample, check, check_variants, meaning};

const KEY: [u8; 32] = [1; 32];
const CLUSTER: ClusterId = ClusterId([8; 16]);
const GENERATION: Generation = Generation(2);
/// Length of the unlock file: 64 hexadecimal digits and a newline.
const UNLOCK_BYTES: usize = 65;

fn random(name: &str, bytes: Vec<u8>, value: &impl serde::Serialize) -> Sample {
    Sample { is_random: true, ..Sample::new(name, bytes, value) }
}

fn purposes() -> [(&'static str, Purpose); 7] {
    let id = SessionKeyId([2; 8]);
    [
        ("domain key", Purpose::DomainKey(DomainId([4; 16]))),
        ("pending key", Purpose::PendingKey(DomainId([4; 16]))),
        ("authority", Purpose::Authority),
        ("join token", Purpose::JoinToken(TokenId([1; 8]))),
        ("node sealing", Purpose::NodeSealing),
        ("ticket key", Purpose::SessionKey(SessionKeyUse::Ticket, id)),
        ("cookie key", Purpose::SessionKey(SessionKeyUse::Cookie, id)),
    ]
}

#[test]
fn what_was_sealed_opens() {
    let key = GenerationKey::from_bytes(KEY);
    let made = purposes().map(|(name, purpose)| {
        let binding = Binding { scope: CLUSTER, purpose };
        let sealed = key.seal(GENERATION, &binding, b"secret").unwrap();
        let bytes = [&sealed.nonce[..], &sealed.ciphertext].concat();
        random(name, bytes, &(binding, "secret"))
    });
    check_variants::<Purpose>(&made);
    check("node-sealed.tsv", &made, &|name, bytes| {
        let (_, purpose) = purposes().into_iter().find(|(known, _)| *known == name)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<12>()?;
        let sealed =
            Sealed { generation: GENERATION, nonce: *nonce, ciphertext: ciphertext.to_vec() };
        let binding = Binding { scope: CLUSTER, purpose };
        let secret = key.open(&binding, &sealed).ok()?;
        Some((meaning(&(binding, std::str::from_utf8(secret.expose()).ok()?)), bytes.to_vec()))
    });
}

#[test]
fn what_was_wrapped_unwraps() {
    let (mine, node) = (SealingKey::from_bytes(&[5; 32]).unwrap(), NodeId(3));
    let key = GenerationKey::from_bytes(KEY);
    let wrapped = wrap(&key, &mine.public(), CLUSTER, GENERATION, node).unwrap();
    let made = [random("generation", wrapped, &KEY)];
    check("node-wrapped.tsv", &made, &|_, bytes| {
        let key = mine.unwrap(bytes, CLUSTER, GENERATION, node).ok()?;
        Some((meaning(key.expose()), bytes.to_vec()))
    });
}

fn claims() -> [(&'static str, Claim<'static>); 4] {
    let secret = Fingerprint([6; 32]);
    [
        ("generation", Claim::Generation(Generation(3), [4; 32])),
        ("member", Claim::Member(NodeId(3), "node-3", b"identity", &[5; 32])),
        ("token", Claim::AccessToken(TokenId([1; 8]), "deploy", secret, Some(UnixMillis(7)))),
        ("call", Claim::Call { exporter: &[7; 32], request: b"request" }),
    ]
}

#[test]
fn what_was_proved_holds() {
    let key = GenerationKey::from_bytes(KEY);
    let made = claims().map(|(name, claim)| {
        let proof = key.prove(CLUSTER, GENERATION, &claim);
        Sample::new(name, proof.mac.to_vec(), &claim)
    });
    check("node-proof.tsv", &made, &|name, bytes| {
        let (_, claim) = claims().into_iter().find(|(known, _)| *known == name)?;
        let proof = Proof { generation: GENERATION, mac: bytes.try_into().ok()? };
        let holds = key.verifies(CLUSTER, &proof, &claim);
        holds.then(|| (meaning(&claim), key.prove(CLUSTER, GENERATION, &claim).mac.to_vec()))
    });
}

/// Describes the keys in a node's two files.
fn opened(keys: NodeKeys) -> Option<String> {
    let unlocked = keys.unlocked.ok()?;
    let identity = keys.identity.public_key_der().to_vec();
    let sealing = unlocked.sealing.expose();
    Some(meaning(&(
        identity,
        keys.sealing_public,
        sealing,
        unlocked.local.expose(),
        keys.local_scope,
    )))
}

#[test]
fn a_node_opens_its_own_keys_of_any_release() {
    let dir = tempfile::tempdir().unwrap();
    let (data, unlock) = (dir.path().join("data"), dir.path().join("unlock.key"));
    std::fs::create_dir(&data).unwrap();
    let file = data.join("node-keys.json");
    let meant = opened(NodeKeys::open(&data, &unlock).unwrap()).unwrap();
    let bytes = [std::fs::read(&unlock).unwrap(), std::fs::read(&file).unwrap()].concat();
    let name = "unlock file, node-keys.json".to_owned();
    let made = [Sample { name, bytes, meaning: meant, is_random: true }];
    check("node-keys.tsv", &made, &|_, bytes| {
        let (key, stored) = bytes.split_at_checked(UNLOCK_BYTES)?;
        std::fs::write(&unlock, key).ok()?;
        std::fs::write(&file, stored).ok()?;
        Some((opened(NodeKeys::open(&data, &unlock).ok()?)?, bytes.to_vec()))
    });
}

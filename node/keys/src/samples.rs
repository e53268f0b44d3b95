//! Samples of sealed and wrapped secrets, see `tests/src/samples.rs`. They contain randomness, so
//! the tests check that old samples open, not that new ones are equal.

use std::sync::LazyLock;

use conclave_store::{
    id::{
        AccountId, ClusterId, DomainId, DomainName, Fingerprint, Generation, NodeId, SessionKeyId,
        TokenId, UserId,
    },
    record::{
        CertificateLogin, DomainLimit, Grant, Network, Proof, Right, Role, Sealed, SessionKeyUse,
    },
    time::UnixMillis,
};

use super::{
    Binding, Claim, GenerationKey, Given, NewKey, NodeKeys, Purpose, Secret, Unlock,
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

fn purposes() -> [(&'static str, Purpose); 12] {
    let id = SessionKeyId([2; 8]);
    [
        ("domain key", Purpose::DomainKey(DomainId([4; 16]))),
        ("pending key", Purpose::PendingKey(DomainId([4; 16]))),
        ("authority", Purpose::Authority),
        ("join token", Purpose::JoinToken(TokenId([1; 8]))),
        ("user code", Purpose::UserCode(UserId([7; 8]))),
        ("S/MIME issuer", Purpose::SmimeIssuer(DomainId([4; 16]))),
        ("invitation", Purpose::Invitation(AccountId([5; 16]))),
        ("recovery key", Purpose::RecoveryKey(DomainId([4; 16]))),
        ("account key", Purpose::AccountKey(AccountId([5; 16]))),
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

fn claims() -> [(&'static str, Claim<'static>); 8] {
    static GRANT: LazyLock<Grant> = LazyLock::new(|| Grant {
        roles: vec![Role::Operator],
        only: vec![Right::Certificate],
        domains: vec![DomainLimit {
            name: DomainName::parse("shop.example").unwrap(),
            is_tree: true,
        }],
        networks: vec![Network { address: "10.0.0.0".parse().unwrap(), prefix: 8 }],
        uses: Some(300),
        user: Some(UserId([7; 8])),
    });
    static CERTIFICATES: LazyLock<[CertificateLogin; 1]> = LazyLock::new(|| {
        let name = "alice@example.org".to_owned();
        [CertificateLogin { issuer: Fingerprint([6; 32]), name }]
    });
    let secret = Fingerprint([6; 32]);
    let until = Some(UnixMillis(7));
    let user = Claim::User {
        name: "alice",
        id: UserId([7; 8]),
        password: Some("$argon2id$"),
        has_code: true,
        certificates: &*CERTIFICATES,
        grant: &GRANT,
    };
    [
        ("generation", Claim::Generation(Generation(3), [4; 32])),
        ("member", Claim::Member(NodeId(3), "node-3", b"identity", &[5; 32])),
        ("token", Claim::AccessToken(TokenId([1; 8]), "deploy", secret, Some(UnixMillis(7)))),
        ("call", Claim::Call { exporter: &[7; 32], request: b"request" }),
        ("granted token", Claim::GrantedToken(TokenId([1; 8]), "deploy", secret, until, &GRANT)),
        ("user", user),
        ("audit cut", Claim::AuditCut(70_000, secret)),
        ("owner", Claim::OwnerSession(AccountId([5; 16]), "ann@shop.example", 2, UnixMillis(7))),
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
    let place = Unlock::File(unlock.clone());
    std::fs::create_dir(&data).unwrap();
    let file = data.join("node-keys.json");
    let meant = opened(NodeKeys::open(&data, &place).unwrap()).unwrap();
    let bytes = [std::fs::read(&unlock).unwrap(), std::fs::read(&file).unwrap()].concat();
    let name = "unlock file, node-keys.json".to_owned();
    let made = [Sample { name, bytes, meaning: meant, is_random: true }];
    check("node-keys.tsv", &made, &|_, bytes| {
        let (key, stored) = bytes.split_at_checked(UNLOCK_BYTES)?;
        std::fs::write(&unlock, key).ok()?;
        std::fs::write(&file, stored).ok()?;
        Some((opened(NodeKeys::open(&data, &place).ok()?)?, bytes.to_vec()))
    });
}

const PASSPHRASE: &str = "correct horse";

fn passphrase() -> Secret {
    Secret::new(PASSPHRASE.as_bytes().to_vec())
}

/// Opens the keys with the passphrase, or with the shares before the file's content: lines that end
/// with an empty one.
fn unlocked(data: &std::path::Path, bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (shares, stored) = text.split_once("\n\n").unwrap_or(("", text));
    std::fs::write(data.join("node-keys.json"), stored).ok()?;
    let mut keys = NodeKeys::open(data, &Unlock::Passphrase).ok()?;
    let mut given: Vec<Given> =
        shares.lines().map(|line| Given::Share(line.to_owned().into())).collect();
    if given.is_empty() {
        given.push(Given::Passphrase(passphrase()));
    }
    keys.unlocked = Err(String::new());
    for one in given {
        keys.unlocked = keys.lock.open(one).map_err(|error| error.to_string());
    }
    opened(keys)
}

#[test]
fn a_node_opens_keys_under_a_passphrase_or_shares_of_any_release() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node-keys.json");
    let keys = NodeKeys::open(dir.path(), &Unlock::Passphrase).unwrap();
    let secrets = keys.lock.open(Given::Passphrase(passphrase())).unwrap();
    let made = |name: &str, bytes: Vec<u8>| {
        let meaning = unlocked(dir.path(), &bytes).unwrap();
        Sample { name: name.to_owned(), bytes, meaning, is_random: true }
    };
    let under_passphrase = made("under a passphrase", std::fs::read(&file).unwrap());
    let texts = keys.lock.rekey(&secrets, NewKey::Shares { needed: 2, count: 3 }).unwrap();
    let shares: String = texts.iter().skip(1).map(|text| format!("{}\n", **text)).collect();
    let bytes = [shares.as_bytes(), b"\n", &std::fs::read(&file).unwrap()].concat();
    let all = [under_passphrase, made("two shares, then the file", bytes)];
    check("node-keys-made.tsv", &all, &|_, bytes| {
        Some((unlocked(dir.path(), bytes)?, bytes.to_vec()))
    });
}

//! Accounts: what is read of them, and the work with their passphrases.
//!
//! A private key of an account is in plaintext only here, while a request uses it.

use std::{net::IpAddr, time::Duration};

use conclave_api::{
    account::{Export, Generate, Import, Passphrase, Purpose as KeyUse, SealedCopy},
    key::Generate as GenerateKey,
    problem::{Code, Problem},
};
use conclave_keys::Purpose;
use conclave_pki::{
    certificate::Certificate,
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_smime::{
    lock::{self, Context, Cost, LockError},
    pkcs12::{self, Identity, Pkcs12Error, Protection},
};
use conclave_store::{
    id::{EmailAddress, Fingerprint},
    outcome::Rejection,
    record::{Account, AccountKey, Domain, KeyPurpose, Principal, RecoveryCopy},
    scope::Scope,
    state::State,
};
use conclave_system::{clock, entropy};
use data_encoding::BASE64;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Operator;
use crate::{
    admit::{self, Issuing, LockedKey, RelockedKey, rejection_problem},
    fault::internal,
};

/// An account as a request found it.
pub struct FoundAccount {
    /// The State that has it.
    pub state: State,
    /// The domain to which it belongs.
    pub domain: Domain,
    /// Its address.
    pub address: EmailAddress,
    /// The account.
    pub account: Account,
}

impl Operator {
    /// Finds an account. Fails if the caller may not see its domain.
    pub async fn account(&self, text: &str) -> Result<FoundAccount, Problem> {
        let address = admit::email_address(text)?;
        let state = self.read().await?;
        let who = self.caller.principal.to_string();
        let domain = admit::domain_of(&state, (&who, &self.caller.access), &address)?.clone();
        let unknown = || rejection_problem(&Rejection::AccountUnknown(address.clone()));
        let account = state.account(&address).cloned().ok_or_else(unknown)?;
        self.caller.access.check_owned(&account)?;
        Ok(FoundAccount { state, domain, address, account })
    }

    /// Generates a key for an account and locks it under the account's passphrase.
    pub async fn new_account_key(
        &self,
        found: &FoundAccount,
        asked: Generate,
    ) -> Result<LockedKey, Problem> {
        let passphrase = Zeroizing::new(asked.passphrase);
        self.check_passphrase(found, &passphrase).await?;
        let generate = GenerateKey { algorithm: asked.algorithm };
        self.generated_account_key(found, generate, asked.purpose, passphrase).await
    }

    /// Generates a key for an account and locks it under a passphrase that need not be the present
    /// one.
    pub(super) async fn generated_account_key(
        &self,
        found: &FoundAccount,
        generate: GenerateKey,
        purpose: KeyUse,
        passphrase: Zeroizing<String>,
    ) -> Result<LockedKey, Problem> {
        let recovery = admit::recovery_key(&self.node, &found.state, &found.domain)?;
        self.locking(&found.address, move |address| {
            let key = admit::generate_account_key(&generate)?;
            check_purpose(&key, purpose)?;
            new_key(&key, &passphrase, address, recovery.as_ref())
        })
        .await
        .map(|key| LockedKey { purpose: admit::key_purpose(purpose), ..key })
        .map(|key| key.over(found))
    }

    /// Reads a key from a PKCS#12 file and locks it under the account's passphrase.
    pub async fn imported_account_key(
        &self,
        found: &FoundAccount,
        asked: Import,
    ) -> Result<LockedKey, Problem> {
        let (passphrase, of_file) =
            (Zeroizing::new(asked.passphrase), Zeroizing::new(asked.pkcs12_passphrase));
        self.check_passphrase(found, &passphrase).await?;
        let file = BASE64.decode(asked.pkcs12.as_bytes()).map(Zeroizing::new).map_err(|_| {
            Problem::new(Code::Malformed, "the PKCS#12 file is not encoded in base64")
        })?;
        let purpose = asked.purpose;
        let recovery = admit::recovery_key(&self.node, &found.state, &found.domain)?;
        let read = move |address: &EmailAddress| {
            let now = clock::now().0 / 1_000;
            let identity = pkcs12::read(&file, &of_file, None, now).map_err(|e| unusable(&e))?;
            let (key, certificates) = identity.into_parts();
            check_purpose(&key, purpose)?;
            check_address(address, certificates.first())?;
            let key = new_key(&key, &passphrase, address, recovery.as_ref())?;
            Ok((key, certificates))
        };
        let (key, certificates) = self.locking(&found.address, read).await?;
        let mut certificates = certificates.into_iter();
        let leaf = certificates.next().map(|leaf| (leaf, certificates.collect()));
        let (purpose, certificates) = (admit::key_purpose(purpose), leaf.into_iter().collect());
        Ok(LockedKey { purpose, certificates, ..key }.over(found))
    }

    /// Locks the keys of an account that its passphrase opens under another one.
    pub async fn relocked_keys(
        &self,
        found: &FoundAccount,
        asked: Passphrase,
    ) -> Result<Vec<RelockedKey>, Problem> {
        let (old, new) = (Zeroizing::new(asked.old), Zeroizing::new(asked.new));
        current(found)?;
        let keys: Vec<AccountKey> = found.account.opened_together(&found.state).cloned().collect();
        let mut relocked = Vec::new();
        for key in keys {
            let (private, new) = (self.unlocked(found, &key, &old).await?, new.clone());
            let relock = move |address: &EmailAddress| locked(&private, &new, address);
            relocked.push(RelockedKey {
                public_key: key.public_key,
                opened: key.sealed,
                locked: self.locking(&found.address, relock).await?,
            });
        }
        Ok(relocked)
    }

    /// Writes a key of an account with its certificate and chain to a PKCS#12 file, in base64.
    pub async fn exported_account_key(
        &self,
        found: &FoundAccount,
        asked: Export,
    ) -> Result<String, Problem> {
        let (passphrase, of_file) =
            (Zeroizing::new(asked.passphrase), Zeroizing::new(asked.export_passphrase));
        let wanted = match &asked.key {
            Some(sha256) => named(found, sha256)?,
            None => current(found)?.clone(),
        };
        let certificates = with_chain(found, &wanted)?;
        let key = self.unlocked(found, &wanted, &passphrase).await?;
        self.tell_read("account_key.export", &found.address.to_string()).await?;
        let protection = if asked.legacy { Protection::Legacy } else { Protection::Modern };
        let written = self.locking(&found.address, move |address| {
            let identity = Identity::new(key, certificates, Some(address.to_string()));
            let identity = identity.map_err(|error| unusable(&error))?;
            pkcs12::write(&identity, &of_file, protection, &mut entropy::fill)
                .map_err(|error| unusable(&error))
        });
        Ok(BASE64.encode(&written.await?))
    }

    /// Returns the copy of a key that only the holder of a recovery key can open.
    pub async fn copy_for_recovery(
        &self,
        found: &FoundAccount,
        sha256: Option<&str>,
    ) -> Result<SealedCopy, Problem> {
        let key = match sha256 {
            Some(sha256) => named(found, sha256)?,
            None => current(found)?.clone(),
        };
        let missing = || {
            let title = format!("there is no copy of the key {}", key.public_key);
            Problem::new(Code::RecoveryImpossible, title)
                .why("its domain had no recovery key when the account got it")
        };
        let copy = key.recovery.as_ref().ok_or_else(missing)?;
        self.tell_read("account_key.recover", &found.address.to_string()).await?;
        let certificates = match key.certificates.is_empty() {
            true => Vec::new(),
            false => with_chain(found, &key)?,
        };
        Ok(SealedCopy {
            address: found.address.to_string(),
            key: key.public_key.to_string(),
            recovery_key: copy.recovery_key.to_string(),
            sealed_key: BASE64.encode(&copy.sealed_key),
            certificates: certificates.iter().map(Certificate::pem).collect(),
        })
    }

    /// Checks that a passphrase opens the present key of an account, if it has one: a single
    /// passphrase is for all of them.
    async fn check_passphrase(
        &self,
        found: &FoundAccount,
        passphrase: &Zeroizing<String>,
    ) -> Result<(), Problem> {
        match &found.account.key {
            Some(key) => self.unlocked(found, key, passphrase).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Opens a key of an account. Wrong passphrases cost time, for the account and the network that
    /// they came from.
    pub async fn unlocked(
        &self,
        found: &FoundAccount,
        key: &AccountKey,
        passphrase: &Zeroizing<String>,
    ) -> Result<PrivateKey, Problem> {
        let from = self.network();
        let name = found.address.to_string();
        let purpose = Purpose::AccountKey(found.account.id);
        let opened = self.node.keyring().open(Scope::Shared, purpose, &key.sealed);
        let opened = opened.map_err(|error| self.sealed(error.to_string()))?;
        let (passphrase, public_key) = (passphrase.clone(), key.public_key);
        let node = self.node.clone();
        let unlocked = self.locking(&found.address, move |address| {
            // Only now: others tried while this one waited for its turn.
            if let Some(pause) = node.unlocks().pause(&address.to_string(), from, Instant::now()) {
                return Err(too_often(address, pause));
            }
            let (address, key_id) = (address.to_string(), public_key.0);
            let context = Context { address: &address, key_id: &key_id };
            lock::unlock(opened.expose(), &passphrase, &context).map_err(|error| refused(&error))
        });
        let unlocked = unlocked.await;
        match &unlocked {
            Ok(_) => self.node.unlocks().succeeded(&name, from),
            Err(problem) if problem.code == Code::AccountPassphraseRefused => {
                self.node.unlocks().failed(&name, from, Instant::now());
            }
            Err(_) => {}
        }
        unlocked
    }

    /// Returns where the caller comes from. One at the socket has no address.
    pub(super) fn network(&self) -> IpAddr {
        self.caller.remote.unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// Runs work that takes much memory and time, of which only some runs at once.
    pub(super) async fn locking<T: Send + 'static>(
        &self,
        address: &EmailAddress,
        work: impl FnOnce(&EmailAddress) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let unlocks = self.node.unlocks();
        let places = match self.caller.principal {
            Principal::Stranger => unlocks.by_strangers(),
            _ => unlocks.hashing(),
        };
        let place = places.acquire();
        let _place = tokio::time::timeout_at(self.deadline, place)
            .await
            .map_err(|_| Problem::new(Code::AccountUnlockTooOften, "too many keys are unlocked"))?
            .map_err(|error| internal("a key of an account", error))?;
        let address = address.clone();
        let done = tokio::task::spawn_blocking(move || work(&address)).await;
        done.map_err(|error| internal("a key of an account", error))?
    }
}

pub(super) fn too_often(address: &EmailAddress, pause: Duration) -> Problem {
    let title = format!("too many wrong passphrases for {address} from this network");
    let hint = format!("wait for {} s", pause.as_secs() + 1);
    Problem::new(Code::AccountUnlockTooOften, title).hint(hint)
}

impl LockedKey {
    /// Says in the place of which key it comes.
    fn over(self, found: &FoundAccount) -> LockedKey {
        LockedKey { opened: found.account.key.as_ref().map(|key| key.sealed.clone()), ..self }
    }
}

/// Locks a new key under a passphrase, with a copy for the recovery key.
fn new_key(
    key: &PrivateKey,
    passphrase: &str,
    address: &EmailAddress,
    recovery: Option<&(Fingerprint, Vec<u8>)>,
) -> Result<LockedKey, Problem> {
    let copy = |(recovery_key, public): &(Fingerprint, Vec<u8>)| {
        let key_id = Fingerprint::of(key.public_key_der());
        let address = address.to_string();
        let context = Context { address: &address, key_id: &key_id.0 };
        let sealed = lock::seal_for_recovery(key, public, &context, &mut entropy::fill);
        let sealed_key = sealed.map_err(|error| internal("a copy for recovery", error))?;
        Ok(RecoveryCopy { recovery_key: *recovery_key, sealed_key })
    };
    Ok(LockedKey {
        algorithm: key.algorithm().to_string(),
        public_key_der: key.public_key_der().to_vec(),
        locked: locked(key, passphrase, address)?,
        purpose: KeyPurpose::SignAndEncrypt,
        recovery: recovery.map(copy).transpose()?,
        certificates: Vec::new(),
        opened: None,
    })
}

fn current(found: &FoundAccount) -> Result<&AccountKey, Problem> {
    let missing = || rejection_problem(&Rejection::AccountKeyMissing(found.address.clone()));
    found.account.key.as_ref().ok_or_else(missing)
}

/// Finds the current key of an account or an earlier one by the SHA-256 of its public key.
fn named(found: &FoundAccount, sha256: &str) -> Result<AccountKey, Problem> {
    let earlier = found.state.earlier_keys(found.account.id).map(|(_, key)| key);
    let wanted = sha256.replace(':', "").to_ascii_lowercase();
    let mut keys = earlier.chain(&found.account.key);
    keys.find(|key| key.public_key.to_string() == wanted).cloned().ok_or_else(|| {
        let title = format!("{} has no key with the SHA-256 {sha256}", found.address);
        Problem::new(Code::KeyMissing, title)
            .hint(format!("conclave account show {}", found.address))
    })
}

pub(super) fn locked(
    key: &PrivateKey,
    passphrase: &str,
    address: &EmailAddress,
) -> Result<Vec<u8>, Problem> {
    let public_key = Fingerprint::of(key.public_key_der());
    let address = address.to_string();
    let context = Context { address: &address, key_id: &public_key.0 };
    lock::lock(key, passphrase, Cost::RECOMMENDED, &context, &mut entropy::fill)
        .map_err(|error| refused(&error))
}

fn refused(error: &LockError) -> Problem {
    match error {
        LockError::Short { .. } | LockError::Long { .. } | LockError::Passphrase => {
            Problem::new(Code::AccountPassphraseRefused, error.to_string())
        }
        _ => internal("a key of an account", error),
    }
}

fn unusable(error: &Pkcs12Error) -> Problem {
    Problem::new(Code::Pkcs12Unusable, error.to_string())
}

/// Refuses a key that cannot do what it is for: no certificate could be issued for it.
fn check_purpose(key: &PrivateKey, purpose: KeyUse) -> Result<(), Problem> {
    let (title, hint) = match (key.algorithm(), purpose) {
        (KeyAlgorithm::Ed25519, KeyUse::SignAndEncrypt | KeyUse::Encrypt) => {
            ("an Ed25519 key cannot receive encrypted messages", "--purpose sign")
        }
        (KeyAlgorithm::X25519, KeyUse::SignAndEncrypt | KeyUse::Sign) => {
            ("an X25519 key cannot sign", "--purpose encrypt")
        }
        _ => return Ok(()),
    };
    let hint = format!("{hint}    or: --type p256");
    Err(Problem::new(Code::KeyUnsupported, title).hint(hint))
}

/// Refuses a certificate for other addresses.
fn check_address(address: &EmailAddress, leaf: Option<&Certificate>) -> Result<(), Problem> {
    let emails = leaf.map(Certificate::emails).unwrap_or_default();
    let is_for = |email: &String| EmailAddress::parse(email).is_ok_and(|email| email == *address);
    if emails.iter().any(is_for) {
        return Ok(());
    }
    let found = if emails.is_empty() { "no address".to_owned() } else { emails.join(", ") };
    let title = format!("the certificate in the file is for {found}, not for {address}");
    Err(Problem::new(Code::CertificateForOtherNames, title)
        .hint(format!("export the file anew for {address}, or import it for its own account")))
}

/// Returns the latest certificate of a key with the certificates above it.
fn with_chain(found: &FoundAccount, key: &AccountKey) -> Result<Vec<Certificate>, Problem> {
    let missing = || {
        let title = format!("{} has no certificate for its key", found.address);
        Problem::new(Code::CertificateMissing, title)
            .hint(format!("conclave account cert issue {}", found.address))
    };
    let latest = key.certificates.first().ok_or_else(missing)?;
    let read = |der: &[u8]| {
        Certificate::from_der(der).map_err(|error| internal("a certificate of an account", error))
    };
    let leaf = read(&latest.certificate.der)?;
    let issuing = admit::issuing(&found.state, &found.domain).ok();
    // The issuer may be another one by now.
    let issuing = issuing.filter(|issuing| leaf.is_issued_by(&issuing.certificate));
    let mut all = vec![leaf];
    match issuing {
        Some(Issuing { certificate, chain, .. }) => {
            all.push(certificate);
            for der in chain {
                all.push(read(der)?);
            }
        }
        None => {
            for der in &latest.chain {
                all.push(read(der)?);
            }
        }
    }
    Ok(all)
}

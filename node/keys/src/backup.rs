//! The secrets of a backup: opened with the keys that came with it, tested, and sealed anew for
//! another cluster.

use std::collections::BTreeMap;

use conclave_pki::key::PrivateKey;
use conclave_store::{
    id::{ClusterId, DomainName, Generation},
    record::{Account, Certificate, Domain, DomainKey, Record, RowKey, Sealed},
    scope::Scope,
};

use super::{Binding, GenerationKey, Keyring, Purpose, SealError, Secret};

/// The keys of a backup; wiped when dropped.
#[derive(Default)]
pub struct BackupKeys {
    keys: BTreeMap<(Scope, Generation), (ClusterId, GenerationKey)>,
}

impl BackupKeys {
    /// Adds a key. `scope_id` is the id of the cluster or of the local scope.
    pub fn add(
        &mut self,
        scope: Scope,
        scope_id: ClusterId,
        generation: Generation,
        key: GenerationKey,
    ) {
        self.keys.insert((scope, generation), (scope_id, key));
    }

    /// Returns the number of keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Opens every secret of a row and checks that it is what the row says: a private key belongs
    /// to its public key, and a certificate to its key. Returns the number of secrets; the error
    /// says what is wrong.
    pub fn check(&self, scope: Scope, key: &RowKey, record: &Record) -> Result<u64, String> {
        match (key, record) {
            (RowKey::Domain(_), Record::Domain(domain)) => self.check_domain(scope, domain),
            (RowKey::Canary(_), Record::Canary(canary)) => self.check_domain(scope, &canary.domain),
            (RowKey::DomainVersion((_, version)), Record::DomainVersion(earlier)) => {
                let domain = earlier.domain();
                let domain = domain.ok_or_else(|| "an earlier version is damaged".to_owned())?;
                let checked = self.check_domain(scope, &domain);
                checked.map_err(|error| format!("version {version}: {error}"))
            }
            (RowKey::PendingKey((id, family)), Record::PendingKey(pending)) => {
                let purpose = Purpose::PendingKey(*id);
                let wrong = |error| format!("the {family} key that waits for {id}: {error}");
                self.check_key(scope, purpose, pending).map_err(wrong).map(|()| 1)
            }
            (RowKey::SmimeIssuer(id), Record::SmimeIssuer(issuer)) => {
                let purpose = Purpose::SmimeIssuer(*id);
                let wrong = |error| format!("the key of the S/MIME issuer of {id}: {error}");
                self.check_key(scope, purpose, &issuer.key).map_err(wrong).map(|()| 1)
            }
            _ => {
                let secrets = record.sealed();
                for (sealed, purpose) in secrets.iter().zip(purposes(key, record)) {
                    let wrong = |error| format!("a secret of the {}: {error}", kind(key));
                    self.open(scope, purpose, sealed).map_err(wrong)?;
                }
                Ok(u64::try_from(secrets.len()).unwrap_or(u64::MAX))
            }
        }
    }

    /// Returns a row with its secrets sealed for the cluster of `keyring`.
    pub fn resealed(
        &self,
        scope: Scope,
        key: &RowKey,
        record: &Record,
        keyring: &Keyring,
    ) -> Result<Record, SealError> {
        let secrets = record.sealed();
        if secrets.is_empty() {
            return Ok(record.clone());
        }
        let anew = secrets.iter().zip(purposes(key, record)).map(|(sealed, purpose)| {
            let secret = self.open(scope, purpose, sealed)?;
            keyring.seal(Scope::Shared, purpose, secret.expose())
        });
        let anew: Vec<Sealed> = anew.collect::<Result<_, _>>()?;
        record.with_sealed(&anew).ok_or(SealError::Refused)
    }

    fn check_domain(&self, scope: Scope, domain: &Domain) -> Result<u64, String> {
        let (name, mut count) = (&domain.name, 0);
        for one in &domain.credentials {
            let purpose = Purpose::DomainKey(domain.id);
            let wrong = |error| format!("the {} key of {name}: {error}", one.key.algorithm);
            self.check_key(scope, purpose, &one.key).map_err(wrong)?;
            check_certificate(name, &one.key, one.certificate.as_ref())?;
            count += 1;
        }
        Ok(count)
    }

    fn check_key(&self, scope: Scope, purpose: Purpose, key: &DomainKey) -> Result<(), String> {
        let opened = self.open(scope, purpose, &key.sealed).map_err(|error| error.to_string())?;
        let private = PrivateKey::from_pkcs8_der(opened.expose());
        let private = private.map_err(|error| error.to_string())?;
        match private.public_key_der() == key.public_key_der {
            true => Ok(()),
            false => Err("the private key belongs to another public key".to_owned()),
        }
    }

    fn open(&self, scope: Scope, purpose: Purpose, sealed: &Sealed) -> Result<Secret, SealError> {
        let found = self.keys.get(&(scope, sealed.generation));
        let (id, key) = found.ok_or(SealError::GenerationMissing(sealed.generation))?;
        key.open(&Binding { scope: *id, purpose }, sealed)
    }
}

fn check_certificate(
    name: &DomainName,
    key: &DomainKey,
    certificate: Option<&Certificate>,
) -> Result<(), String> {
    match certificate.is_none_or(|one| one.public_key == key.public_key) {
        true => Ok(()),
        false => Err(format!("the certificate of {name} belongs to another private key")),
    }
}

/// Opens every secret of a row, for tests of what is in them.
#[cfg(feature = "testing")]
pub fn opened(keyring: &Keyring, key: &RowKey, record: &Record) -> Result<Vec<Secret>, SealError> {
    let secrets = record.sealed();
    let purposes = purposes(key, record);
    let open = |(sealed, purpose)| keyring.open(Scope::Shared, purpose, sealed);
    secrets.iter().zip(purposes).map(open).collect()
}

/// Returns the purpose of each secret of a row, in the order of [`Record::sealed`].
fn purposes(key: &RowKey, record: &Record) -> Vec<Purpose> {
    let of_domain = |domain: &Domain| vec![Purpose::DomainKey(domain.id); domain.credentials.len()];
    match (key, record) {
        (RowKey::Cluster, _) => vec![Purpose::Authority],
        (RowKey::JoinToken(id), _) => vec![Purpose::JoinToken(*id)],
        (RowKey::SessionKey((of, id)), _) => vec![Purpose::SessionKey(*of, *id)],
        (RowKey::PendingKey((id, _)), _) => vec![Purpose::PendingKey(*id)],
        (RowKey::SmimeIssuer(id), _) => vec![Purpose::SmimeIssuer(*id)],
        (RowKey::AccountSettings(id), _) => vec![Purpose::RecoveryKey(*id)],
        (_, Record::Account(account)) => purposes_of_account(account),
        (RowKey::AccountKey((id, _)), _) => vec![Purpose::AccountKey(*id)],
        (_, Record::Domain(domain)) => of_domain(domain),
        (_, Record::Canary(canary)) => of_domain(&canary.domain),
        (_, Record::DomainVersion(earlier)) => {
            earlier.domain().as_ref().map(of_domain).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Returns the purpose of each secret of an account's row.
pub fn purposes_of_account(account: &Account) -> Vec<Purpose> {
    let key = account.key.iter().map(|_| Purpose::AccountKey(account.id));
    key.chain(account.invitation.iter().map(|_| Purpose::Invitation(account.id))).collect()
}

/// Returns the kind of a row with secrets that are no domain's.
fn kind(key: &RowKey) -> &'static str {
    match key {
        RowKey::Cluster => "cluster",
        RowKey::JoinToken(_) => "join tokens",
        RowKey::SessionKey(_) => "session keys",
        RowKey::Account(_) | RowKey::AccountKey(_) => "accounts",
        _ => "domains",
    }
}

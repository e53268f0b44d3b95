//! Many accounts at once, each with a key and a certificate.

use super::*;

use conclave_pki::issue::{Account, Purpose as Use};
use conclave_store::{
    command::{AccountAction, AccountOf, CreateAccount, SetAccountCertificate, SetAccountKey},
    id::{AccountId, EmailAddress, Fingerprint, SerialNumber},
    record::{AccountCertificate, AccountKey, KeyPurpose},
};

/// Length of a locked P-256 key, about.
const LOCKED_BYTES: usize = 240;

/// Makes the accounts `a{number}@` of a domain for all `numbers`, in a cluster with a single member
/// whose process must not run. The domain has an S/MIME issuer of its own, which certifies them. The
/// accounts share 1,024 keys, and no passphrase opens them: locking takes most of the time.
pub fn fill_accounts(config: &Path, domain: &str, numbers: Range<u64>) -> Result<(), Box<Problem>> {
    let domain = DomainName::parse(domain).map_err(|error| internal("a name", error))?;
    stopped(config, async |node, replica| {
        let filling = Filling::new(replica, Arc::clone(node.keyring()))?;
        let certifying = Arc::new(Certifying::new(filling, domain)?);
        let one = move |number| {
            let certifying = Arc::clone(&certifying);
            async move { certifying.account(number).await }
        };
        all(numbers, one).await
    })
}

struct Certifying {
    filling: Filling,
    domain: DomainName,
    issuer_key: PrivateKey,
    issuer: Certificate,
}

impl Certifying {
    fn new(filling: Filling, domain: DomainName) -> Result<Certifying, Problem> {
        let missing = || internal("the domain has no S/MIME issuer", "");
        let state = &filling.replica.point().state;
        let id = state.domain(&domain).map(|domain| domain.id).ok_or_else(missing)?;
        let issuer = state.smime_issuer(id).ok_or_else(missing)?;
        let certificate = issuer.certificate.as_ref().ok_or_else(missing)?;
        let key = filling.keyring.open(Scope::Shared, Purpose::SmimeIssuer(id), &issuer.key.sealed);
        let key = key.map_err(|error| internal("the issuer's key", error))?;
        let issuer_key = PrivateKey::from_pkcs8_der(key.expose())
            .map_err(|error| internal("the issuer's key", error))?;
        let issuer = Certificate::from_der(&certificate.der)
            .map_err(|error| internal("the issuer", error))?;
        Ok(Certifying { filling, domain, issuer_key, issuer })
    }

    async fn account(&self, number: u64) -> Result<(), Problem> {
        let (id, text) = (AccountId(entropy::array()), format!("a{number}@{}", self.domain));
        let address = EmailAddress::parse(&text).map_err(|error| internal("an address", error))?;
        let of = AccountOf { domain: self.domain.clone(), address };
        let name = format!("Person {number}");
        let create = CreateAccount { of: of.clone(), id, name };
        self.filling.execute(AccountAction::CreateAccount(create).into()).await?;
        let key = self.filling.key(number)?;
        let mut locked = vec![0; LOCKED_BYTES];
        entropy::fill(&mut locked);
        let sealed = self.filling.keyring.seal(Scope::Shared, Purpose::AccountKey(id), &locked);
        let key = AccountKey {
            algorithm: key.algorithm().to_string(),
            public_key_der: key.public_key_der().to_vec(),
            public_key: Fingerprint::of(key.public_key_der()),
            purpose: KeyPurpose::SignAndEncrypt,
            sealed: sealed.map_err(|error| internal("a seal", error))?,
            passphrase: 1,
            recovery: None,
            assigned: clock::now(),
            certificates: Vec::new(),
        };
        let certificate = self.certificate(&key, text)?;
        let set = SetAccountKey { of: of.clone(), key };
        self.filling.execute(AccountAction::SetAccountKey(Box::new(set)).into()).await?;
        let set = SetAccountCertificate { of, certificate };
        self.filling.execute(AccountAction::SetAccountCertificate(Box::new(set)).into()).await
    }

    fn certificate(&self, key: &AccountKey, text: String) -> Result<AccountCertificate, Problem> {
        let account = Account {
            public_key_der: &key.public_key_der,
            emails: &[text],
            common_name: "Person",
            purpose: Use::SignAndEncrypt,
            is_client: false,
            crl_url: None,
        };
        let made = account
            .issue(&self.issuer_key, &self.issuer, entropy::array(), self.filling.validity)
            .map_err(|error| internal("a certificate", error))?;
        let serial = made.serial_bytes().try_into().map(SerialNumber);
        let serial = serial.map_err(|error| internal("a serial number", error))?;
        let (certificate, chain) = (admit::record_of(&made), Vec::new());
        Ok(AccountCertificate { certificate, serial: Some(serial), chain })
    }
}

//! Conversion of S/MIME issuers and accounts.

use conclave_api::{
    account::{Account as ApiAccount, Issued, Key as ApiKey, Purpose},
    certificate::Certificate as ApiCertificate,
    smime::Issuer,
};
use conclave_pki::certificate::Certificate;
use conclave_store::{
    id::{EmailAddress, Fingerprint},
    record::{Account, AccountCertificate, AccountKey, Domain, KeyPurpose},
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;
use serde_bytes::ByteBuf;

use super::{certificate, key, parsed_certificate};
use crate::admit::{self, Issuing};

/// Converts what issues the S/MIME certificates of a domain.
pub fn smime_issuer(state: &State, domain: &Domain, now: UnixMillis) -> Issuer {
    let own = state.smime_issuer(domain.id);
    let settings = state.account_settings(domain.id);
    let recovery_key = settings.and_then(|settings| settings.recovery_key.as_ref());
    let issuing = admit::issuing(state, domain);
    let problem = issuing.as_ref().err();
    let shown = |der: &Vec<u8>| certificate(der, now);
    let of_own = own.and_then(|own| own.certificate.as_ref()).and_then(|one| shown(&one.der));
    let used = issuing.as_ref().ok();
    let chain = used.map(|used| used.chain).or(own.map(|own| own.chain.as_slice()));
    Issuer {
        domain: domain.name.to_string(),
        own: own.is_some(),
        key: own.map(|own| key(&own.key)),
        certificate: used.map(|used| parsed_certificate(&used.certificate, now)).or(of_own),
        chain: certificates(chain.unwrap_or_default(), now),
        may_issue: used.is_some(),
        why: problem.and_then(|problem| problem.why.clone()),
        hint: problem.and_then(|problem| problem.hint.clone()),
        revoked: state.revocation_list(domain.id).count,
        crl_url: settings.and_then(|settings| settings.crl_url.clone()),
        recovery_key: recovery_key.map(|key| key.public_key.to_string()),
        version: own.map_or(0, |own| own.version.0),
    }
}

fn certificates(chain: &[ByteBuf], now: UnixMillis) -> Vec<ApiCertificate> {
    chain.iter().filter_map(|der| certificate(der, now)).collect()
}

/// Converts an account, without its earlier keys.
pub fn account(
    state: &State,
    domain: &Domain,
    (address, account): (&EmailAddress, &Account),
    now: UnixMillis,
) -> ApiAccount {
    ApiAccount {
        address: address.to_string(),
        domain: domain.name.to_string(),
        name: account.name.clone(),
        key: account.key.as_ref().map(|key| account_key(state, (domain, account), key, now)),
        receives: receiving(state, address, now).map(|one| Fingerprint::of(one.der()).to_string()),
        earlier: Vec::new(),
        earlier_keys: account.earlier_keys,
        invited_until: state
            .open_invitation(account, now)
            .map(|invitation| clock::rfc3339(invitation.expires)),
        version: account.version.0,
        changed: clock::rfc3339(account.changed.time),
        changed_by: account.changed.principal.to_string(),
    }
}

/// Returns the certificate to which messages for an account are encrypted now.
fn receiving(state: &State, address: &EmailAddress, now: UnixMillis) -> Option<Certificate> {
    let found = state.receiving_certificate(address, now)?;
    Certificate::from_der(&found.certificate.der).ok().filter(Certificate::may_receive)
}

/// Converts what may be said of a key of an account.
pub fn account_key(
    state: &State,
    (domain, account): (&Domain, &Account),
    key: &AccountKey,
    now: UnixMillis,
) -> ApiKey {
    let passphrase = account.passphrase;
    let issued = |one: &AccountCertificate| account_certificate(state, domain, one, now);
    ApiKey {
        algorithm: key.algorithm.clone(),
        sha256: key.public_key.to_string(),
        purpose: match key.purpose {
            KeyPurpose::SignAndEncrypt => Purpose::SignAndEncrypt,
            KeyPurpose::Sign => Purpose::Sign,
            KeyPurpose::Encrypt => Purpose::Encrypt,
        },
        generation: key.sealed.generation.0,
        passphrase: key.passphrase,
        earlier_passphrase: key.passphrase < passphrase,
        recovery_key: key.recovery.as_ref().map(|copy| copy.recovery_key.to_string()),
        assigned: clock::rfc3339(key.assigned),
        certificates: key.certificates.iter().filter_map(issued).collect(),
    }
}

/// Converts a certificate of an account, without its chain.
fn account_certificate(
    state: &State,
    domain: &Domain,
    one: &AccountCertificate,
    now: UnixMillis,
) -> Option<Issued> {
    let revocation = one.serial.and_then(|serial| state.revocation(domain.id, serial));
    Some(Issued {
        certificate: certificate(&one.certificate.der, now)?,
        own: one.serial.is_some(),
        revoked: revocation.map(|revocation| clock::rfc3339(revocation.time)),
        chain: Vec::new(),
    })
}

/// Converts the latest certificate of an account with its chain; `None` if it has none.
pub fn latest_certificate(
    state: &State,
    domain: &Domain,
    account: &Account,
    now: UnixMillis,
) -> Option<Issued> {
    let latest = account.key.as_ref()?.certificates.first()?;
    let leaf = Certificate::from_der(&latest.certificate.der).ok()?;
    let issuing = admit::issuing(state, domain).ok();
    // The issuer may be another one by now.
    let chain = match issuing.filter(|issuing| leaf.is_issued_by(&issuing.certificate)) {
        Some(Issuing { certificate, chain, .. }) => {
            let first = parsed_certificate(&certificate, now);
            std::iter::once(first).chain(certificates(chain, now)).collect()
        }
        None => certificates(&latest.chain, now),
    };
    Some(Issued { chain, ..account_certificate(state, domain, latest, now)? })
}

//! Commands, rejections and rows of S/MIME issuers and accounts.

use super::value::*;
use crate::{command::*, id::*, outcome::Rejection, record::*};

const SERIAL: SerialNumber = SerialNumber([0x4e; 16]);
const ID: AccountId = AccountId([5; 16]);

fn address() -> EmailAddress {
    EmailAddress::parse("Ann@shop.example").unwrap()
}

fn of() -> AccountOf {
    AccountOf { domain: domain_name("shop.example"), address: address() }
}

fn account_certificate(serial: Option<SerialNumber>) -> AccountCertificate {
    let chain = if serial.is_some() { Vec::new() } else { vec![bytes("issuer")] };
    AccountCertificate { certificate: certificate(), serial, chain }
}

fn invitation() -> Invitation {
    Invitation { sealed: sealed(), expires: TIME, by: Principal::Socket { uid: 1000 } }
}

fn recovery_key() -> RecoveryKey {
    RecoveryKey { public_key: fingerprint(6), sealed: sealed() }
}

fn key(purpose: KeyPurpose) -> AccountKey {
    AccountKey {
        algorithm: "EC P-256".to_owned(),
        public_key_der: b"public key".to_vec(),
        public_key: fingerprint(3),
        purpose,
        sealed: sealed(),
        passphrase: 2,
        recovery: (purpose != KeyPurpose::Sign)
            .then(|| RecoveryCopy { recovery_key: fingerprint(6), sealed_key: b"copy".to_vec() }),
        assigned: TIME,
        certificates: vec![account_certificate(Some(SERIAL)), account_certificate(None)],
    }
}

pub(super) const PURPOSES: [KeyPurpose; 3] =
    [KeyPurpose::SignAndEncrypt, KeyPurpose::Sign, KeyPurpose::Encrypt];

pub(super) const REASONS: [RevocationReason; 5] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
];

pub(super) fn actions() -> Vec<AccountAction> {
    let issuer = |certificate, chain| {
        let (domain, key) = (domain_name("shop.example"), domain_key(KeyFamily::Ec));
        AccountAction::SetSmimeIssuer(Box::new(SetSmimeIssuer { domain, key, certificate, chain }))
    };
    let set_key = |purpose| {
        AccountAction::SetAccountKey(Box::new(SetAccountKey { of: of(), key: key(purpose) }))
    };
    let certify = |certificate| {
        let set = SetAccountCertificate { of: of(), certificate };
        AccountAction::SetAccountCertificate(Box::new(set))
    };
    let revoke = |reason| {
        let (of, serials) = (of(), vec![SERIAL]);
        AccountAction::RevokeAccountCertificate(RevokeAccountCertificate { of, serials, reason })
    };
    let mut all = vec![
        issuer(Some(certificate()), vec![bytes("issuer")]),
        issuer(None, Vec::new()),
        AccountAction::RemoveSmimeIssuer(domain_name("shop.example")),
        AccountAction::CreateAccount(CreateAccount {
            of: of(),
            id: ID,
            name: "Ann Lee".to_owned(),
        }),
        AccountAction::DeleteAccount(of()),
        AccountAction::RelockAccount(Box::new(RelockAccount {
            of: of(),
            keys: vec![(fingerprint(3), sealed()), (fingerprint(4), sealed())],
        })),
        certify(account_certificate(Some(SERIAL))),
        certify(account_certificate(None)),
    ];
    let invite = |invitation| AccountAction::InviteOwner(InviteOwner { of: of(), invitation });
    let domain = || domain_name("shop.example");
    all.extend([
        AccountAction::SetCrlUrl(domain(), Some("http://shop.example/smime.crl".to_owned())),
        AccountAction::SetCrlUrl(domain(), None),
        AccountAction::SetRecoveryKey(domain(), Some(recovery_key())),
        AccountAction::SetRecoveryKey(domain(), None),
        invite(Some(invitation())),
        invite(None),
        AccountAction::EnterAccount(Box::new(EnterAccount {
            of: of(),
            key: key(KeyPurpose::SignAndEncrypt),
        })),
    ]);
    all.extend(PURPOSES.map(set_key));
    all.extend(REASONS.map(revoke));
    all
}

pub(super) fn rejections() -> Vec<Rejection> {
    vec![
        Rejection::SmimeIssuerUnknown(domain_name("shop.example")),
        Rejection::AccountExists(address()),
        Rejection::AccountUnknown(address()),
        Rejection::AccountKeyMissing(address()),
        Rejection::AccountKeyExists(address()),
        Rejection::AccountsRemain(server_name("shop.example")),
        Rejection::SerialUnknown { address: address(), serial: SERIAL },
        Rejection::CertificateRevoked(SERIAL),
        Rejection::InvitationUnknown(address()),
    ]
}

/// Adds the rows of level 5.
pub(super) fn add_rows(add: &mut dyn FnMut(RowKey, Record)) {
    let id = DomainId([4; 16]);
    let issuer = SmimeIssuer {
        key: domain_key(KeyFamily::Ec),
        certificate: Some(certificate()),
        chain: vec![bytes("issuer"), bytes("root")],
        version: Version(3),
        changed: stamp(principals()[0].clone()),
    };
    add(RowKey::SmimeIssuer(id), Record::SmimeIssuer(issuer.into()));
    let settings = AccountSettings {
        crl_url: Some("http://shop.example/smime.crl".to_owned()),
        recovery_key: Some(recovery_key()),
        version: Version(2),
    };
    add(RowKey::AccountSettings(id), Record::AccountSettings(settings.into()));
    let account = |key: Option<AccountKey>| Account {
        id: ID,
        name: "Ann Lee".to_owned(),
        passphrase: if key.is_some() { 2 } else { 0 },
        invitation: key.is_none().then(invitation),
        key,
        earlier_keys: 1,
        version: Version(4),
        changed: stamp(principals()[0].clone()),
    };
    let whole = account(Some(key(KeyPurpose::SignAndEncrypt)));
    add(RowKey::Account(address()), Record::Account(whole.into()));
    let other = EmailAddress::parse("bob@shop.example").unwrap();
    add(RowKey::Account(other), Record::Account(account(None).into()));
    add(RowKey::AccountKey((ID, 1)), Record::AccountKey(key(KeyPurpose::Encrypt).into()));
    let issued = IssuedCertificate { address: address(), not_after: TIME };
    add(RowKey::IssuedCertificate((id, SERIAL)), Record::IssuedCertificate(issued.into()));
    let revocation =
        Revocation { time: TIME, reason: RevocationReason::KeyCompromise, not_after: TIME };
    add(RowKey::Revocation((id, SERIAL)), Record::Revocation(revocation));
    let list = RevocationList { changes: 70_000, count: 300, changed: TIME };
    add(RowKey::RevocationList(id), Record::RevocationList(list));
    add(RowKey::AccountsBegin, Record::AccountsBegin);
}

//! Admission of accounts, their keys and certificates.

use conclave_api::{
    account::{Create, Issue, Purpose as ApiPurpose, Reason, Revoke},
    problem::{Code, Problem},
};
use conclave_keys::{Purpose, Secret};
use conclave_pki::{
    certificate::Certificate,
    issue::{self, Purpose as PkiPurpose},
};
use conclave_store::{
    command::{
        AccountAction, AccountOf, CreateAccount, EnterAccount, InviteOwner, RelockAccount,
        RevokeAccountCertificate, SetAccountCertificate, SetAccountKey,
    },
    id::{AccountId, EmailAddress, Fingerprint, SerialNumber},
    limits::{ACCOUNT_NAME_BYTES_MAX, EARLIER_KEYS_MAX},
    outcome::Rejection,
    record::{
        Account, AccountCertificate, AccountKey, Domain, Invitation, KeyPurpose, Principal,
        RecoveryCopy, RevocationReason, Right, RowKey, Sealed,
    },
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::{clock, entropy};
use serde_bytes::ByteBuf;

use super::{
    Admitted, View,
    certificate::{record_of, validity},
    problem, rejection_problem,
    smime::issuing,
};
use crate::{node::Node, rights::Access};

/// Parses the e-mail address of an account.
pub fn email_address(text: &str) -> Result<EmailAddress, Problem> {
    EmailAddress::parse(text).map_err(|error| Problem::new(Code::Malformed, error.to_string()))
}

/// Returns the domain to which an address belongs, if the caller may act on it.
pub(crate) fn domain_of<'s>(
    state: &'s State,
    (who, access): (&str, &Access),
    address: &EmailAddress,
) -> Result<&'s Domain, Problem> {
    let domain = state.domain_of(address).ok_or_else(|| {
        let name = address.domain();
        Problem::new(Code::DomainUnknown, format!("no domain has the name {name}")).hint(format!(
            "conclave domain create {name}    or: conclave domain alias NAME --add {name}"
        ))
    });
    match domain {
        Ok(domain) => access.check_domain(who, &domain.name).map(|()| domain),
        // Whether a domain exists is not for everybody.
        Err(unknown) => access.check_domain(who, address.domain()).and(Err(unknown)),
    }
}

/// An account that a change is about.
struct Found<'s> {
    domain: &'s Domain,
    account: &'s Account,
    of: AccountOf,
}

fn of(view: &View<'_>, address: EmailAddress) -> Result<AccountOf, Problem> {
    let who = view.principal.to_string();
    let domain = domain_of(view.state, (&who, view.access), &address)?;
    Ok(AccountOf { domain: domain.name.clone(), address })
}

fn find<'s>(view: &View<'s>, text: &str) -> Result<Found<'s>, Problem> {
    let of = of(view, email_address(text)?)?;
    let unknown = || rejection_problem(&Rejection::AccountUnknown(of.address.clone()));
    let account = view.state.account(&of.address).ok_or_else(unknown)?;
    let domain = view.state.domain_of(&of.address).ok_or_else(unknown)?;
    view.access.check_owned(account)?;
    let (address, seen) = (&of.address, (account.version, Some(&account.changed)));
    view.check_version(address, seen, || format!("conclave account show {address}"))?;
    Ok(Found { domain, account, of })
}

impl Found<'_> {
    /// Makes the record of a new key under the passphrase of this number.
    fn new_key(
        &self,
        view: &View<'_>,
        new: &LockedKey,
        passphrase: u32,
    ) -> Result<AccountKey, Problem> {
        let settings = view.state.account_settings(self.domain.id);
        let wanted = settings.and_then(|settings| settings.recovery_key.as_ref());
        if new.recovery.as_ref().map(|copy| copy.recovery_key) != wanted.map(|one| one.public_key) {
            let title = format!("the recovery key of {} was changed meanwhile", self.domain.name);
            return Err(Problem::new(Code::VersionConflict, title).hint("repeat the command"));
        }
        if self.account.key.is_some() && self.account.earlier_keys >= EARLIER_KEYS_MAX {
            let address = &self.of.address;
            let title =
                format!("{address} has {EARLIER_KEYS_MAX} earlier keys, and no room for more");
            return Err(Problem::new(Code::LimitReached, title)
                .why("each of them may be needed for earlier mail, so none is dropped by itself")
                .hint(format!(
                    "conclave account key export {address} --key SHA256 keeps one; then conclave \
                     account delete {address}, and make it again"
                )));
        }
        let secret = Secret::new(new.locked.clone());
        let certificate = |(one, chain): &(Certificate, Vec<Certificate>)| AccountCertificate {
            certificate: record_of(one),
            serial: None,
            chain: chain.iter().map(|one| ByteBuf::from(one.der())).collect(),
        };
        Ok(AccountKey {
            algorithm: new.algorithm.clone(),
            public_key_der: new.public_key_der.clone(),
            public_key: Fingerprint::of(&new.public_key_der),
            purpose: new.purpose,
            sealed: view.seal(Purpose::AccountKey(self.account.id), &secret)?,
            passphrase,
            recovery: new.recovery.clone(),
            assigned: view.now,
            certificates: new.certificates.iter().map(certificate).collect(),
        })
    }

    fn key(&self) -> Result<&AccountKey, Problem> {
        let missing = Rejection::AccountKeyMissing(self.of.address.clone());
        self.account.key.as_ref().ok_or_else(|| rejection_problem(&missing))
    }

    /// Returns a change that is made only if the account is as it was seen.
    fn admitted(&self, view: &View<'_>, action: AccountAction) -> Admitted {
        let address = &self.of.address;
        let expected = view.state.expectation(RowKey::Account(address.clone()));
        Admitted::new(action, address).expecting(expected)
    }
}

/// Creates an account without a key.
pub fn create_account(view: &View<'_>, asked: &Create, id: AccountId) -> Result<Admitted, Problem> {
    let of = of(view, email_address(&asked.address)?)?;
    if asked.name.len() > ACCOUNT_NAME_BYTES_MAX || asked.name.chars().any(char::is_control) {
        let title = format!(
            "the name of a person has at most {ACCOUNT_NAME_BYTES_MAX} bytes and no control \
             characters"
        );
        return Err(Problem::new(Code::Malformed, title));
    }
    if view.is_if_missing && view.state.account(&of.address).is_some() {
        find(view, &asked.address)?;
        let row = RowKey::Account(of.address.clone());
        return Ok(Admitted::nothing(&of.address, vec![row]));
    }
    let (object, name) = (of.address.clone(), asked.name.clone());
    Ok(Admitted::new(AccountAction::CreateAccount(CreateAccount { of, id, name }), object))
}

/// Removes an account.
pub fn delete_account(view: &View<'_>, address: &str) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    let action = AccountAction::DeleteAccount(found.of.clone());
    Ok(found.admitted(view, action))
}

/// A new key of an account, locked under its passphrase.
pub struct LockedKey {
    pub(crate) algorithm: String,
    pub(crate) public_key_der: Vec<u8>,
    pub(crate) locked: Vec<u8>,
    pub(crate) purpose: KeyPurpose,
    /// A copy for the recovery key of the domain, if it has one.
    pub(crate) recovery: Option<RecoveryCopy>,
    /// Its certificates by others, each with its chain.
    pub(crate) certificates: Vec<(Certificate, Vec<Certificate>)>,
    /// The secret of the present key that the passphrase has opened; none if there was no key.
    pub(crate) opened: Option<Sealed>,
}

/// Returns the purpose of a key as the store has it.
pub(crate) fn key_purpose(purpose: ApiPurpose) -> KeyPurpose {
    match purpose {
        ApiPurpose::SignAndEncrypt => KeyPurpose::SignAndEncrypt,
        ApiPurpose::Sign => KeyPurpose::Sign,
        ApiPurpose::Encrypt => KeyPurpose::Encrypt,
    }
}

/// Says that the keys of an account changed while a passphrase was tried.
fn changed(address: &EmailAddress) -> Problem {
    Problem::new(Code::VersionConflict, format!("the keys of {address} were changed meanwhile"))
        .hint("repeat the command")
}

/// Gives an account a new key.
pub fn set_account_key(
    view: &View<'_>,
    address: &str,
    new: &LockedKey,
) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    // One passphrase is for all keys of an account.
    if found.account.key.as_ref().map(|key| &key.sealed) != new.opened.as_ref() {
        return Err(changed(&found.of.address));
    }
    let key = found.new_key(view, new, found.account.passphrase.max(1))?;
    let set = SetAccountKey { of: found.of.clone(), key };
    let settings = view.state.expectation(RowKey::AccountSettings(found.domain.id));
    let action = AccountAction::SetAccountKey(Box::new(set));
    Ok(found.admitted(view, action).expecting(settings))
}

/// Invites the owner of an account, who can do what the rights to change and to certify it allow: so
/// the caller needs both.
pub fn invite_owner(
    view: &View<'_>,
    address: &str,
    secret: &[u8; 32],
    expires: UnixMillis,
) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    view.access.check_right(&view.principal.to_string(), Right::Certificate)?;
    let hash = Secret::new(Fingerprint::of(secret).0.to_vec());
    let sealed = view.seal(Purpose::Invitation(found.account.id), &hash)?;
    let invitation = Some(Invitation { sealed, expires, by: view.principal.clone() });
    let invite = InviteOwner { of: found.of.clone(), invitation };
    Ok(found.admitted(view, AccountAction::InviteOwner(invite)))
}

/// Returns whether this is the secret of an account's invitation, which has not ended.
pub(crate) fn is_invitation(
    node: &Node,
    state: &State,
    account: &Account,
    secret: &[u8; 32],
    now: UnixMillis,
) -> bool {
    let Some(Invitation { sealed, .. }) = state.open_invitation(account, now) else {
        return false;
    };
    let opened = node.keyring().open(Scope::Shared, Purpose::Invitation(account.id), sealed);
    // Hashes of random secrets are compared: timing tells nothing of use.
    opened.is_ok_and(|hash| hash.expose() == Fingerprint::of(secret).0.as_slice())
}

/// Withdraws the invitation of an account's owner.
pub fn withdraw_invitation(view: &View<'_>, address: &str) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    let invite = InviteOwner { of: found.of.clone(), invitation: None };
    Ok(found.admitted(view, AccountAction::InviteOwner(invite)))
}

/// Uses an invitation: the account gets a key under a new passphrase.
pub(crate) fn enter_account(
    view: &View<'_>,
    address: &str,
    secret: &[u8; 32],
    new: &LockedKey,
) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    if !is_invitation(view.node, view.state, found.account, secret, view.now) {
        return Err(rejection_problem(&Rejection::InvitationUnknown(found.of.address.clone())));
    }
    let key = found.new_key(view, new, found.account.passphrase + 1)?;
    let enter = EnterAccount { of: found.of.clone(), key };
    let settings = view.state.expectation(RowKey::AccountSettings(found.domain.id));
    let action = AccountAction::EnterAccount(Box::new(enter));
    Ok(found.admitted(view, action).expecting(settings))
}

/// A key of an account, opened and locked anew.
pub struct RelockedKey {
    pub(crate) public_key: Fingerprint,
    /// Its secret as it was opened.
    pub(crate) opened: Sealed,
    pub(crate) locked: Vec<u8>,
}

/// Locks the keys of an account that its passphrase opens under another one.
pub fn relock_account(
    view: &View<'_>,
    address: &str,
    relocked: &[RelockedKey],
) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    let present = found.account.opened_together(view.state).map(|key| &key.sealed);
    if !present.eq(relocked.iter().map(|key| &key.opened)) {
        return Err(changed(&found.of.address));
    }
    let purpose = Purpose::AccountKey(found.account.id);
    let sealed = |key: &RelockedKey| {
        let secret = Secret::new(key.locked.clone());
        view.seal(purpose, &secret).map(|sealed| (key.public_key, sealed))
    };
    let keys = relocked.iter().map(sealed).collect::<Result<Vec<_>, _>>()?;
    let relock = RelockAccount { of: found.of.clone(), keys };
    Ok(found.admitted(view, AccountAction::RelockAccount(Box::new(relock))))
}

/// Issues a certificate for the current key of an account. The private key is not needed.
pub fn issue_account_certificate(
    view: &View<'_>,
    address: &str,
    asked: &Issue,
) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    let key = found.key()?;
    let address = &found.of.address;
    check_asked_by(view.principal, asked)?;
    let revoked = |serial: SerialNumber| view.state.revocation(found.domain.id, serial).is_some();
    let is_valid = |one: &&AccountCertificate| {
        one.serial.is_some_and(|serial| !revoked(serial)) && one.certificate.not_after > view.now
    };
    if let Some(valid) = key.certificates.iter().find(is_valid).filter(|_| !asked.renew) {
        let until = clock::rfc3339(valid.certificate.not_after);
        let title = format!("{address} has a certificate until {until}");
        return Err(Problem::new(Code::KeyExists, title)
            .hint(format!("conclave account cert renew {address}")));
    }
    let issuing = issuing(view.state, found.domain)?;
    let issuer_key = view.issuer_key(&issuing)?;
    let emails = [address.to_string()];
    let settings = view.state.account_settings(found.domain.id);
    let crl_url = asked.crl_url.as_deref().or_else(|| settings?.crl_url.as_deref());
    // What an operator decided for the certificate before stays so when its owner renews it.
    let is_client = asked.client || is_owner(view.principal) && was_for_clients(key);
    let account = issue::Account {
        public_key_der: &key.public_key_der,
        emails: &emails,
        common_name: &found.account.name,
        purpose: match key.purpose {
            KeyPurpose::SignAndEncrypt => PkiPurpose::SignAndEncrypt,
            KeyPurpose::Sign => PkiPurpose::Sign,
            KeyPurpose::Encrypt => PkiPurpose::Encrypt,
        },
        is_client,
        crl_url: crl_url.filter(|url| !url.is_empty()),
    };
    let validity = validity(view, asked.days)?;
    let made = account
        .issue(&issuer_key, &issuing.certificate, entropy::array(), validity)
        .map_err(|error| problem::issue(&error))?;
    let serial = made.serial_bytes().try_into().map(SerialNumber);
    let serial = serial.map_err(|_| problem::issue(&issue::IssueError::Encode))?;
    let (certificate, chain) = (record_of(&made), Vec::new());
    let set = SetAccountCertificate {
        of: found.of.clone(),
        certificate: AccountCertificate { certificate, serial: Some(serial), chain },
    };
    Ok(found.admitted(view, AccountAction::SetAccountCertificate(Box::new(set))))
}

fn is_owner(principal: &Principal) -> bool {
    matches!(principal, Principal::Owner(_))
}

/// Returns whether the latest certificate that was issued here for a key is one for TLS clients too.
fn was_for_clients(key: &AccountKey) -> bool {
    let latest = key.certificates.iter().find(|one| one.serial.is_some());
    let latest = latest.and_then(|one| Certificate::from_der(&one.certificate.der).ok());
    latest.is_some_and(|one| one.is_for_tls_clients())
}

/// Refuses what only operators decide about a certificate.
fn check_asked_by(principal: &Principal, asked: &Issue) -> Result<(), Problem> {
    if is_owner(principal) && (asked.days.is_some() || asked.client || asked.crl_url.is_some()) {
        let title = "an owner does not choose what the certificate is for, or how long";
        return Err(Problem::new(Code::NotAllowed, title)
            .why("days, client and crl_url are decided by operators of the domain")
            .hint("leave them out"));
    }
    Ok(())
}

/// Revokes certificates of an account: the one with a serial number, or all those of its current
/// key that are valid.
pub fn revoke_account_certificate(
    view: &View<'_>,
    address: &str,
    asked: &Revoke,
) -> Result<Admitted, Problem> {
    let found = find(view, address)?;
    let serials = match &asked.serial {
        Some(text) => {
            vec![SerialNumber::parse(&text.replace(':', "")).ok_or_else(|| {
                let title =
                    format!("{text:?} is not the serial number of a certificate issued here");
                Problem::new(Code::Malformed, title)
                    .hint(format!("conclave account show {}", found.of.address))
            })?]
        }
        None => valid_serials(view, &found)?,
    };
    let reason = match asked.reason {
        Reason::Unspecified => RevocationReason::Unspecified,
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::AffiliationChanged => RevocationReason::AffiliationChanged,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
    };
    let revoke = RevokeAccountCertificate { of: found.of.clone(), serials, reason };
    let action = AccountAction::RevokeAccountCertificate(revoke);
    // Whatever else changed meanwhile, a certificate is revoked, unless the caller says otherwise.
    Ok(match view.if_version {
        Some(_) => found.admitted(view, action),
        None => Admitted::new(action, &found.of.address),
    })
}

fn valid_serials(view: &View<'_>, found: &Found<'_>) -> Result<Vec<SerialNumber>, Problem> {
    let issued = found.key()?.certificates.iter().filter_map(|one| one.serial);
    let issued: Vec<SerialNumber> = issued.collect();
    let is_revoked = |serial| view.state.revocation(found.domain.id, serial).is_some();
    let valid: Vec<SerialNumber> =
        issued.iter().copied().filter(|serial| !is_revoked(*serial)).collect();
    match (valid.is_empty(), issued.first()) {
        (false, _) => Ok(valid),
        (true, Some(latest)) => Err(rejection_problem(&Rejection::CertificateRevoked(*latest))),
        (true, None) => {
            let title = format!("{} has no certificate issued here", found.of.address);
            Err(Problem::new(Code::CertificateMissing, title)
                .hint(format!("conclave account cert issue {}", found.of.address)))
        }
    }
}

//! Rules for accounts.

use super::{Changing, chain, check_count, revocation, smime, too_many};
use crate::{
    command::{
        AccountAction, AccountOf, CreateAccount, EnterAccount, InviteOwner, RelockAccount,
        RevokeAccountCertificate, SetAccountCertificate, SetAccountKey,
    },
    id::{DomainId, SerialNumber, ServerName, Version},
    limits::{
        ACCOUNT_NAME_BYTES_MAX, ACCOUNTS_MAX, EARLIER_KEYS_MAX, KEY_CERTIFICATES_MAX,
        RECOVERY_COPY_BYTES_MAX,
    },
    outcome::{Done, Rejection},
    record::{
        Account, AccountCertificate, AccountKey, Domain, IssuedCertificate, Record, Revocation,
        RevocationReason, RowKey,
    },
};

/// Decides about a change of an S/MIME issuer or an account.
pub(super) fn outcome(
    change: &mut Changing<'_>,
    action: &AccountAction,
) -> Result<Done, Rejection> {
    match action {
        AccountAction::SetSmimeIssuer(one) => smime::set(change, one),
        AccountAction::RemoveSmimeIssuer(name) => smime::remove(change, name),
        AccountAction::CreateAccount(one) => create(change, one),
        AccountAction::DeleteAccount(one) => delete(change, one),
        AccountAction::SetAccountKey(one) => set_key(change, one),
        AccountAction::RelockAccount(one) => relock(change, one),
        AccountAction::SetAccountCertificate(one) => set_certificate(change, one),
        AccountAction::RevokeAccountCertificate(one) => revoke(change, one),
        AccountAction::SetCrlUrl(name, url) => smime::set_crl_url(change, name, url.as_ref()),
        AccountAction::SetRecoveryKey(name, key) => {
            smime::set_recovery_key(change, name, key.as_ref())
        }
        AccountAction::InviteOwner(one) => invite(change, one),
        AccountAction::EnterAccount(one) => enter(change, one),
    }
}

/// Adds an account without a key.
fn create(change: &mut Changing<'_>, create: &CreateAccount) -> Result<Done, Rejection> {
    owner(change, &create.of)?;
    let address = &create.of.address;
    if change.state.account(address).is_some() {
        return Err(Rejection::AccountExists(address.clone()));
    }
    if change.state.account_count() >= ACCOUNTS_MAX {
        return Err(Rejection::TooMany { what: "accounts".to_owned(), max: ACCOUNTS_MAX });
    }
    check_count("bytes in the name of an account", create.name.len(), ACCOUNT_NAME_BYTES_MAX)?;
    let account = Account {
        id: create.id,
        name: create.name.clone(),
        key: None,
        earlier_keys: 0,
        passphrase: 0,
        invitation: None,
        version: Version(0),
        changed: change.stamp(),
    };
    put(change, &create.of, account)
}

/// Removes an account with its keys. Its certificates that have not expired are revoked.
fn delete(change: &mut Changing<'_>, of: &AccountOf) -> Result<Done, Rejection> {
    let id = owner(change, of)?;
    let account = known(change, of)?;
    let earlier: Vec<(u32, AccountKey)> =
        change.state.earlier_keys(account.id).map(|(number, key)| (number, key.clone())).collect();
    let keys = earlier.iter().map(|(_, key)| key).chain(&account.key);
    for serial in keys.flat_map(|key| &key.certificates).filter_map(|one| one.serial) {
        end(change, id, serial)?;
    }
    for (number, _) in &earlier {
        change.remove(&RowKey::AccountKey((account.id, *number)))?;
    }
    change.remove(&RowKey::Account(of.address.clone()))?;
    Ok(Done::Changed)
}

/// Revokes a certificate of a deleted account, unless it has expired, and forgets it.
fn end(change: &mut Changing<'_>, id: DomainId, serial: SerialNumber) -> Result<(), Rejection> {
    let (time, issued) = (change.command.time, change.state.issued_certificate(id, serial));
    let not_after = issued.map(|issued| issued.not_after);
    let is_revoked = change.state.revocation(id, serial).is_some();
    if let Some(not_after) = not_after.filter(|not_after| *not_after >= time && !is_revoked) {
        let reason = RevocationReason::CessationOfOperation;
        revocation::add(change, id, serial, Revocation { time, reason, not_after })?;
    }
    change.remove(&RowKey::IssuedCertificate((id, serial)))
}

/// Gives an account a new key under its passphrase. The present one becomes an earlier one.
fn set_key(change: &mut Changing<'_>, set: &SetAccountKey) -> Result<Done, Rejection> {
    owner(change, &set.of)?;
    let mut account = known(change, &set.of)?;
    account.passphrase = account.passphrase.max(1);
    add_key(change, (&set.of, &mut account), &set.key)?;
    put(change, &set.of, account)
}

/// Invites the owner, or withdraws the invitation.
fn invite(change: &mut Changing<'_>, invite: &InviteOwner) -> Result<Done, Rejection> {
    owner(change, &invite.of)?;
    let mut account = known(change, &invite.of)?;
    if account.invitation.is_none() && invite.invitation.is_none() {
        return Err(Rejection::InvitationUnknown(invite.of.address.clone()));
    }
    account.invitation.clone_from(&invite.invitation);
    put(change, &invite.of, account)
}

/// Uses an invitation: gives the account a new key under a new passphrase. Earlier keys stay under
/// the passphrase before, which may be lost.
fn enter(change: &mut Changing<'_>, enter: &EnterAccount) -> Result<Done, Rejection> {
    owner(change, &enter.of)?;
    let mut account = known(change, &enter.of)?;
    let now = change.command.time;
    // Admission has opened the invitation, and expects the account as it was then.
    let is_open = change.state.open_invitation(&account, now).is_some();
    account.invitation = None;
    if !is_open {
        return Err(Rejection::InvitationUnknown(enter.of.address.clone()));
    }
    account.passphrase += 1;
    add_key(change, (&enter.of, &mut account), &enter.key)?;
    put(change, &enter.of, account)
}

/// Makes a key the current one of an account, under its present passphrase.
fn add_key(
    change: &mut Changing<'_>,
    (of, account): (&AccountOf, &mut Account),
    key: &AccountKey,
) -> Result<(), Rejection> {
    let mut keys = change.state.earlier_keys(account.id).map(|(_, key)| key).chain(&account.key);
    if keys.any(|present| present.public_key == key.public_key) {
        return Err(Rejection::AccountKeyExists(of.address.clone()));
    }
    // Rules issue nothing here: certificates that come with a key are those of others.
    let is_issued = key.certificates.iter().any(|one| one.serial.is_some());
    if is_issued || key.passphrase != account.passphrase {
        return Err(Rejection::Stale(RowKey::Account(of.address.clone())));
    }
    check_count("certificates of a key", key.certificates.len(), KEY_CERTIFICATES_MAX)?;
    let copy = key.recovery.as_ref().map_or(0, |copy| copy.sealed_key.len());
    check_count("bytes in the copy of a key", copy, RECOVERY_COPY_BYTES_MAX)?;
    for one in &key.certificates {
        check_certificate(key, one)?;
    }
    drop(keys);
    if let Some(earlier) = account.key.replace(key.clone()) {
        account.earlier_keys += 1;
        if account.earlier_keys > EARLIER_KEYS_MAX {
            let max = usize::try_from(EARLIER_KEYS_MAX).unwrap_or(usize::MAX);
            return Err(too_many("earlier keys of an account", max));
        }
        let row = RowKey::AccountKey((account.id, account.earlier_keys));
        change.put(row, Record::AccountKey(earlier.into()))?;
    }
    Ok(())
}

/// Replaces the secrets of all keys that the present passphrase opens. They must be those, in their
/// order.
fn relock(change: &mut Changing<'_>, relock: &RelockAccount) -> Result<Done, Rejection> {
    owner(change, &relock.of)?;
    let mut account = known(change, &relock.of)?;
    let earlier = change.state.earlier_keys(account.id);
    let earlier = earlier.filter(|(_, key)| key.passphrase == account.passphrase);
    let earlier: Vec<(u32, AccountKey)> =
        earlier.map(|(number, key)| (number, key.clone())).collect();
    let missing = || Rejection::AccountKeyMissing(relock.of.address.clone());
    let current = account.key.as_mut().ok_or_else(missing)?;
    let present = earlier.iter().map(|(_, key)| key.public_key).chain([current.public_key]);
    if !present.eq(relock.keys.iter().map(|(public_key, _)| *public_key)) {
        return Err(Rejection::Stale(RowKey::Account(relock.of.address.clone())));
    }
    account.passphrase += 1;
    let passphrase = account.passphrase;
    let mut secrets = relock.keys.iter().map(|(_, sealed)| sealed.clone());
    for ((number, key), sealed) in earlier.into_iter().zip(secrets.by_ref()) {
        let key = AccountKey { sealed, passphrase, ..key };
        change.put(RowKey::AccountKey((account.id, number)), Record::AccountKey(key.into()))?;
    }
    current.sealed = secrets.next().ok_or_else(missing)?;
    current.passphrase = passphrase;
    put(change, &relock.of, account)
}

/// Adds a certificate to the current key, before the earlier ones.
fn set_certificate(
    change: &mut Changing<'_>,
    set: &SetAccountCertificate,
) -> Result<Done, Rejection> {
    let id = owner(change, &set.of)?;
    let mut account = known(change, &set.of)?;
    let missing = || Rejection::AccountKeyMissing(set.of.address.clone());
    let key = account.key.as_mut().ok_or_else(missing)?;
    check_certificate(key, &set.certificate)?;
    if let Some(serial) = set.certificate.serial {
        let row = RowKey::IssuedCertificate((id, serial));
        if change.state.row(&row).is_some() {
            return Err(Rejection::Stale(row));
        }
        let not_after = set.certificate.certificate.not_after;
        let issued = IssuedCertificate { address: set.of.address.clone(), not_after };
        change.put(row, Record::IssuedCertificate(issued.into()))?;
    }
    key.certificates.insert(0, set.certificate.clone());
    // None is forgotten: messages name the certificate that they were encrypted to.
    check_count("certificates of a key", key.certificates.len(), KEY_CERTIFICATES_MAX)?;
    put(change, &set.of, account)
}

/// Revokes certificates of an account that its domain has issued.
fn revoke(change: &mut Changing<'_>, revoke: &RevokeAccountCertificate) -> Result<Done, Rejection> {
    let id = owner(change, &revoke.of)?;
    known(change, &revoke.of)?;
    check_count("certificates of a key", revoke.serials.len(), KEY_CERTIFICATES_MAX)?;
    let (address, time, reason) = (&revoke.of.address, change.command.time, revoke.reason);
    for serial in revoke.serials.iter().copied() {
        let issued = change.state.issued_certificate(id, serial);
        let issued = issued.filter(|issued| issued.address == *address);
        let unknown = || Rejection::SerialUnknown { address: address.clone(), serial };
        let not_after = issued.ok_or_else(unknown)?.not_after;
        if change.state.revocation(id, serial).is_some() {
            return Err(Rejection::CertificateRevoked(serial));
        }
        revocation::add(change, id, serial, Revocation { time, reason, not_after })?;
    }
    Ok(Done::Changed)
}

/// Rejects the loss of a name under which a domain has accounts: they would belong to no domain, or
/// to another. `is_kept` says which names it keeps.
pub(super) fn check_names_kept(
    change: &Changing<'_>,
    domain: &Domain,
    is_kept: impl Fn(&ServerName) -> bool,
) -> Result<(), Rejection> {
    let is_lost = |name: &ServerName| !is_kept(name);
    let has_accounts = |name: &ServerName| {
        name.as_domain_name()
            .is_some_and(|name| change.state.accounts_of_name(name, None).next().is_some())
    };
    match domain.server_names().filter(is_lost).find(has_accounts) {
        Some(name) => Err(Rejection::AccountsRemain(name)),
        None => Ok(()),
    }
}

/// Returns the domain to which an account belongs. It must be the one that admission found: limits
/// to domains were judged by it.
fn owner(change: &Changing<'_>, of: &AccountOf) -> Result<DomainId, Rejection> {
    let unknown = || Rejection::DomainUnknown(of.address.domain().clone());
    let domain = change.state.domain_of(&of.address).ok_or_else(unknown)?;
    match domain.name == of.domain {
        true => Ok(domain.id),
        false => Err(Rejection::Stale(RowKey::Domain(of.domain.clone()))),
    }
}

fn known(change: &Changing<'_>, of: &AccountOf) -> Result<Account, Rejection> {
    let unknown = || Rejection::AccountUnknown(of.address.clone());
    change.state.account(&of.address).cloned().ok_or_else(unknown)
}

/// Rejects a certificate of another key, and a chain above its bounds.
fn check_certificate(key: &AccountKey, one: &AccountCertificate) -> Result<(), Rejection> {
    let (key, certificate) = (key.public_key, one.certificate.public_key);
    if key != certificate {
        return Err(Rejection::CertificateOfOtherKey { key, certificate });
    }
    chain::check_bounds(&one.chain)
}

/// Stores an account as its next version.
fn put(change: &mut Changing<'_>, of: &AccountOf, mut account: Account) -> Result<Done, Rejection> {
    account.version.0 += 1;
    account.changed = change.stamp();
    change.put(RowKey::Account(of.address.clone()), Record::Account(account.into()))?;
    Ok(Done::Changed)
}

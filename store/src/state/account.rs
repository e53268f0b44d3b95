//! Queries about S/MIME issuers and accounts.

use std::ops::Bound;

use super::State;
use crate::{
    id::{AccountId, DomainId, DomainName, EmailAddress, SerialNumber, ServerName},
    record::{
        Account, AccountCertificate, AccountKey, AccountSettings, Domain, Invitation,
        IssuedCertificate, KeyPurpose, Principal, Record, Revocation, RevocationList, RowKey,
        SmimeIssuer,
    },
    time::UnixMillis,
};

impl Account {
    /// Returns the keys that the present passphrase opens: the earlier ones by number, then the
    /// current one.
    pub fn opened_together<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a AccountKey> {
        let earlier = state.earlier_keys(self.id).map(|(_, key)| key);
        earlier.chain(&self.key).filter(|key| key.passphrase == self.passphrase)
    }
}

impl State {
    /// Returns the S/MIME issuer of a domain, if it has one of its own.
    pub fn smime_issuer(&self, id: DomainId) -> Option<&SmimeIssuer> {
        match &self.row(&RowKey::SmimeIssuer(id))?.record {
            Record::SmimeIssuer(issuer) => Some(issuer),
            _ => None,
        }
    }

    /// Returns the S/MIME issuers of all domains that have one of their own.
    pub fn smime_issuers(&self) -> impl Iterator<Item = (DomainId, &SmimeIssuer)> {
        let first = RowKey::SmimeIssuer(DomainId([0; 16]));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::SmimeIssuer(id), Record::SmimeIssuer(issuer)) => Some((*id, &**issuer)),
            _ => None,
        })
    }

    /// Returns what a domain does for its accounts, if that is not the default.
    pub fn account_settings(&self, id: DomainId) -> Option<&AccountSettings> {
        match &self.row(&RowKey::AccountSettings(id))?.record {
            Record::AccountSettings(settings) => Some(settings),
            _ => None,
        }
    }

    /// Returns the domain to which an address belongs: the one that has the name after the `@`.
    pub fn domain_of(&self, address: &EmailAddress) -> Option<&Domain> {
        self.domain(self.name_owner(&ServerName::from(address.domain().clone()))?)
    }

    /// Returns an account.
    pub fn account(&self, address: &EmailAddress) -> Option<&Account> {
        match &self.row(&RowKey::Account(address.clone()))?.record {
            Record::Account(account) => Some(account),
            _ => None,
        }
    }

    /// Returns the invitation that the owner of an account can use now: one ends at its time, and
    /// with the token or user who made it.
    pub fn open_invitation<'a>(
        &self,
        account: &'a Account,
        now: UnixMillis,
    ) -> Option<&'a Invitation> {
        let invitation = account.invitation.as_ref().filter(|one| now <= one.expires)?;
        let is_there = match &invitation.by {
            Principal::Token { id, .. } => {
                self.access_token(id).is_some_and(|one| one.expires.is_none_or(|ends| now <= ends))
            }
            Principal::User { name, .. } | Principal::UserByCertificate { name, .. } => {
                self.user(name).is_some()
            }
            _ => true,
        };
        is_there.then_some(invitation)
    }

    /// Returns the certificate to which messages for an account are encrypted now: of its current
    /// key, unless that is for signing only, the latest certificate that is valid and not revoked.
    /// Earlier keys are for reading earlier messages alone.
    pub fn receiving_certificate(
        &self,
        address: &EmailAddress,
        now: UnixMillis,
    ) -> Option<&AccountCertificate> {
        let key = self.account(address)?.key.as_ref()?;
        let domain = self.domain_of(address)?;
        let is_usable = |one: &&AccountCertificate| {
            let valid = one.certificate.not_before..=one.certificate.not_after;
            let revoked = one.serial.and_then(|serial| self.revocation(domain.id, serial));
            valid.contains(&now) && revoked.is_none()
        };
        key.certificates.iter().find(is_usable).filter(|_| key.purpose != KeyPurpose::Sign)
    }

    /// Returns the number of accounts.
    pub fn account_count(&self) -> u64 {
        self.derived.account_count()
    }

    /// Returns the accounts with this name after the `@`, those after `address` or all, in the order
    /// of their addresses.
    pub fn accounts_of_name<'a>(
        &'a self,
        name: DomainName,
        after: Option<&EmailAddress>,
    ) -> impl Iterator<Item = (&'a EmailAddress, &'a Account)> + use<'a> {
        let lowest = EmailAddress::lowest_of(name.clone());
        let first = match after.filter(|after| **after > lowest) {
            Some(after) => Bound::Excluded(RowKey::Account(after.clone())),
            None => Bound::Included(RowKey::Account(lowest)),
        };
        self.rows.range((first, Bound::Unbounded)).map_while(move |(key, row)| {
            match (key, &row.record) {
                (RowKey::Account(address), Record::Account(account))
                    if *address.domain() == name =>
                {
                    Some((address, &**account))
                }
                _ => None,
            }
        })
    }

    /// Returns the accounts of a domain under all its names, those after `address` or all, in the
    /// order of their addresses: the next page of a listing.
    pub fn accounts_of<'a>(
        &'a self,
        domain: &Domain,
        after: Option<&EmailAddress>,
    ) -> impl Iterator<Item = (&'a EmailAddress, &'a Account)> + use<'a> {
        let names = domain.server_names().filter_map(|name| name.as_domain_name());
        let mut names: Vec<DomainName> = names.collect();
        names.sort_unstable();
        let is_left = |name: &DomainName| after.is_none_or(|after| name >= after.domain());
        let names = names.into_iter().filter(is_left).collect::<Vec<_>>();
        let after = after.cloned();
        names.into_iter().flat_map(move |name| self.accounts_of_name(name, after.as_ref()))
    }

    /// Returns the earlier keys of an account with their numbers, the oldest first.
    pub fn earlier_keys(&self, id: AccountId) -> impl Iterator<Item = (u32, &AccountKey)> {
        let first = RowKey::AccountKey((id, 0));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::AccountKey((found, number)), Record::AccountKey(key)) if *found == id => {
                Some((*number, &**key))
            }
            _ => None,
        })
    }

    /// Returns a certificate that a domain has issued.
    pub fn issued_certificate(
        &self,
        id: DomainId,
        serial: SerialNumber,
    ) -> Option<&IssuedCertificate> {
        match &self.row(&RowKey::IssuedCertificate((id, serial)))?.record {
            Record::IssuedCertificate(issued) => Some(issued),
            _ => None,
        }
    }

    /// Returns the revocation of a certificate that a domain has issued.
    pub fn revocation(&self, id: DomainId, serial: SerialNumber) -> Option<Revocation> {
        match self.row(&RowKey::Revocation((id, serial)))?.record {
            Record::Revocation(revocation) => Some(revocation),
            _ => None,
        }
    }

    /// Returns the revoked certificates of a domain, by serial number.
    pub fn revocations(&self, id: DomainId) -> impl Iterator<Item = (SerialNumber, Revocation)> {
        let first = RowKey::Revocation((id, SerialNumber([0; 16])));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::Revocation((found, serial)), Record::Revocation(revocation))
                if *found == id =>
            {
                Some((*serial, *revocation))
            }
            _ => None,
        })
    }

    /// Returns the state of a domain's revocation list.
    pub fn revocation_list(&self, id: DomainId) -> RevocationList {
        match self.row(&RowKey::RevocationList(id)).map(|row| &row.record) {
            Some(Record::RevocationList(list)) => *list,
            _ => RevocationList::default(),
        }
    }
}

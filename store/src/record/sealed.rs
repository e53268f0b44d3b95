//! The sealed secrets of rows, of whatever kind, for sealing them anew.

use std::sync::Arc;

use super::{Domain, EarlierVersion, Record, Sealed};
use crate::id::Generation;

impl Record {
    /// Returns the oldest generation of the keyring that is needed for a secret of this row; `None`
    /// if it has no secret, or one that never moves to a later generation: a session key leaves
    /// together with its generation, because a removed node may know it.
    pub fn oldest_generation(&self) -> Option<Generation> {
        match self {
            Record::DomainVersion(earlier) => earlier.oldest_generation(),
            Record::Domain(domain) => domain.oldest_generation(),
            Record::Cluster(cluster) => Some(cluster.authority_key.generation),
            Record::JoinToken(token) => Some(token.secret.generation),
            Record::PendingKey(key) => Some(key.sealed.generation),
            Record::Canary(canary) => canary.domain.oldest_generation(),
            Record::User(user) => user.code.as_ref().map(|code| code.generation),
            Record::SmimeIssuer(issuer) => Some(issuer.key.sealed.generation),
            Record::AccountSettings(settings) => {
                settings.recovery_key.as_ref().map(|key| key.sealed.generation)
            }
            Record::Account(account) => {
                let key = account.key.iter().map(|key| key.sealed.generation);
                key.chain(account.invitation.iter().map(|one| one.sealed.generation)).min()
            }
            Record::AccountKey(key) => Some(key.sealed.generation),
            _ => None,
        }
    }

    /// Returns all secrets of this row, in a fixed order.
    pub fn sealed(&self) -> Vec<Sealed> {
        let mut record = self.clone();
        let mut found = Vec::new();
        record.each_sealed(&mut |sealed| found.push(sealed.clone()));
        found
    }

    /// Returns the row with other secrets, in the order of [`Self::sealed`]; `None` if their number
    /// differs.
    pub fn with_sealed(&self, secrets: &[Sealed]) -> Option<Record> {
        let mut record = self.clone();
        let mut count = 0;
        record.each_sealed(&mut |sealed| {
            if let Some(secret) = secrets.get(count) {
                sealed.clone_from(secret);
            }
            count += 1;
        });
        (count == secrets.len()).then_some(record)
    }

    fn each_sealed(&mut self, visit: &mut dyn FnMut(&mut Sealed)) {
        let of = |domain: &mut Domain, visit: &mut dyn FnMut(&mut Sealed)| {
            domain.credentials.iter_mut().for_each(|one| visit(&mut one.key.sealed));
        };
        match self {
            Record::Cluster(cluster) => visit(&mut Arc::make_mut(cluster).authority_key),
            Record::JoinToken(token) => visit(&mut Arc::make_mut(token).secret),
            Record::Domain(domain) => of(Arc::make_mut(domain), visit),
            Record::DomainVersion(earlier) => {
                let Some(mut domain) = earlier.domain() else { return };
                of(&mut domain, visit);
                // A domain that was decoded can be encoded.
                if let Ok(packed) = EarlierVersion::of(&domain) {
                    *earlier = packed;
                }
            }
            Record::SessionKey(key) => visit(&mut Arc::make_mut(key).sealed),
            Record::PendingKey(key) => visit(&mut Arc::make_mut(key).sealed),
            Record::Canary(canary) => {
                of(Arc::make_mut(&mut Arc::make_mut(canary).domain), visit);
            }
            Record::User(user) => Arc::make_mut(user).code.iter_mut().for_each(visit),
            Record::SmimeIssuer(issuer) => visit(&mut Arc::make_mut(issuer).key.sealed),
            Record::AccountSettings(settings) => {
                let key = &mut Arc::make_mut(settings).recovery_key;
                key.iter_mut().for_each(|key| visit(&mut key.sealed));
            }
            Record::Account(account) => {
                let account = Arc::make_mut(account);
                account.key.iter_mut().for_each(|key| visit(&mut key.sealed));
                account.invitation.iter_mut().for_each(|one| visit(&mut one.sealed));
            }
            Record::AccountKey(key) => visit(&mut Arc::make_mut(key).sealed),
            _ => {}
        }
    }
}

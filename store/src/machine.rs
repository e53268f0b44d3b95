//! Rules of State: checks a command and applies it.

mod account;
mod audit;
mod authority;
mod backup;
mod canary;
mod certificate;
mod chain;
mod client_auth;
mod cluster;
mod domain;
mod history;
mod join_token;
mod key;
mod keyring;
mod level;
mod listener;
mod member;
mod operation;
mod pending_key;
mod recover;
mod revocation;
mod session_key;
mod smime;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod trust;
mod unchanged;
mod user;

use std::sync::Arc;

pub use audit::facts;
pub use backup::is_restorable;
pub use level::GRANTS_LEVEL;
pub use recover::recovered;

use crate::{
    change::Change,
    command::{Action, Command},
    id::{DomainName, LogIndex},
    outcome::{Done, Outcome, Rejection},
    record::{Credential, Domain, KeyFamily, Record, RowKey, Stamp},
    state::State,
};

/// Result of applying one command.
pub struct Applied {
    /// State after the command; unchanged if the command was rejected.
    pub state: State,
    /// The answer to the caller.
    pub outcome: Outcome,
    /// Changed rows, for the disk and the live index.
    pub changes: Vec<Change>,
}

/// Applies `command` at position `index` in the order of its scope. Cannot fail: a refusal is an
/// outcome. Reads nothing but its arguments, so that every node computes the same result.
pub fn apply(state: &State, index: LogIndex, command: &Command) -> Applied {
    let (before, changes) = (state, Vec::new());
    let mut change = Changing { before, state: state.clone(), changes, index, command };
    match change.command_outcome() {
        Ok(done) => {
            Applied { state: change.state, outcome: Outcome::Done(done), changes: change.changes }
        }
        Err(rejection) => Applied {
            state: state.clone(),
            outcome: Outcome::Rejected(rejection),
            changes: Vec::new(),
        },
    }
}

/// A command being applied, with the State and the changes so far.
struct Changing<'a> {
    before: &'a State,
    state: State,
    changes: Vec<Change>,
    index: LogIndex,
    command: &'a Command,
}

impl Changing<'_> {
    fn command_outcome(&mut self) -> Result<Done, Rejection> {
        if let Some(done) = operation::repeated(&self.state, self.command)? {
            return Ok(done);
        }
        for expected in &self.command.expects {
            if self.state.expectation(expected.key.clone()) != *expected {
                return Err(Rejection::Stale(expected.key.clone()));
            }
        }
        keyring::check_generations(&self.state, &self.command.action)?;
        let done = self.action_outcome()?;
        token::count_use(self)?;
        audit::tell(self)?;
        level::remove_left_over(self)?;
        operation::remember(self, &done)?;
        Ok(done)
    }

    fn action_outcome(&mut self) -> Result<Done, Rejection> {
        let command = self.command;
        level::check(self, &command.action)?;
        match &command.action {
            Action::FoundCluster(found) => cluster::found(self, found),
            Action::CreateJoinToken(id, token) => join_token::create(self, *id, token),
            Action::RedeemJoinToken(redeem) => join_token::redeem(self, redeem),
            Action::CreateAccessToken(id, token) => token::create(self, *id, token),
            Action::RevokeAccessToken(id) => token::revoke(self, *id),
            Action::RotateKeyring(rotate) => keyring::rotate(self, rotate),
            Action::CreateDomain(create) => domain::create(self, create),
            Action::SetDomain(set) => domain::set(self, set),
            Action::DeleteDomain(name) => domain::delete(self, name),
            Action::SetKey(name, new) => key::set(self, name, new),
            Action::RemoveKey(name, family) => key::remove(self, name, *family),
            Action::SetCertificate(set) => certificate::set(self, set),
            Action::RemoveCertificate(name, family) => certificate::remove(self, name, *family),
            Action::SetChain(name, family, found) => chain::set(self, name, *family, found),
            Action::RemoveChain(name, family) => chain::remove(self, name, *family),
            Action::AddListener(new) => listener::add(self, new),
            Action::RemoveListener(name) => listener::remove(self, name),
            Action::RenameDomain(name, new) => domain::rename(self, name, new),
            Action::RollbackDomain(name, version) => history::rollback(self, name, *version),
            Action::AddTrusted(owner, found) => trust::add(self, owner.as_ref(), found),
            Action::SetMainDomain(id, name) => domain::set_main(self, *id, name),
            Action::RemoveTrusted(owner, found) => trust::remove(self, owner.as_ref(), found),
            Action::SetClientAuth(name, asked) => client_auth::set(self, name, *asked),
            Action::SetTlsSettings(settings) => tls::set(self, settings),
            Action::FlushSessions => tls::flush(self),
            Action::PublishSessionKey(of, id, key) => session_key::publish(self, *of, *id, key),
            Action::ActivateSessionKey(of, id) => session_key::activate(self, *of, *id),
            Action::SetLevel(level) => level::set(self, *level),
            Action::AddCrlPart(owner, part) => trust::add_crl_part(self, owner.as_ref(), part),
            Action::AddLongCrl(owner, found) => trust::add_long_crl(self, owner.as_ref(), found),
            Action::SetPendingKey(name, key) => pending_key::set(self, name, key),
            Action::RemovePendingKey(name, family) => pending_key::remove(self, name, *family),
            Action::SetListener(listener) => listener::set(self, listener),
            Action::PutListener(put) => listener::put_with_policy(self, put),
            Action::Join(join) => member::join(self, join),
            Action::RemoveMember(remove) => member::remove(self, remove),
            Action::SetMember(set) => member::set(self, set),
            Action::TurnKeyring(turn) => keyring::turn(self, turn),
            Action::Reseal(reseal) => keyring::reseal(self, reseal),
            Action::RotateAuthority(rotate) => authority::rotate(self, rotate),
            Action::ForgetAuthority => authority::forget(self),
            Action::DropGenerations(current) => keyring::drop_before(self, *current),
            Action::AddAccessToken(id, token, proof) => token::add(self, *id, token, *proof),
            Action::NoteBackup(backup) => backup::note(self, *backup),
            Action::BeginRestore => backup::begin(self),
            Action::RestoreRows(rows) => backup::restore(self, rows),
            Action::FinishRestore => backup::finish(self),
            Action::StartCanary(start) => canary::start(self, start),
            Action::EndCanary(name, is_promoted) => canary::end(self, name, *is_promoted),
            Action::GrantToken(grant) => token::grant(self, grant),
            Action::RevokeTokens(revoke) => token::revoke_all(self, revoke),
            Action::PutUser(put) => user::put(self, put),
            Action::RemoveUser(name) => user::remove(self, name),
            Action::NoteAudit(events) => audit::note(self, events),
            Action::CutAudit(cut) => audit::cut(self, cut),
            Action::KeepAudit(count) => audit::keep(self, *count),
            Action::Account(action) => account::outcome(self, action),
        }
    }

    fn put(&mut self, key: RowKey, record: Record) -> Result<(), Rejection> {
        let change = self.state.put(key, record, self.index).map_err(|_| too_large())?;
        self.changes.push(change);
        Ok(())
    }

    fn remove(&mut self, key: &RowKey) -> Result<(), Rejection> {
        let change = self.state.remove(key).map_err(|_| too_large())?;
        self.changes.extend(change);
        Ok(())
    }

    /// Returns a copy of a domain, or a rejection if it does not exist.
    fn domain(&self, name: &DomainName) -> Result<Domain, Rejection> {
        self.state.domain(name).cloned().ok_or_else(|| Rejection::DomainUnknown(name.clone()))
    }

    /// Stores a changed domain as its next version. The same content makes no version.
    fn put_domain(&mut self, domain: Domain) -> Result<Done, Rejection> {
        let present = self.state.domain(&domain.name).filter(|_| self.skips_same());
        match present.filter(|present| present.has_content_of(&domain)) {
            Some(present) => {
                Ok(Done::Domain { name: present.name.clone(), version: present.version })
            }
            None => self.put_version(domain),
        }
    }

    /// Returns whether a command that changes nothing makes no version. Members of version 0.2.0
    /// make one, so the rule begins with level 2.
    fn skips_same(&self) -> bool {
        self.state.level() >= 2
    }

    /// Stores a domain as its next version. The previous version goes into its history.
    fn put_version(&mut self, domain: Domain) -> Result<Done, Rejection> {
        let stamp = self.stamp();
        self.put_version_by(domain, stamp)
    }

    /// The same, with another stamp than that of the command.
    fn put_version_by(&mut self, mut domain: Domain, stamp: Stamp) -> Result<Done, Rejection> {
        // Held first: if the oldest version is the last one with a chain that this version has, the
        // chain must outlive it. Level 0 did it the other way round and lost such a chain; members
        // of version 0.1.0 still do, so the order must not change for them.
        let holds_first = self.state.level() >= 1;
        if holds_first {
            chain::hold(self, &domain)?;
        }
        history::keep(self, domain.id, &domain.name)?;
        if !holds_first {
            chain::hold(self, &domain)?;
        }
        // After the hold, so that a chain which both have is not removed.
        canary::drop_of(self, &domain.name)?;
        domain.version.0 += 1;
        domain.changed = stamp;
        let done = Done::Domain { name: domain.name.clone(), version: domain.version };
        self.put(RowKey::Domain(domain.name.clone()), Record::Domain(Arc::new(domain)))?;
        Ok(done)
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            time: self.command.time,
            principal: self.command.principal.clone(),
            reason: self.command.reason.clone(),
        }
    }
}

/// Returns the credential of a key family, or a rejection if the domain has no such key.
fn credential(domain: &mut Domain, family: KeyFamily) -> Result<&mut Credential, Rejection> {
    let missing = Rejection::KeyMissing(domain.name.clone());
    domain.credential_mut(family).ok_or(missing)
}

/// Rejects a row above its bound. Commands are bounded, so only a bug leads here.
fn too_large() -> Rejection {
    too_many("bytes in one row", crate::limits::ROW_BYTES_MAX)
}

fn too_many(what: &str, max: usize) -> Rejection {
    Rejection::TooMany { what: what.to_owned(), max: u64::try_from(max).unwrap_or(u64::MAX) }
}

fn check_count(what: &str, count: usize, max: usize) -> Result<(), Rejection> {
    if count > max { Err(too_many(what, max)) } else { Ok(()) }
}

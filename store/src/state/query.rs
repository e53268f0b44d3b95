//! Typed queries on State.

use std::{ops::Bound, sync::Arc};

use serde_bytes::ByteBuf;

use super::{OperationAge, State};
use crate::{
    command::Expectation,
    id::{
        DomainId, DomainName, Fingerprint, Generation, ListenerName, LogIndex, NodeId, OperationId,
        ServerName, SessionKeyId, TokenId, UserId, UserName, Version,
    },
    record::{
        AccessToken, Canary, Chain, Cluster, Credential, DepartedMember, Domain, DomainKey,
        EarlierAuthority, Grant, JoinToken, KeyFamily, KeyringGeneration, LastBackup, Listener,
        ListenerPolicy, Member, MemberPlace, Operation, OperationMemory, Proof, ProofOf, Record,
        RowKey, SessionKey, SessionKeyUse, TlsSettings, TrustSet, Trusted, User,
    },
};

/// Defines a reader for one row of a kind, and optionally one for all rows of that kind in order.
macro_rules! read {
    ($(#[$doc:meta])* $one:ident($key:ty) -> $record:ty, $kind:ident) => {
        $(#[$doc])*
        pub fn $one(&self, key: &$key) -> Option<&$record> {
            match &self.row(&RowKey::$kind(key.clone()))?.record {
                Record::$kind(record) => Some(record),
                _ => None,
            }
        }
    };
    ($(#[$doc:meta])* $one:ident($key:ty), $(#[$all_doc:meta])* $all:ident -> $record:ty, $kind:ident, $first:expr) => {
        read!($(#[$doc])* $one($key) -> $record, $kind);

        $(#[$all_doc])*
        pub fn $all(&self) -> impl Iterator<Item = (&$key, &$record)> {
            self.rows
                .range(RowKey::$kind($first)..)
                .map_while(|(key, row)| match (key, &row.record) {
                    (RowKey::$kind(key), Record::$kind(record)) => {
                        let record: &$record = record;
                        Some((key, record))
                    }
                    _ => None,
                })
        }
    };
}

impl State {
    /// Returns the cluster, if it has been founded.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.row(&RowKey::Cluster)?.record {
            Record::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    read!(
        /// Returns a member.
        member(NodeId),
        /// Returns all members, by number.
        members -> Member, Member, NodeId(0)
    );
    read!(
        /// Returns a generation of the keyring.
        generation(Generation),
        /// Returns all generations, oldest first.
        generations -> KeyringGeneration, Generation, Generation(0)
    );
    read!(
        /// Returns a join token.
        join_token(TokenId),
        /// Returns all join tokens.
        join_tokens -> JoinToken, JoinToken, TokenId([0; 8])
    );
    read!(
        /// Returns an access token.
        access_token(TokenId),
        /// Returns all access tokens.
        access_tokens -> AccessToken, AccessToken, TokenId([0; 8])
    );
    read!(
        /// Returns a CA chain.
        chain(Fingerprint) -> Chain, Chain
    );
    /// Returns the level of the rules, see [`crate::record::LEVEL_MAX`].
    pub fn level(&self) -> u32 {
        match self.row(&RowKey::Level).map(|row| &row.record) {
            Some(Record::Level(level)) => *level,
            _ => 0,
        }
    }

    /// Returns the owner of a server name.
    pub fn name_owner(&self, name: &ServerName) -> Option<&DomainName> {
        self.derived.name_owner(name)
    }

    /// Returns the rows used at level 0 only.
    pub(crate) fn left_over_rows(&self) -> impl Iterator<Item = &RowKey> {
        let names = self.rows.range(RowKey::Name(ServerName::lowest())..);
        let ages = self.rows.range(RowKey::OperationAge(LogIndex(0))..);
        let names = names.map(|(key, _)| key).take_while(|key| matches!(key, RowKey::Name(_)));
        let ages = ages.map(|(key, _)| key);
        names.chain(ages.take_while(|key| matches!(key, RowKey::OperationAge(_))))
    }

    read!(
        /// Returns a finished operation.
        operation(OperationId) -> Operation, Operation
    );
    read!(
        /// Returns a listener.
        listener(ListenerName),
        /// Returns all listeners, by name.
        listeners -> Listener, Listener, ListenerName::lowest()
    );

    /// Returns which clients a listener takes.
    pub fn listener_policy(&self, name: &ListenerName) -> ListenerPolicy {
        match self.row(&RowKey::ListenerPolicy(name.clone())).map(|row| &row.record) {
            Some(Record::ListenerPolicy(policy)) => *policy,
            _ => ListenerPolicy::default(),
        }
    }

    /// Returns the TLS settings, or the defaults if they were never changed.
    pub fn tls_settings(&self) -> TlsSettings {
        match self.row(&RowKey::TlsSettings).map(|row| &row.record) {
            Some(Record::TlsSettings(settings)) => TlsSettings::clone(settings),
            _ => TlsSettings::default(),
        }
    }

    /// Returns the session keys of one use.
    pub fn session_keys(
        &self,
        wanted: SessionKeyUse,
    ) -> impl Iterator<Item = (SessionKeyId, &SessionKey)> {
        let first = RowKey::SessionKey((wanted, SessionKeyId([0; 8])));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::SessionKey((found, id)), Record::SessionKey(key)) if *found == wanted => {
                Some((*id, &**key))
            }
            _ => None,
        })
    }

    /// Returns the session key that nodes seal with: the one activated last. The order of commands
    /// decides which one that is, not their times, since clocks differ and jump.
    pub fn active_session_key(&self, wanted: SessionKeyUse) -> Option<(SessionKeyId, &SessionKey)> {
        let keys = self.session_keys(wanted).filter(|(_, key)| key.active.is_some());
        keys.max_by_key(|(id, key)| {
            let row = self.row(&RowKey::SessionKey((wanted, *id)));
            // The last change of an active key is its activation.
            (row.map(|row| row.changed_at), key.active)
        })
    }

    read!(
        /// Returns the name of a member's Main Domain.
        main_domain(NodeId),
        /// Returns all Main Domains, by member.
        main_domains -> DomainName, MainDomain, NodeId(0)
    );

    /// Returns a domain, by its name.
    pub fn domain(&self, name: &DomainName) -> Option<&Domain> {
        self.domain_shared(name).map(|domain| &**domain)
    }

    /// Returns a domain for keeping it without a copy. The pointer is the same as long as the
    /// domain does not change.
    pub fn domain_shared(&self, name: &DomainName) -> Option<&Arc<Domain>> {
        match &self.row(&RowKey::Domain(name.clone()))?.record {
            Record::Domain(domain) => Some(domain),
            _ => None,
        }
    }

    /// Returns the CA chain sent after a certificate, its issuer first; empty if there is none.
    pub fn sent_chain(&self, credential: &Credential) -> &[ByteBuf] {
        let chain = credential.chain.and_then(|fingerprint| self.chain(&fingerprint));
        chain.map(|chain| chain.certificates.as_slice()).unwrap_or_default()
    }

    /// Returns all domains, by name.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains_after(None)
    }

    /// Returns the domains after `name`, or all domains, in the order of their names: the next page
    /// of a listing.
    pub fn domains_after<'a>(
        &'a self,
        name: Option<&DomainName>,
    ) -> impl Iterator<Item = &'a Domain> + use<'a> {
        let first = match name {
            Some(name) => Bound::Excluded(RowKey::Domain(name.clone())),
            None => Bound::Included(RowKey::Domain(DomainName::lowest())),
        };
        let bounds = (first, Bound::Unbounded);
        self.rows.range(bounds).map_while(|(_, row)| match &row.record {
            Record::Domain(domain) => Some(&**domain),
            _ => None,
        })
    }

    /// Returns earlier versions of a domain, oldest first.
    pub fn domain_versions(&self, id: DomainId) -> impl Iterator<Item = Domain> {
        let first = RowKey::DomainVersion((id, Version(0)));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::DomainVersion((found, _)), Record::DomainVersion(version)) if *found == id => {
                version.domain()
            }
            _ => None,
        })
    }

    /// Returns the numbers of the earlier versions of a domain, oldest first.
    pub(crate) fn version_numbers(&self, id: DomainId) -> impl Iterator<Item = Version> {
        let first = RowKey::DomainVersion((id, Version(0)));
        self.rows.range(first..).map_while(move |(key, _)| match key {
            RowKey::DomainVersion((found, version)) if *found == id => Some(*version),
            _ => None,
        })
    }

    /// Returns the keys of a domain that wait for their certificates, at most one of each family.
    pub fn pending_keys(&self, id: DomainId) -> impl Iterator<Item = &DomainKey> {
        let first = RowKey::PendingKey((id, KeyFamily::Ec));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::PendingKey((found, _)), Record::PendingKey(key)) if *found == id => {
                Some(&**key)
            }
            _ => None,
        })
    }

    read!(
        /// Returns the canary of a domain.
        canary(DomainName),
        /// Returns all canaries, by the names of their domains.
        canaries -> Canary, Canary, DomainName::lowest()
    );
    read!(
        /// Returns what the holder of an access token may do.
        grant(TokenId),
        /// Returns all grants of access tokens.
        grants -> Grant, Grant, TokenId([0; 8])
    );
    read!(
        /// Returns a user.
        user(UserName),
        /// Returns all users, by name.
        users -> User, User, UserName::lowest()
    );

    /// Returns the tokens that logins have made, each with its user.
    pub fn sessions(&self) -> impl Iterator<Item = (TokenId, UserId)> {
        self.grants().filter_map(|(id, grant)| Some((*id, grant.user?)))
    }

    /// Returns the number of changes that an access token may still make; `None`: no bound.
    pub fn token_uses(&self, id: &TokenId) -> Option<u32> {
        match self.row(&RowKey::TokenUses(*id))?.record {
            Record::TokenUses(left) => Some(left),
            _ => None,
        }
    }

    /// Returns an earlier version of a domain.
    pub(crate) fn domain_version(&self, id: DomainId, version: Version) -> Option<Domain> {
        match &self.row(&RowKey::DomainVersion((id, version)))?.record {
            Record::DomainVersion(version) => version.domain(),
            _ => None,
        }
    }

    /// Returns the certificates of a set, by their hash.
    pub fn trusted<'a>(
        &'a self,
        set: &TrustSet,
    ) -> impl Iterator<Item = (Fingerprint, &'a Trusted)> + use<'a> {
        let set = set.clone();
        let first = RowKey::Trusted((set.clone(), Fingerprint([0; 32])));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::Trusted((found, fingerprint)), Record::Trusted(trusted)) if *found == set => {
                Some((*fingerprint, &**trusted))
            }
            _ => None,
        })
    }

    /// Returns the remembered operation of the lowest index, by the rows of level 0.
    pub(crate) fn oldest_operation_row(&self) -> Option<(LogIndex, OperationId)> {
        let (key, row) = self.rows.range(RowKey::OperationAge(LogIndex(0))..).next()?;
        match (key, &row.record) {
            (RowKey::OperationAge(index), Record::OperationAge(id)) => Some((*index, id.clone())),
            _ => None,
        }
    }

    /// Returns the number of remembered operations.
    pub fn operation_count(&self) -> usize {
        self.derived.ages().len()
    }

    /// Returns the remembered operation of the lowest time.
    pub(crate) fn oldest_operation(&self) -> Option<&OperationAge> {
        self.derived.ages().get_min()
    }

    /// Returns the remembered operation of the highest time.
    pub(crate) fn newest_operation(&self) -> Option<&OperationAge> {
        self.derived.ages().get_max()
    }

    /// Returns the summary of the forgotten operations; `None` if no operation was forgotten.
    pub fn operation_memory(&self) -> Option<OperationMemory> {
        match self.row(&RowKey::OperationMemory)?.record {
            Record::OperationMemory(memory) => Some(memory),
            _ => None,
        }
    }

    /// Returns the number of rows that need a generation of the keyring before `current`, and the
    /// oldest of these generations.
    pub fn rows_before_generation(&self, current: Generation) -> (u64, Option<Generation>) {
        let before = self.derived.generations().range(..current);
        (before.clone().map(|(_, count)| count).sum(), before.map(|(id, _)| *id).next())
    }

    /// Returns a proof.
    pub fn proof(&self, of: ProofOf) -> Option<Proof> {
        match self.row(&RowKey::Proof(of))?.record {
            Record::Proof(proof) => Some(proof),
            _ => None,
        }
    }

    /// Returns whether a row is older than the rule that demands a proof for its kind.
    pub fn is_older_than_proofs(&self, key: &RowKey) -> bool {
        if self.level() < 3 {
            return true;
        }
        let index = |key| self.row(key).map(|row| row.changed_at);
        index(key).is_some_and(|changed_at| index(&RowKey::ProofsBegin) > Some(changed_at))
    }

    /// Returns where a member stands.
    pub fn member_place(&self, id: NodeId) -> MemberPlace {
        match self.row(&RowKey::MemberPlace(id)).map(|row| &row.record) {
            Some(Record::MemberPlace(place)) => MemberPlace::clone(place),
            _ => MemberPlace::default(),
        }
    }

    read!(
        /// Returns a member that has left.
        departed_member(NodeId),
        /// Returns the members that have left, by number.
        departed_members -> DepartedMember, DepartedMember, NodeId(0)
    );

    /// Returns the authority before the present one, while it is trusted.
    pub fn earlier_authority(&self) -> Option<&EarlierAuthority> {
        match &self.row(&RowKey::EarlierAuthority)?.record {
            Record::EarlierAuthority(earlier) => Some(earlier),
            _ => None,
        }
    }

    /// Returns the last backup.
    pub fn last_backup(&self) -> Option<LastBackup> {
        match self.row(&RowKey::LastBackup)?.record {
            Record::LastBackup(backup) => Some(backup),
            _ => None,
        }
    }

    /// Returns whether a backup is being restored.
    pub fn is_restoring(&self) -> bool {
        self.row(&RowKey::Restoring).is_some()
    }

    /// Returns the current change index of a row, for a command derived from the row.
    pub fn expectation(&self, key: RowKey) -> Expectation {
        let changed_at = self.row(&key).map(|row| row.changed_at);
        Expectation { key, changed_at }
    }
}

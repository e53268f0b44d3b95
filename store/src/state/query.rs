//! Reading State by meaning.

use std::{ops::Bound, sync::Arc};

use serde_bytes::ByteBuf;

use super::{OperationAge, State};
use crate::{
    command::Expectation,
    id::{
        DomainId, DomainName, Fingerprint, Generation, ListenerName, LogIndex, NodeId, OperationId,
        ServerName, SessionKeyId, TokenId, Version,
    },
    record::{
        AccessToken, Chain, Cluster, Credential, Crl, Domain, JoinToken, KeyringGeneration,
        Listener, Member, Operation, OperationMemory, Record, RowKey, SessionKey, SessionKeyUse,
        TlsSettings, TrustSet, Trusted,
    },
};

/// A reader for one kind of row, and one for all rows of that kind in order.
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
    /// The cluster, once it is founded.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.row(&RowKey::Cluster)?.record {
            Record::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    read!(
        /// A member.
        member(NodeId),
        /// All members, by number.
        members -> Member, Member, NodeId(0)
    );
    read!(
        /// A generation of the keyring.
        generation(Generation),
        /// All generations, oldest first.
        generations -> KeyringGeneration, Generation, Generation(0)
    );
    read!(
        /// A join token.
        join_token(TokenId),
        /// All join tokens.
        join_tokens -> JoinToken, JoinToken, TokenId([0; 8])
    );
    read!(
        /// An access token.
        access_token(TokenId),
        /// All access tokens.
        access_tokens -> AccessToken, AccessToken, TokenId([0; 8])
    );
    read!(
        /// A CA chain.
        chain(Fingerprint) -> Chain, Chain
    );
    /// Level of the rules, see [`crate::record::LEVEL_MAX`].
    pub fn level(&self) -> u32 {
        match self.row(&RowKey::Level).map(|row| &row.record) {
            Some(Record::Level(level)) => *level,
            _ => 0,
        }
    }

    /// The domain that owns a server name.
    pub fn name_owner(&self, name: &ServerName) -> Option<&DomainName> {
        self.derived.name_owner(name)
    }

    /// Rows that are written and read at level 0 only.
    pub(crate) fn left_over_rows(&self) -> impl Iterator<Item = &RowKey> {
        let names = self.rows.range(RowKey::Name(ServerName::lowest())..);
        let ages = self.rows.range(RowKey::OperationAge(LogIndex(0))..);
        let names = names.map(|(key, _)| key).take_while(|key| matches!(key, RowKey::Name(_)));
        let ages = ages.map(|(key, _)| key);
        names.chain(ages.take_while(|key| matches!(key, RowKey::OperationAge(_))))
    }

    read!(
        /// A finished operation.
        operation(OperationId) -> Operation, Operation
    );
    read!(
        /// A listener.
        listener(ListenerName),
        /// All listeners, by name.
        listeners -> Listener, Listener, ListenerName::lowest()
    );

    /// TLS settings; the defaults until somebody changes them.
    pub fn tls_settings(&self) -> TlsSettings {
        match self.row(&RowKey::TlsSettings).map(|row| &row.record) {
            Some(Record::TlsSettings(settings)) => TlsSettings::clone(settings),
            _ => TlsSettings::default(),
        }
    }

    /// The session keys of one use.
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

    /// The session key that nodes seal with: the one activated last. What comes last is said by the
    /// order of commands and not by their times, since clocks differ and jump.
    pub fn active_session_key(&self, wanted: SessionKeyUse) -> Option<(SessionKeyId, &SessionKey)> {
        let keys = self.session_keys(wanted).filter(|(_, key)| key.active.is_some());
        keys.max_by_key(|(id, key)| {
            let row = self.row(&RowKey::SessionKey((wanted, *id)));
            // Its activation is the last change of an active key.
            (row.map(|row| row.changed_at), key.active)
        })
    }

    /// The revocation lists of a set, by the hash of their issuer's name.
    pub fn crls<'a>(
        &'a self,
        set: &TrustSet,
    ) -> impl Iterator<Item = (Fingerprint, &'a Crl)> + use<'a> {
        let set = set.clone();
        let first = RowKey::Crl((set.clone(), Fingerprint([0; 32])));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::Crl((found, issuer)), Record::Crl(crl)) if *found == set => {
                Some((*issuer, &**crl))
            }
            _ => None,
        })
    }

    read!(
        /// The name of a member's Main Domain.
        main_domain(NodeId),
        /// All Main Domains, by member.
        main_domains -> DomainName, MainDomain, NodeId(0)
    );

    /// A domain, by its name.
    pub fn domain(&self, name: &DomainName) -> Option<&Domain> {
        self.domain_shared(name).map(|domain| &**domain)
    }

    /// A domain, to be kept without a copy: as long as State has it unchanged, it is the same.
    pub fn domain_shared(&self, name: &DomainName) -> Option<&Arc<Domain>> {
        match &self.row(&RowKey::Domain(name.clone()))?.record {
            Record::Domain(domain) => Some(domain),
            _ => None,
        }
    }

    /// The CA chain that is sent after a certificate, its issuer first; empty if there is none.
    pub fn sent_chain(&self, credential: &Credential) -> &[ByteBuf] {
        let chain = credential.chain.and_then(|fingerprint| self.chain(&fingerprint));
        chain.map(|chain| chain.certificates.as_slice()).unwrap_or_default()
    }

    /// All domains, by name.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains_after(None)
    }

    /// The domains whose names come after `name`, or all of them, by name: the next page of a
    /// listing.
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

    /// Earlier versions of a domain, oldest first.
    pub fn domain_versions(&self, id: DomainId) -> impl Iterator<Item = Domain> {
        let first = RowKey::DomainVersion((id, Version(0)));
        self.rows.range(first..).map_while(move |(key, row)| match (key, &row.record) {
            (RowKey::DomainVersion((found, _)), Record::DomainVersion(version)) if *found == id => {
                version.domain()
            }
            _ => None,
        })
    }

    /// Numbers of the earlier versions of a domain, oldest first.
    pub(crate) fn version_numbers(&self, id: DomainId) -> impl Iterator<Item = Version> {
        let first = RowKey::DomainVersion((id, Version(0)));
        self.rows.range(first..).map_while(move |(key, _)| match key {
            RowKey::DomainVersion((found, version)) if *found == id => Some(*version),
            _ => None,
        })
    }

    /// An earlier version of a domain.
    pub(crate) fn domain_version(&self, id: DomainId, version: Version) -> Option<Domain> {
        match &self.row(&RowKey::DomainVersion((id, version)))?.record {
            Record::DomainVersion(version) => version.domain(),
            _ => None,
        }
    }

    /// The certificates of a set, by their hash.
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

    /// The operation of the lowest index of those remembered, by the rows of level 0.
    pub(crate) fn oldest_operation_row(&self) -> Option<(LogIndex, OperationId)> {
        let (key, row) = self.rows.range(RowKey::OperationAge(LogIndex(0))..).next()?;
        match (key, &row.record) {
            (RowKey::OperationAge(index), Record::OperationAge(id)) => Some((*index, id.clone())),
            _ => None,
        }
    }

    /// Number of remembered operations.
    pub fn operation_count(&self) -> usize {
        self.derived.ages().len()
    }

    /// The remembered operation of the lowest time.
    pub(crate) fn oldest_operation(&self) -> Option<&OperationAge> {
        self.derived.ages().get_min()
    }

    /// The remembered operation of the highest time.
    pub(crate) fn newest_operation(&self) -> Option<&OperationAge> {
        self.derived.ages().get_max()
    }

    /// What is known of forgotten operations; none: no operation was forgotten.
    pub fn operation_memory(&self) -> Option<OperationMemory> {
        match self.row(&RowKey::OperationMemory)?.record {
            Record::OperationMemory(memory) => Some(memory),
            _ => None,
        }
    }

    /// A row as it stands now, for a command that is derived from it.
    pub fn expectation(&self, key: RowKey) -> Expectation {
        let changed_at = self.row(&key).map(|row| row.changed_at);
        Expectation { key, changed_at }
    }
}

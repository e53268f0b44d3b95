//! A row of each kind, under its key.

use std::sync::Arc;

use super::{account, outcome::done, value::*};
use crate::{id::*, record::*, samples::variant};

/// Index of the last change of each.
pub(super) const CHANGED_AT: LogIndex = LogIndex(70_000);

/// Returns rows by their names. Every key occurs once, so that they form a State.
pub(super) fn all() -> Vec<(String, RowKey, Record)> {
    let mut all: Vec<(String, RowKey, Record)> = Vec::new();
    let mut add = |key: RowKey, record: Record| {
        all.push((format!("{} {}", variant(&key), all.len()), key, record));
    };
    let (shop, id) = (domain_name("shop.example"), DomainId([4; 16]));
    add(RowKey::Cluster, Record::Cluster(cluster().into()));
    add(RowKey::Member(NodeId(1)), Record::Member(member(1, MemberRole::Voter).into()));
    add(RowKey::Member(NodeId(2)), Record::Member(member(2, MemberRole::Learner).into()));
    add(RowKey::Generation(Generation(2)), Record::Generation(generation().into()));
    let used = TokenUse { node: NodeId(2), identity: fingerprint(1) };
    add(RowKey::JoinToken(TokenId([1; 8])), Record::JoinToken(join_token(None).into()));
    add(RowKey::JoinToken(TokenId([2; 8])), Record::JoinToken(join_token(Some(used)).into()));
    add(RowKey::AccessToken(TokenId([3; 8])), Record::AccessToken(access_token(None).into()));
    add(RowKey::Domain(shop.clone()), Record::Domain(Arc::new(domain())));
    add(RowKey::Name(server_name("*.shop.example")), Record::Name(shop));
    let certificates = vec![bytes("issuer"), bytes("root")];
    add(RowKey::Chain(fingerprint(5)), Record::Chain(Chain { certificates, uses: 2 }.into()));
    let https = Record::Listener(full_listener(ProxyVersion::V2).into());
    add(RowKey::Listener(listener_name("imap")), https);
    for (number, done) in (1_u8..).zip(done()) {
        let operation = OperationId::parse(&format!("operation-{number}")).unwrap();
        let index = LogIndex(u64::from(number));
        let principal = principals()[usize::from(number) % 4].clone();
        let record = Operation { principal, request: [number; 32], done, index, time: TIME };
        add(RowKey::Operation(operation.clone()), Record::Operation(record.into()));
        add(RowKey::OperationAge(index), Record::OperationAge(operation));
    }
    for set in [TrustSet::System, TrustSet::Domain(id)] {
        let trusted = Record::Trusted(Trusted { der: bytes("trusted") }.into());
        add(RowKey::Trusted((set.clone(), fingerprint(6))), trusted);
        add(RowKey::Crl((set.clone(), fingerprint(12))), Record::Crl(crl().into()));
        add(RowKey::LongCrl((set.clone(), fingerprint(12))), Record::LongCrl(long_crl().into()));
        let part = RowKey::CrlPart((set, fingerprint(13), 69));
        add(part, Record::CrlPart(bytes("part").into()));
    }
    let earlier = Domain {
        mode: PkiMode::Test,
        credentials: Vec::new(),
        client_auth: None,
        version: Version(8),
        ..domain()
    };
    let earlier = Record::DomainVersion(EarlierVersion::of(&earlier).unwrap());
    add(RowKey::DomainVersion((id, Version(8))), earlier);
    let settings = tls_settings(TlsLogLevel::Debug, TlsVersion::V1_3);
    add(RowKey::TlsSettings, Record::TlsSettings(settings.into()));
    for (of, active) in [(SessionKeyUse::Ticket, Some(TIME)), (SessionKeyUse::Cookie, None)] {
        let key = RowKey::SessionKey((of, SessionKeyId([1; 8])));
        add(key, Record::SessionKey(session_key(active).into()));
    }
    add(RowKey::MainDomain(NodeId(1)), Record::MainDomain(domain_name("node-1.main")));
    add(RowKey::Level, Record::Level(1));
    let memory = OperationMemory { forgotten: TIME };
    add(RowKey::OperationMemory, Record::OperationMemory(memory));
    let pending = Record::PendingKey(domain_key(KeyFamily::Ec).into());
    add(RowKey::PendingKey((id, KeyFamily::Ec)), pending);
    let policy = Record::ListenerPolicy(LISTENER_POLICY);
    add(RowKey::ListenerPolicy(listener_name("imap")), policy);
    add_later(&mut add);
    account::add_rows(&mut add);
    all
}

/// Adds the rows of level 3.
fn add_later(add: &mut dyn FnMut(RowKey, Record)) {
    for of in [
        ProofOf::Generation(Generation(2)),
        ProofOf::Member(NodeId(1)),
        ProofOf::AccessToken(TokenId([3; 8])),
    ] {
        add(RowKey::Proof(of), Record::Proof(PROOF));
    }
    add(RowKey::MemberPlace(NodeId(1)), Record::MemberPlace(place().into()));
    add(RowKey::DepartedMember(NodeId(9)), Record::DepartedMember(departed().into()));
    add(RowKey::LastBackup, Record::LastBackup(LAST_BACKUP));
    add(RowKey::Restoring, Record::Restoring(TIME));
    add(RowKey::ProofsBegin, Record::ProofsBegin);
    let earlier = EarlierAuthority {
        authority_der: serde_bytes::ByteBuf::from(vec![0x30, 1]),
        cross_der: serde_bytes::ByteBuf::from(vec![0x30, 2]),
    };
    add(RowKey::EarlierAuthority, Record::EarlierAuthority(earlier.into()));
    let domain = Arc::new(domain());
    let canary = Canary { node: NodeId(2), domain, since: TIME, until: TIME };
    add(RowKey::Canary(domain_name("shop.example")), Record::Canary(canary.into()));
    let principal = principals()[4].clone();
    let (done, index) = (Done::Changed, LogIndex(6));
    let operation = Operation { principal, request: [6; 32], done, index, time: TIME };
    let id = OperationId::parse("operation-6").unwrap();
    add(RowKey::Operation(id), Record::Operation(operation.into()));
    for of in [ProofOf::User(UserId([7; 8])), ProofOf::AuditCut] {
        add(RowKey::Proof(of), Record::Proof(PROOF));
    }
    for (number, result) in (1..).zip(AUDIT_RESULTS) {
        let entry = AuditEntry::new(number, fingerprint(1), audit_event(result));
        add(RowKey::Audit(number), Record::Audit(entry.into()));
    }
    let cut = AuditCut { first: 70_000, previous: fingerprint(1), time: TIME };
    add(RowKey::AuditCut, Record::AuditCut(cut.into()));
    add(RowKey::AuditKept, Record::AuditKept(70_000));
    add(RowKey::Grant(TokenId([3; 8])), Record::Grant(grant().into()));
    add(RowKey::TokenUses(TokenId([3; 8])), Record::TokenUses(299));
    add(RowKey::User(user_name("alice")), Record::User(user().into()));
    for (number, principal) in (7_u8..).zip(principals().into_iter().skip(5)) {
        let (done, index) = (Done::Changed, LogIndex(u64::from(number)));
        let operation = Operation { principal, request: [6; 32], done, index, time: TIME };
        let id = OperationId::parse(&format!("operation-{number}")).unwrap();
        add(RowKey::Operation(id), Record::Operation(operation.into()));
    }
}

//! Rows of State: one type per kind of row.

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
mod done;
mod grant;
mod key;
mod keyring;
mod level;
mod listener;
mod member;
mod operation;
mod principal;
mod proof;
mod sealed;
mod session_key;
mod smime;
mod tls;
mod token;
mod trust;
mod user;

use std::sync::Arc;

pub use account::{Account, AccountCertificate, AccountKey, Invitation, KeyPurpose, RecoveryCopy};
pub(crate) use audit::rfc3339;
pub use audit::{AuditCut, AuditDifference, AuditEntry, AuditEvent, AuditResult};
pub use authority::EarlierAuthority;
pub use backup::LastBackup;
pub use canary::Canary;
pub use certificate::Certificate;
pub use chain::Chain;
pub use client_auth::ClientAuth;
pub use cluster::Cluster;
pub use domain::{Credential, Domain, EarlierVersion, PkiMode, Stamp};
pub use done::Done;
pub use grant::{DomainLimit, Grant, Right, Role};
pub use key::{DomainKey, KeyFamily, Sealed};
pub use keyring::KeyringGeneration;
pub use level::LEVEL_MAX;
pub use listener::{Listener, ListenerPolicy, ListenerProtocol, Network, Outgoing, ProxyVersion};
pub use member::{DepartedMember, Member, MemberPlace, MemberRole};
pub use operation::{Operation, OperationMemory};
pub use principal::{Origin, Principal};
pub use proof::{Proof, ProofOf};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
pub use session_key::{SessionKey, SessionKeyUse};
pub use smime::{
    AccountSettings, IssuedCertificate, RecoveryKey, Revocation, RevocationList, RevocationReason,
    SmimeIssuer,
};
pub use tls::{TlsLogLevel, TlsSettings, TlsVersion};
pub use token::{AccessToken, JoinToken, TokenUse};
pub use trust::{Crl, LongCrl, TrustSet, Trusted};
pub use user::{CertificateLogin, User};

use crate::{
    id::{
        AccountId, DomainId, DomainName, EmailAddress, Fingerprint, Generation, ListenerName,
        LogIndex, NodeId, OperationId, SerialNumber, ServerName, SessionKeyId, TokenId, UserName,
        Version,
    },
    time::UnixMillis,
};

/// Key of a row. State keeps its rows in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowKey {
    /// The cluster itself; one row.
    Cluster,
    /// A member, by its number.
    Member(NodeId),
    /// A generation of the keyring.
    Generation(Generation),
    /// A join token.
    JoinToken(TokenId),
    /// An access token of the admin API.
    AccessToken(TokenId),
    /// A domain, by its name.
    Domain(DomainName),
    /// The owner of a server name (a domain's name or alias). Written at level 0 only, for members
    /// of version 0.1.0. State derives the owners from the domains.
    Name(ServerName),
    /// A CA chain, stored once for all domains that send it.
    Chain(Fingerprint),
    /// A listener, by its name.
    Listener(ListenerName),
    /// A finished operation, by the caller's id.
    Operation(OperationId),
    /// A finished operation by its index, to find the oldest first. Written at level 0 only.
    OperationAge(LogIndex),
    /// A trusted certificate of a set, by its hash.
    Trusted((TrustSet, Fingerprint)),
    /// An earlier version of a domain.
    DomainVersion((DomainId, Version)),
    /// A revocation list of a set of trusted certificates, by the hash of its issuer's name.
    Crl((TrustSet, Fingerprint)),
    /// TLS settings; one row.
    TlsSettings,
    /// A session key, by its use and random id.
    SessionKey((SessionKeyUse, SessionKeyId)),
    /// The name of a member's Main Domain, which is local to it.
    MainDomain(NodeId),
    /// Level of the rules; one row, absent at level 0.
    Level,
    /// Summary of the forgotten operations; one row, from level 1 on.
    OperationMemory,
    /// A long revocation list of a set, by the hash of its issuer's name; from level 2 on. A set
    /// has one list of an issuer, short or long.
    LongCrl((TrustSet, Fingerprint)),
    /// A part of a long revocation list of a set, by the hash of the whole list and the part's
    /// number; from level 2 on. The parts are there before the list.
    CrlPart((TrustSet, Fingerprint, u32)),
    /// A key that waits for its certificate, beside the key in use; from level 2 on.
    PendingKey((DomainId, KeyFamily)),
    /// Which clients a listener takes, by its name; from level 2 on. Absent for the default.
    ListenerPolicy(ListenerName),
    /// A proof, by its subject; from level 3 on.
    Proof(ProofOf),
    /// Where a member stands, by its number; from level 3 on. Absent for the default.
    MemberPlace(NodeId),
    /// A member that has left, by its number; from level 3 on.
    DepartedMember(NodeId),
    /// The last backup; one row, from level 3 on.
    LastBackup,
    /// A backup is being restored into this cluster; one row, from level 3 on.
    Restoring,
    /// Where level 3 began; one row. What is older than it needs no proof.
    ProofsBegin,
    /// The authority before the present one; one row, from level 3 on.
    EarlierAuthority,
    /// The canary of a domain, by the domain's name; from level 3 on.
    Canary(DomainName),
    /// An entry of the audit trail, by its number, counted from 1; from level 4 on.
    Audit(u64),
    /// The removed beginning of the audit trail; one row, from level 4 on.
    AuditCut,
    /// Number of entries of the audit trail to keep; one row, from level 4 on. Absent for the
    /// default.
    AuditKept,
    /// What the holder of an access token may do; from level 4 on. A token without it was made
    /// before, and may do everything.
    Grant(TokenId),
    /// Number of changes that an access token may still make; from level 4 on.
    TokenUses(TokenId),
    /// A user; from level 4 on.
    User(UserName),
    /// The S/MIME issuer of a domain; from level 5 on. Absent if the domain's certificate does it.
    SmimeIssuer(DomainId),
    /// What a domain does for its accounts; from level 5 on. Absent for the default.
    AccountSettings(DomainId),
    /// An account, by its address; from level 5 on.
    Account(EmailAddress),
    /// An earlier key of an account, by its number, counted from 1; from level 5 on.
    AccountKey((AccountId, u32)),
    /// A certificate that a domain has issued, by its serial number; from level 5 on.
    IssuedCertificate((DomainId, SerialNumber)),
    /// The revocation of a certificate that a domain has issued; from level 5 on.
    Revocation((DomainId, SerialNumber)),
    /// State of a domain's revocation list; from level 5 on. Absent until the first revocation.
    RevocationList(DomainId),
    /// Where level 5 began; one row. 0.4.0 does not look at the level of its data, but refuses rows
    /// that it cannot read: without this one it would go on by its own rules.
    AccountsBegin,
}

/// Content of a row. Large contents are behind a pointer: an enum is as large as its largest
/// variant, and most rows are small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The cluster.
    Cluster(Arc<Cluster>),
    /// A member.
    Member(Arc<Member>),
    /// A generation of the keyring.
    Generation(Arc<KeyringGeneration>),
    /// A join token.
    JoinToken(Arc<JoinToken>),
    /// An access token.
    AccessToken(Arc<AccessToken>),
    /// A domain.
    Domain(Arc<Domain>),
    /// Owner of a server name.
    Name(DomainName),
    /// A CA chain.
    Chain(Arc<Chain>),
    /// A listener.
    Listener(Arc<Listener>),
    /// A finished operation.
    Operation(Arc<Operation>),
    /// Id of the operation finished at this index.
    OperationAge(OperationId),
    /// A trusted certificate.
    Trusted(Arc<Trusted>),
    /// An earlier version of a domain.
    DomainVersion(EarlierVersion),
    /// A revocation list.
    Crl(Arc<Crl>),
    /// TLS settings.
    TlsSettings(Arc<TlsSettings>),
    /// A session key.
    SessionKey(Arc<SessionKey>),
    /// Name of a Main Domain.
    MainDomain(DomainName),
    /// Level of the rules.
    Level(u32),
    /// Summary of the forgotten operations.
    OperationMemory(OperationMemory),
    /// A long revocation list.
    LongCrl(Arc<LongCrl>),
    /// A part of a long revocation list, DER.
    CrlPart(Arc<ByteBuf>),
    /// A key that waits for its certificate.
    PendingKey(Arc<DomainKey>),
    /// Which clients a listener takes.
    ListenerPolicy(ListenerPolicy),
    /// A proof.
    Proof(Proof),
    /// Where a member stands.
    MemberPlace(Arc<MemberPlace>),
    /// A member that has left.
    DepartedMember(Arc<DepartedMember>),
    /// The last backup.
    LastBackup(LastBackup),
    /// Time at which the restore began.
    Restoring(UnixMillis),
    /// Where level 3 began.
    ProofsBegin,
    /// The authority before the present one.
    EarlierAuthority(Arc<EarlierAuthority>),
    /// The canary of a domain.
    Canary(Arc<Canary>),
    /// An entry of the audit trail.
    Audit(Arc<AuditEntry>),
    /// The removed beginning of the audit trail.
    AuditCut(Arc<AuditCut>),
    /// Number of entries to keep.
    AuditKept(u32),
    /// What the holder of an access token may do.
    Grant(Arc<Grant>),
    /// Number of changes that are left.
    TokenUses(u32),
    /// A user.
    User(Arc<User>),
    /// The S/MIME issuer of a domain.
    SmimeIssuer(Arc<SmimeIssuer>),
    /// What a domain does for its accounts.
    AccountSettings(Arc<AccountSettings>),
    /// An account.
    Account(Arc<Account>),
    /// An earlier key of an account.
    AccountKey(Arc<AccountKey>),
    /// A certificate that a domain has issued.
    IssuedCertificate(Arc<IssuedCertificate>),
    /// A revocation.
    Revocation(Revocation),
    /// State of a revocation list.
    RevocationList(RevocationList),
    /// Where level 5 began.
    AccountsBegin,
}

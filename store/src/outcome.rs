//! Outcomes of commands. A rejection is data as well: every node computes the same one.

use serde::{Deserialize, Serialize};

pub use crate::record::Done;
use crate::{
    id::{
        ClusterName, DomainName, EmailAddress, Fingerprint, Generation, ListenerName, NodeId,
        NodeName, OperationId, SerialNumber, ServerName, SessionKeyId, TokenId, UserName, Version,
    },
    record::{KeyFamily, RowKey},
    time::UnixMillis,
};

/// Result of applying a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The change was made.
    Done(Done),
    /// The rules refused the command; nothing changed.
    Rejected(Rejection),
}

/// Reason why the rules refuse a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A row from which the command was derived has changed. Admission must derive the command
    /// again.
    #[error("{0:?} changed while the command was made")]
    Stale(RowKey),
    /// The operation id belongs to another request or another caller.
    #[error("operation {0} was used for another request")]
    OperationReused(OperationId),
    /// The cluster is already founded.
    #[error("this node belongs to the cluster {0} already")]
    ClusterExists(ClusterName),
    /// State has no cluster, so nothing in it can change.
    #[error("this state belongs to no cluster")]
    NoCluster,
    /// No such join token.
    #[error("join token {0} is not known")]
    JoinTokenUnknown(TokenId),
    /// The join token was used by another node.
    #[error("join token {token} was used for node {node}")]
    JoinTokenUsed {
        /// The token.
        token: TokenId,
        /// The node.
        node: NodeId,
    },
    /// The join token has expired.
    #[error("join token {token} has expired")]
    JoinTokenExpired {
        /// The token.
        token: TokenId,
        /// Time of expiry.
        expired: UnixMillis,
    },
    /// Another member has this name.
    #[error("a member named {0} already exists")]
    NodeNameTaken(NodeName),
    /// The wrapped keys or the number of the node do not match the current members and generations.
    #[error("the keyring changed while the command was made")]
    WrapsMismatch,
    /// A secret is sealed under a generation that is not the current one.
    #[error("sealed under generation {found}, the keyring is at {current}")]
    GenerationOld {
        /// Generation of the secret.
        found: Generation,
        /// Generation of the keyring.
        current: Generation,
    },
    /// No such access token.
    #[error("access token {0} is not known")]
    AccessTokenUnknown(TokenId),
    /// No such domain.
    #[error("no domain {0}")]
    DomainUnknown(DomainName),
    /// The server name belongs to a domain already.
    #[error("{name} belongs to the domain {owner} already")]
    NameTaken {
        /// The name asked for.
        name: ServerName,
        /// Owner of the name.
        owner: DomainName,
    },
    /// The domain already has a key of this family, which is never replaced silently.
    #[error("the domain {name} has an {family} key already")]
    KeyExists {
        /// The domain.
        name: DomainName,
        /// The family.
        family: KeyFamily,
    },
    /// The domain has no private key, so it cannot have a certificate.
    #[error("the domain {0} has no private key")]
    KeyMissing(DomainName),
    /// The certificate belongs to another key.
    #[error("this certificate belongs to another private key")]
    CertificateOfOtherKey {
        /// The domain's key.
        key: Fingerprint,
        /// The certificate's key.
        certificate: Fingerprint,
    },
    /// The domain has no certificate to remove.
    #[error("the domain {0} has no certificate")]
    CertificateMissing(DomainName),
    /// The domain has no chain to remove.
    #[error("the domain {0} has no CA chain")]
    ChainMissing(DomainName),
    /// A listener of this name exists.
    #[error("a listener named {0} already exists")]
    ListenerExists(ListenerName),
    /// Another listener has this port, on the same address or on all.
    #[error("the listener {0} opens this port already")]
    PortTaken(ListenerName),
    /// No such listener.
    #[error("no listener {0}")]
    ListenerUnknown(ListenerName),
    /// The set holds no such certificate.
    #[error("no trusted certificate {0} in this set")]
    TrustedUnknown(Fingerprint),
    /// The version is no longer kept, or never existed.
    #[error("version {version} of {name} is not kept")]
    VersionUnknown {
        /// The domain.
        name: DomainName,
        /// The version.
        version: Version,
    },
    /// The session key has expired, or never existed.
    #[error("no session key {0}")]
    SessionKeyUnknown(SessionKeyId),
    /// A bound of the store is reached.
    #[error("there can be at most {max} {what}")]
    TooMany {
        /// Name of the bounded things.
        what: String,
        /// The bound.
        max: u64,
    },
    /// The name is reserved for the Main Domain of a node.
    #[error("{name} is the Main Domain of {node}")]
    MainDomain {
        /// Its name.
        name: DomainName,
        /// Name of the node.
        node: String,
    },
    /// The operation may have been done and forgotten, so it is never done again.
    #[error("operation {operation} was first tried too long ago: whether it was done is forgotten")]
    OperationForgotten {
        /// The operation.
        operation: OperationId,
        /// An operation first tried at or before this time may be forgotten.
        forgotten: UnixMillis,
    },
    /// This program does not know the level.
    #[error("level {level} is not known, the highest is {max}")]
    LevelUnknown {
        /// The level asked for.
        level: u32,
        /// The highest level known.
        max: u32,
    },
    /// The level has been reached; it never decreases.
    #[error("the level is {level} already and never sinks")]
    LevelReached {
        /// The current level.
        level: u32,
    },
    /// No such member.
    #[error("no member with the number {0}")]
    MemberUnknown(NodeId),
    /// The last voter cannot leave or stop voting.
    #[error("{0} is the last voter")]
    LastVoter(NodeName),
    /// Another member has this identity key or this sealing key.
    #[error("{0} has this key already")]
    NodeKeyTaken(NodeName),
    /// Something is still sealed under an earlier generation.
    #[error("something is still sealed under generation {0}")]
    GenerationInUse(Generation),
    /// The cluster has domains, or is not restoring.
    #[error("this cluster restores no backup now")]
    NotRestoring,
    /// The authority was replaced, and the one before is still trusted.
    #[error("the authority before the present one is still trusted")]
    AuthorityTurning,
    /// The domain has a canary already.
    #[error("the domain {0} has a canary already")]
    CanaryExists(DomainName),
    /// The domain has no canary.
    #[error("the domain {0} has no canary")]
    CanaryUnknown(DomainName),
    /// The access token has made as many changes as it may.
    #[error("access token {0} has made as many changes as it may")]
    TokenUsedUp(TokenId),
    /// A user of this name exists.
    #[error("a user named {0} already exists")]
    UserExists(UserName),
    /// No such user.
    #[error("no user {0}")]
    UserUnknown(UserName),
    /// An entry of the audit trail is not where the cut expects it.
    #[error("the audit trail has no entry {0} to begin with")]
    AuditCutWrong(u64),
    /// The domain has no S/MIME issuer of its own.
    #[error("the domain {0} has no S/MIME issuer of its own")]
    SmimeIssuerUnknown(DomainName),
    /// An account of this address exists.
    #[error("an account {0} already exists")]
    AccountExists(EmailAddress),
    /// No such account.
    #[error("no account {0}")]
    AccountUnknown(EmailAddress),
    /// The account has no key, so it cannot have a certificate.
    #[error("the account {0} has no key")]
    AccountKeyMissing(EmailAddress),
    /// The account has this key already, or had it.
    #[error("the account {0} has or had this key")]
    AccountKeyExists(EmailAddress),
    /// The name stays with its domain while accounts have it after the `@`.
    #[error("{0} has accounts")]
    AccountsRemain(ServerName),
    /// The account has no certificate of this serial number that its domain issued.
    #[error("the account {address} has no certificate {serial} that its domain issued")]
    SerialUnknown {
        /// Address of the account.
        address: EmailAddress,
        /// The serial number.
        serial: SerialNumber,
    },
    /// The certificate is revoked already.
    #[error("the certificate {0} is revoked already")]
    CertificateRevoked(SerialNumber),
    /// The account has no such invitation.
    #[error("the invitation to {0} was used or withdrawn, or it has ended")]
    InvitationUnknown(EmailAddress),
}

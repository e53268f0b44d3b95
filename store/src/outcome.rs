//! What came of a command. A refusal is data too: the same on every node.

use serde::{Deserialize, Serialize};

use crate::{
    id::{
        ClusterName, DomainName, Fingerprint, Generation, ListenerName, NodeId, NodeName,
        OperationId, ServerName, SessionKeyId, TokenId, Version,
    },
    record::{KeyFamily, RowKey},
    time::UnixMillis,
};

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The change is made.
    Done(Done),
    /// The rules say no; nothing changed.
    Rejected(Rejection),
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// A domain has this version now; deleted domains keep their last.
    Domain {
        /// Which.
        name: DomainName,
        /// Its version.
        version: Version,
    },
    /// A member was added, or was there with the same key already.
    Member {
        /// Its number.
        id: NodeId,
    },
    /// The keyring has a new generation.
    Generation(Generation),
    /// The TLS settings have this version now.
    TlsSettings(Version),
    /// The change has no more to tell.
    Changed,
}

/// Why the rules say no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A row that the command was derived from has changed; derive it afresh.
    #[error("{0:?} changed while the command was made")]
    Stale(RowKey),
    /// The operation id belongs to another request or another caller.
    #[error("operation {0} was used for another request")]
    OperationReused(OperationId),
    /// A second founding.
    #[error("this node belongs to the cluster {0} already")]
    ClusterExists(ClusterName),
    /// The state has no cluster, so nothing of it can change.
    #[error("this state belongs to no cluster")]
    NoCluster,
    /// No such join token.
    #[error("join token {0} is not known")]
    JoinTokenUnknown(TokenId),
    /// The join token was used by another node.
    #[error("join token {token} was used for node {node}")]
    JoinTokenUsed {
        /// Which token.
        token: TokenId,
        /// Who used it.
        node: NodeId,
    },
    /// The join token's time is over.
    #[error("join token {token} has expired")]
    JoinTokenExpired {
        /// Which token.
        token: TokenId,
        /// When.
        expired: UnixMillis,
    },
    /// Another member has this name.
    #[error("a member {0} exists already")]
    NodeNameTaken(NodeName),
    /// The wrapped keys are not exactly those that are needed.
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
        /// Whose it is.
        owner: DomainName,
    },
    /// The domain has a key of this family, which is not replaced silently.
    #[error("the domain {name} has an {family} key already")]
    KeyExists {
        /// Which domain.
        name: DomainName,
        /// Which family.
        family: KeyFamily,
    },
    /// The domain has no key, so it can have no certificate.
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
    /// There is no certificate to remove.
    #[error("the domain {0} has no certificate")]
    CertificateMissing(DomainName),
    /// There is no chain to remove.
    #[error("the domain {0} has no CA chain")]
    ChainMissing(DomainName),
    /// A listener of this name exists.
    #[error("a listener {0} exists already")]
    ListenerExists(ListenerName),
    /// Another listener opens this socket.
    #[error("the listener {0} opens this port already")]
    PortTaken(ListenerName),
    /// No such listener.
    #[error("no listener {0}")]
    ListenerUnknown(ListenerName),
    /// The set holds no such certificate.
    #[error("no trusted certificate {0} in this set")]
    TrustedUnknown(Fingerprint),
    /// The version is not kept any more, or never was.
    #[error("version {version} of {name} is not kept")]
    VersionUnknown {
        /// Which domain.
        name: DomainName,
        /// Which version.
        version: Version,
    },
    /// The session key has expired, or never was.
    #[error("no session key {0}")]
    SessionKeyUnknown(SessionKeyId),
    /// A bound of the store is reached.
    #[error("there can be at most {max} {what}")]
    TooMany {
        /// Of what.
        what: String,
        /// The bound.
        max: u64,
    },
    /// A node's Main Domain has the name.
    #[error("{name} is the Main Domain of {node}")]
    MainDomain {
        /// Its name.
        name: DomainName,
        /// Whose it is.
        node: String,
    },
    /// Whether the operation was done is no longer known, so it is never done again.
    #[error("operation {operation} was first tried too long ago: whether it was done is forgotten")]
    OperationForgotten {
        /// Which operation.
        operation: OperationId,
        /// What was tried at this time or before it may be forgotten.
        forgotten: UnixMillis,
    },
    /// A level that this program does not know.
    #[error("level {level} is not known, the highest is {max}")]
    LevelUnknown {
        /// The level asked for.
        level: u32,
        /// The highest level known.
        max: u32,
    },
    /// The level only rises.
    #[error("the level is {level} already and never sinks")]
    LevelReached {
        /// The present level.
        level: u32,
    },
}

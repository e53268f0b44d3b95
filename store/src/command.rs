//! What may be asked of State: everything uncertain is settled before it gets here.
//!
//! Time, chance, parsing and sealing happened at admission; a command only says what shall be
//! and what it was derived from.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    id::{
        DomainId, DomainName, Fingerprint, Generation, ListenerName, LogIndex, NodeId, OperationId,
        ServerName, SessionKeyId, TokenId, Version,
    },
    record::{
        AccessToken, Certificate, ClientAuth, Cluster, Crl, DomainKey, JoinToken, KeyFamily,
        KeyringGeneration, Listener, Member, PkiMode, Principal, RowKey, Sealed, SessionKey,
        SessionKeyUse, TlsSettings,
    },
    time::UnixMillis,
};

/// One change, asked for by somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The caller's id of this wish; every retry carries the same.
    pub operation: OperationId,
    /// Who asks.
    pub principal: Principal,
    /// SHA-256 of the request as the caller made it.
    pub request: [u8; 32],
    /// Time of admission.
    pub time: UnixMillis,
    /// Why, for the history.
    pub reason: Option<String>,
    /// Rows that admission looked at; any difference rejects the command.
    pub expects: Vec<Expectation>,
    /// The change itself.
    pub action: Action,
}

/// A row as admission saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The row.
    pub key: RowKey,
    /// Index of its last change; none: it did not exist.
    pub changed_at: Option<LogIndex>,
}

/// The changes that exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The first command of a cluster.
    FoundCluster(Box<FoundCluster>),
    /// Adds a join token.
    CreateJoinToken(TokenId, JoinToken),
    /// Uses a join token and adds the member, in one.
    RedeemJoinToken(Box<RedeemJoinToken>),
    /// Adds an access token.
    CreateAccessToken(TokenId, AccessToken),
    /// Ends an access token.
    RevokeAccessToken(TokenId),
    /// A new generation of the keyring.
    RotateKeyring(Box<RotateKeyring>),
    /// Adds a domain.
    CreateDomain(CreateDomain),
    /// Changes a domain's settings.
    SetDomain(SetDomain),
    /// Removes a domain with all that belongs to it.
    DeleteDomain(DomainName),
    /// Assigns a private key to a domain that has none of its family.
    SetKey(DomainName, Box<DomainKey>),
    /// Removes a domain's private key and, with it, the certificate and the chain.
    RemoveKey(DomainName, KeyFamily),
    /// Sets a domain's certificate; with a key and a chain if they come along.
    SetCertificate(Box<SetCertificate>),
    /// Removes a domain's certificate.
    RemoveCertificate(DomainName, KeyFamily),
    /// Sets the CA chain of a domain's certificate.
    SetChain(DomainName, KeyFamily, Vec<ByteBuf>),
    /// Removes the CA chain of a domain's certificate.
    RemoveChain(DomainName, KeyFamily),
    /// Adds a listener to every node.
    AddListener(Listener),
    /// Removes a listener from every node.
    RemoveListener(ListenerName),
    /// Adds trusted certificates and revocation lists to a domain's set, or to the scope's.
    AddTrusted(Option<DomainName>, Box<AddTrusted>),
    /// Removes trusted certificates.
    RemoveTrusted(Option<DomainName>, Vec<Fingerprint>),
    /// Gives a domain another name; all that belongs to it stays as it is.
    RenameDomain(DomainName, DomainName),
    /// Makes an earlier version of a domain the present one; its name stays.
    RollbackDomain(DomainName, Version),
    /// Asks clients of a domain for a certificate, or not any more.
    SetClientAuth(DomainName, Option<ClientAuth>),
    /// Changes the TLS settings; its number of changes and of flushes is counted by apply.
    SetTlsSettings(Box<TlsSettings>),
    /// No session made before resumes.
    FlushSessions,
    /// A new session key, which nodes open with but do not use yet; ends expired ones.
    PublishSessionKey(SessionKeyUse, SessionKeyId, SessionKey),
    /// The session key is used from now on.
    ActivateSessionKey(SessionKeyUse, SessionKeyId),
    /// A member says what its Main Domain is called, so that no shared domain takes the name.
    SetMainDomain(NodeId, DomainName),
    /// Raises the level of the rules. The leader asks for it when every member knows that level:
    /// a member that does not would make another State of the same commands.
    SetLevel(u32),
}

/// See [`Action::AddTrusted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddTrusted {
    /// Certificates, DER.
    pub certificates: Vec<ByteBuf>,
    /// Revocation lists, each with the hash of its issuer's name (DER).
    pub crls: Vec<(Fingerprint, Crl)>,
}

/// See [`Action::FoundCluster`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCluster {
    /// The cluster.
    pub cluster: Cluster,
    /// Its first member, a voter.
    pub member: Member,
    /// The first generation, wrapped for that member.
    pub keyring: KeyringGeneration,
}

/// See [`Action::RedeemJoinToken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemJoinToken {
    /// The token, proved at admission.
    pub token: TokenId,
    /// The new member.
    pub member: Member,
    /// Every generation of the keyring, wrapped for it.
    pub wraps: Vec<(Generation, ByteBuf)>,
}

/// See [`Action::RotateKeyring`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateKeyring {
    /// The new generation: the current one and one more.
    pub generation: Generation,
    /// Its key, wrapped for exactly the present members.
    pub keyring: KeyringGeneration,
    /// The authority's key, sealed under the new generation.
    pub authority_key: Sealed,
}

/// See [`Action::CreateDomain`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateDomain {
    /// Random id.
    pub id: DomainId,
    /// Name.
    pub name: DomainName,
    /// Further server names.
    pub aliases: Vec<ServerName>,
    /// Local addresses that mean this domain.
    pub addresses: Vec<IpAddr>,
    /// PKI services.
    pub mode: PkiMode,
}

/// See [`Action::SetDomain`]; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDomain {
    /// Which domain.
    pub name: DomainName,
    /// PKI services.
    pub mode: Option<PkiMode>,
    /// All aliases.
    pub aliases: Option<Vec<ServerName>>,
    /// All assigned addresses.
    pub addresses: Option<Vec<IpAddr>>,
}

/// See [`Action::SetCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetCertificate {
    /// Which domain.
    pub name: DomainName,
    /// A new key, replacing the present one of its family.
    pub key: Option<DomainKey>,
    /// The certificate.
    pub certificate: Certificate,
    /// The CA chain: none leaves it, an empty one removes it.
    pub chain: Option<Vec<ByteBuf>>,
}

impl Action {
    /// The domain that this action is about, if it is about one.
    pub fn domain(&self) -> Option<&DomainName> {
        match self {
            Action::CreateDomain(create) => Some(&create.name),
            Action::SetDomain(set) => Some(&set.name),
            Action::SetCertificate(set) => Some(&set.name),
            Action::DeleteDomain(name)
            | Action::SetKey(name, _)
            | Action::RemoveKey(name, _)
            | Action::RemoveCertificate(name, _)
            | Action::SetChain(name, _, _)
            | Action::RemoveChain(name, _)
            | Action::RenameDomain(name, _)
            | Action::RollbackDomain(name, _)
            | Action::SetClientAuth(name, _) => Some(name),
            Action::AddTrusted(owner, _) | Action::RemoveTrusted(owner, _) => owner.as_ref(),
            _ => None,
        }
    }

    /// Every secret that this action would store.
    pub fn sealed(&self) -> Vec<&Sealed> {
        match self {
            Action::FoundCluster(found) => vec![&found.cluster.authority_key],
            Action::CreateJoinToken(_, token) => vec![&token.secret],
            Action::SetKey(_, key) => vec![&key.sealed],
            Action::SetCertificate(set) => set.key.iter().map(|key| &key.sealed).collect(),
            Action::RotateKeyring(rotate) => vec![&rotate.authority_key],
            Action::PublishSessionKey(_, _, key) => vec![&key.sealed],
            _ => Vec::new(),
        }
    }
}

//! Commands: changes of State with every uncertain input already settled.
//!
//! Admission reads the clock, draws randomness, parses and seals. A command carries only the
//! results, and the rows from which they were derived.

mod account;
mod audit;
mod event;
mod member;
mod token;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub use account::{
    AccountAction, AccountOf, CreateAccount, EnterAccount, InviteOwner, RelockAccount,
    RevokeAccountCertificate, SetAccountCertificate, SetAccountKey, SetSmimeIssuer,
};
pub use audit::CutAudit;
pub use member::{Join, RemoveMember, Reseal, Resealed, SetMember, TurnKeyring};
pub use token::{GrantToken, PutUser, RevokeTokens};

use crate::{
    id::{
        DomainId, DomainName, Fingerprint, Generation, ListenerName, LogIndex, NodeId, OperationId,
        ServerName, SessionKeyId, TokenId, UserName, Version,
    },
    record::{
        AccessToken, AuditEvent, Certificate, ClientAuth, Cluster, Crl, DomainKey, JoinToken,
        KeyFamily, KeyringGeneration, LastBackup, Listener, ListenerPolicy, LongCrl, Member,
        Origin, PkiMode, Principal, Proof, Record, RowKey, Sealed, SessionKey, SessionKeyUse,
        TlsSettings,
    },
    time::UnixMillis,
};

/// A change requested by a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The caller's id of the operation; every retry carries the same one.
    pub operation: OperationId,
    /// The caller.
    pub principal: Principal,
    /// SHA-256 of the request as the caller made it.
    pub request: [u8; 32],
    /// Time of admission.
    pub time: UnixMillis,
    /// The caller's reason, kept in the history.
    pub reason: Option<String>,
    /// Rows read by admission. The command is rejected if one of them has changed since.
    pub expects: Vec<Expectation>,
    /// The change itself.
    pub action: Action,
    /// Place from which it was asked for; from level 4 on. Encoded beside the other fields, which
    /// have the form of version 0.1.0.
    #[serde(skip)]
    pub origin: Option<Origin>,
}

impl Command {
    /// Makes a command that a node issues by itself: without a caller's request, reason or
    /// expectations. `random` is part of its operation id.
    pub fn by_node(node: NodeId, random: [u8; 10], time: UnixMillis, action: Action) -> Command {
        Command {
            operation: OperationId::new(time, random),
            principal: Principal::Node(node),
            request: [0; 32],
            time,
            reason: None,
            expects: Vec::new(),
            action,
            origin: None,
        }
    }
}

/// A row as admission saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The row.
    pub key: RowKey,
    /// Index of its last change; `None` if it did not exist.
    pub changed_at: Option<LogIndex>,
}

/// A kind of change, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Founds a cluster; its first command.
    FoundCluster(Box<FoundCluster>),
    /// Adds a join token.
    CreateJoinToken(TokenId, JoinToken),
    /// Uses a join token and adds the member in one step.
    RedeemJoinToken(Box<RedeemJoinToken>),
    /// Adds an access token.
    CreateAccessToken(TokenId, AccessToken),
    /// Revokes an access token.
    RevokeAccessToken(TokenId),
    /// Starts a new generation of the keyring.
    RotateKeyring(Box<RotateKeyring>),
    /// Adds a domain.
    CreateDomain(CreateDomain),
    /// Changes a domain's settings.
    SetDomain(SetDomain),
    /// Removes a domain and everything that belongs to it.
    DeleteDomain(DomainName),
    /// Assigns a private key to a domain that has none of its family.
    SetKey(DomainName, Box<DomainKey>),
    /// Removes a domain's private key and, with it, the certificate and the chain.
    RemoveKey(DomainName, KeyFamily),
    /// Sets a domain's certificate, optionally together with its key and chain.
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
    /// Renames a domain and keeps everything that belongs to it.
    RenameDomain(DomainName, DomainName),
    /// Restores an earlier version of a domain, except its name.
    RollbackDomain(DomainName, Version),
    /// Sets the client certificate policy of a domain; `None` stops asking for certificates.
    SetClientAuth(DomainName, Option<ClientAuth>),
    /// Replaces the TLS settings. Apply counts changes and flushes itself and ignores these fields.
    SetTlsSettings(Box<TlsSettings>),
    /// Prevents the resumption of all existing sessions.
    FlushSessions,
    /// Adds a session key with which nodes open but do not seal yet. Removes expired keys.
    PublishSessionKey(SessionKeyUse, SessionKeyId, SessionKey),
    /// Makes nodes seal with a published session key from now on.
    ActivateSessionKey(SessionKeyUse, SessionKeyId),
    /// Reserves the name of a member's Main Domain, so that no shared domain takes it.
    SetMainDomain(NodeId, DomainName),
    /// Raises the level of the rules. The leader proposes this once every member knows the level: a
    /// member that does not would derive another State from the same commands.
    SetLevel(u32),
    /// Adds a part of a long revocation list to the set of a domain, or of the scope; the list
    /// itself comes with [`Action::AddLongCrl`] (level 2).
    AddCrlPart(Option<DomainName>, Box<AddCrlPart>),
    /// Adds a long revocation list, whose parts were added before (level 2).
    AddLongCrl(Option<DomainName>, Box<AddLongCrl>),
    /// Adds a key that waits for its certificate, beside the key in use (level 2).
    SetPendingKey(DomainName, Box<DomainKey>),
    /// Removes a key that waits for its certificate (level 2).
    RemovePendingKey(DomainName, KeyFamily),
    /// Replaces the settings of a listener (level 2).
    SetListener(Box<Listener>),
    /// Adds a listener, or replaces its settings, together with its policy (level 2).
    PutListener(Box<PutListener>),
    /// Uses a join token and adds the member, possibly in the place of another (level 3).
    Join(Box<Join>),
    /// Removes a member, and starts a generation of the keyring that it never gets (level 3).
    RemoveMember(Box<RemoveMember>),
    /// Changes the address, the role or the place of a member (level 3).
    SetMember(Box<SetMember>),
    /// Starts a new generation of the keyring, with proofs (level 3).
    TurnKeyring(Box<TurnKeyring>),
    /// Seals secrets anew under the current generation, and adds proofs (level 3).
    Reseal(Box<Reseal>),
    /// Removes all generations of the keyring before the current one; nothing may be sealed under
    /// them any more (level 3).
    DropGenerations(Generation),
    /// Adds an access token with its proof (level 3).
    AddAccessToken(TokenId, AccessToken, Proof),
    /// Notes a complete backup (level 3).
    NoteBackup(LastBackup),
    /// Begins to restore a backup into a cluster without domains (level 3).
    BeginRestore,
    /// Adds rows of a backup, as key and record, with their secrets sealed for this cluster
    /// (level 3).
    RestoreRows(Vec<(RowKey, Record)>),
    /// Ends restoring (level 3).
    FinishRestore,
    /// Replaces the authority of the cluster; the one before stays trusted (level 3).
    RotateAuthority(Box<RotateAuthority>),
    /// Ends the trust in the authority before the present one (level 3).
    ForgetAuthority,
    /// Lets one member serve a new certificate of a domain (level 3).
    StartCanary(Box<StartCanary>),
    /// Ends the canary of a domain. If `true`, every member serves its certificate; otherwise none
    /// does (level 3).
    EndCanary(DomainName, bool),
    /// Adds an access token with a grant (level 4).
    GrantToken(Box<GrantToken>),
    /// Revokes tokens, those that they made among them (level 4).
    RevokeTokens(RevokeTokens),
    /// Adds a user, or replaces one (level 4).
    PutUser(Box<PutUser>),
    /// Removes a user and ends its sessions (level 4).
    RemoveUser(UserName),
    /// Adds entries to the audit trail about what changed nothing: what was denied, what failed,
    /// logins, secrets that were read (level 4).
    NoteAudit(Vec<AuditEvent>),
    /// Removes the oldest entries of the audit trail (level 4).
    CutAudit(Box<CutAudit>),
    /// Sets how many entries of the audit trail are kept (level 4).
    KeepAudit(u32),
    /// Changes an S/MIME issuer or an account (level 5).
    Account(AccountAction),
}

/// See [`Action::RotateAuthority`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateAuthority {
    /// Certificate of the new authority, DER.
    pub authority_der: ByteBuf,
    /// Its private key, sealed.
    pub authority_key: Sealed,
    /// Certificate of its key, issued by the present authority, DER.
    pub cross_der: ByteBuf,
}

/// See [`Action::AddTrusted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddTrusted {
    /// Certificates, DER.
    pub certificates: Vec<ByteBuf>,
    /// Revocation lists, each with the hash of its issuer's name (DER).
    pub crls: Vec<(Fingerprint, Crl)>,
}

/// See [`Action::AddCrlPart`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddCrlPart {
    /// Hash of the whole list.
    pub list: Fingerprint,
    /// Number of the part, counted from 0.
    pub number: u32,
    /// The part, DER.
    pub der: ByteBuf,
}

/// See [`Action::AddLongCrl`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddLongCrl {
    /// Hash of its issuer's name (DER).
    pub issuer: Fingerprint,
    /// The list.
    pub crl: LongCrl,
}

/// See [`Action::PutListener`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutListener {
    /// The listener.
    pub listener: Listener,
    /// Which clients it takes.
    pub policy: ListenerPolicy,
    /// Whether it must not exist yet; otherwise it must exist.
    pub is_new: bool,
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
    /// The token; admission has verified the proof of possession.
    pub token: TokenId,
    /// The new member.
    pub member: Member,
    /// Every generation of the keyring, wrapped for it.
    pub wraps: Vec<(Generation, ByteBuf)>,
}

/// See [`Action::RotateKeyring`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateKeyring {
    /// The new generation: the current one plus one.
    pub generation: Generation,
    /// Its key, wrapped for exactly the current members.
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
    /// Local addresses of this domain, for clients that send no name.
    pub addresses: Vec<IpAddr>,
    /// PKI services.
    pub mode: PkiMode,
}

/// See [`Action::SetDomain`]; `None` keeps a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDomain {
    /// Name of the domain.
    pub name: DomainName,
    /// PKI services.
    pub mode: Option<PkiMode>,
    /// The new list of aliases.
    pub aliases: Option<Vec<ServerName>>,
    /// The new list of assigned addresses.
    pub addresses: Option<Vec<IpAddr>>,
}

/// See [`Action::SetCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetCertificate {
    /// Name of the domain.
    pub name: DomainName,
    /// A new key, replacing the existing one of its family.
    pub key: Option<DomainKey>,
    /// The certificate.
    pub certificate: Certificate,
    /// The CA chain: `None` keeps the existing one, an empty list removes it.
    pub chain: Option<Vec<ByteBuf>>,
}

/// See [`Action::StartCanary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartCanary {
    /// The certificate, and what comes with it.
    pub set: SetCertificate,
    /// The member that serves it.
    pub node: NodeId,
    /// Time from which on every member may serve it.
    pub until: UnixMillis,
}

impl Action {
    /// Returns the domain concerned by this action, if any.
    pub fn domain(&self) -> Option<&DomainName> {
        match self {
            Action::CreateDomain(create) => Some(&create.name),
            Action::SetDomain(set) => Some(&set.name),
            Action::SetCertificate(set) => Some(&set.name),
            Action::StartCanary(start) => Some(&start.set.name),
            Action::Account(action) => Some(action.domain()),
            Action::DeleteDomain(name)
            | Action::EndCanary(name, _)
            | Action::SetKey(name, _)
            | Action::RemoveKey(name, _)
            | Action::RemoveCertificate(name, _)
            | Action::SetChain(name, _, _)
            | Action::RemoveChain(name, _)
            | Action::RenameDomain(name, _)
            | Action::RollbackDomain(name, _)
            | Action::SetClientAuth(name, _)
            | Action::SetPendingKey(name, _)
            | Action::RemovePendingKey(name, _) => Some(name),
            Action::AddTrusted(owner, _)
            | Action::RemoveTrusted(owner, _)
            | Action::AddCrlPart(owner, _)
            | Action::AddLongCrl(owner, _) => owner.as_ref(),
            _ => None,
        }
    }

    /// Returns the account concerned by this action, if any.
    pub fn account(&self) -> Option<&AccountOf> {
        match self {
            Action::Account(action) => action.account(),
            _ => None,
        }
    }

    /// Returns the level of the rules that knows this action. Below it the action must not be
    /// ordered: a member of an older version could not read it.
    pub fn level(&self) -> u32 {
        match self {
            Action::SetPendingKey(..)
            | Action::RemovePendingKey(..)
            | Action::SetListener(_)
            | Action::PutListener(_)
            | Action::AddCrlPart(..)
            | Action::AddLongCrl(..) => 2,
            Action::Join(_)
            | Action::RemoveMember(_)
            | Action::SetMember(_)
            | Action::TurnKeyring(_)
            | Action::Reseal(_)
            | Action::DropGenerations(_)
            | Action::AddAccessToken(..)
            | Action::NoteBackup(_)
            | Action::BeginRestore
            | Action::RestoreRows(_)
            | Action::FinishRestore
            | Action::RotateAuthority(_)
            | Action::ForgetAuthority
            | Action::StartCanary(_)
            | Action::EndCanary(..) => 3,
            Action::GrantToken(_)
            | Action::RevokeTokens(_)
            | Action::PutUser(_)
            | Action::RemoveUser(_)
            | Action::NoteAudit(_)
            | Action::CutAudit(_)
            | Action::KeepAudit(_) => 4,
            Action::Account(_) => 5,
            _ => 0,
        }
    }

    /// Returns whether this action has another form from level 3 on, with a proof.
    pub(crate) fn is_without_proof(&self) -> bool {
        matches!(
            self,
            Action::RedeemJoinToken(_) | Action::RotateKeyring(_) | Action::CreateAccessToken(..)
        )
    }

    /// Returns whether this action decides who may open secrets or order changes. Only members that
    /// hold the keyring may order it.
    pub fn is_of_trust(&self) -> bool {
        self.is_without_proof()
            || matches!(self, Action::Account(action) if action.is_of_trust())
            || matches!(
                self,
                Action::FoundCluster(_)
                    | Action::CreateJoinToken(..)
                    | Action::Join(_)
                    | Action::RemoveMember(_)
                    | Action::TurnKeyring(_)
                    | Action::Reseal(_)
                    | Action::DropGenerations(_)
                    | Action::AddAccessToken(..)
                    | Action::PublishSessionKey(..)
                    | Action::ActivateSessionKey(..)
                    | Action::SetLevel(_)
                    | Action::NoteBackup(_)
                    | Action::BeginRestore
                    | Action::RestoreRows(_)
                    | Action::FinishRestore
                    | Action::RotateAuthority(_)
                    | Action::ForgetAuthority
                    | Action::GrantToken(_)
                    | Action::PutUser(_)
                    | Action::CutAudit(_)
                    | Action::KeepAudit(_)
            )
    }

    /// Returns whether this action has another form from level 4 on, with a grant.
    pub(crate) fn is_without_grant(&self) -> bool {
        matches!(self, Action::AddAccessToken(..))
    }

    /// Returns every sealed secret in this action.
    pub fn sealed(&self) -> Vec<&Sealed> {
        match self {
            Action::FoundCluster(found) => vec![&found.cluster.authority_key],
            Action::CreateJoinToken(_, token) => vec![&token.secret],
            Action::SetKey(_, key) | Action::SetPendingKey(_, key) => vec![&key.sealed],
            Action::SetCertificate(set) => set.key.iter().map(|key| &key.sealed).collect(),
            Action::PutUser(put) => put.user.code.iter().collect(),
            Action::Account(action) => action.sealed(),
            Action::StartCanary(start) => start.set.key.iter().map(|key| &key.sealed).collect(),
            Action::RotateKeyring(rotate) => vec![&rotate.authority_key],
            Action::PublishSessionKey(_, _, key) => vec![&key.sealed],
            Action::RemoveMember(remove) => vec![&remove.turn.rotate.authority_key],
            Action::TurnKeyring(turn) => vec![&turn.rotate.authority_key],
            Action::RotateAuthority(rotate) => vec![&rotate.authority_key],
            Action::Join(join) => {
                let turn = join.replaces.iter();
                turn.map(|remove| &remove.turn.rotate.authority_key).collect()
            }
            Action::Reseal(reseal) => {
                reseal.secrets.iter().flat_map(|one| one.secrets.iter()).collect()
            }
            _ => Vec::new(),
        }
    }
}

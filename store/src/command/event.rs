//! What the audit trail says about an action: its event, and its object.

use super::{AccountAction, Action};
use crate::record::Principal;

impl Action {
    /// Returns the stable id of the event in the audit trail; `None` for the upkeep of nodes, and for
    /// parts of a change that mean nothing by themselves.
    pub fn event(&self) -> Option<&'static str> {
        Some(match self {
            Action::FoundCluster(_) => "cluster.found",
            Action::CreateJoinToken(..) => "join_token.create",
            Action::RedeemJoinToken(_) | Action::Join(_) => "node.join",
            Action::CreateAccessToken(..) | Action::AddAccessToken(..) => "token.create",
            Action::GrantToken(grant) if grant.grant.user.is_some() => "user.login",
            Action::GrantToken(_) => "token.create",
            Action::RevokeAccessToken(_) | Action::RevokeTokens(_) => "token.revoke",
            Action::RotateKeyring(_) | Action::TurnKeyring(_) => "keyring.rotate",
            Action::CreateDomain(_) => "domain.create",
            Action::SetDomain(_) => "domain.set",
            Action::DeleteDomain(_) => "domain.delete",
            Action::RenameDomain(..) => "domain.rename",
            Action::RollbackDomain(..) => "domain.rollback",
            Action::SetKey(..) => "key.set",
            Action::RemoveKey(..) => "key.remove",
            Action::SetPendingKey(..) => "key.set_pending",
            Action::RemovePendingKey(..) => "key.remove_pending",
            Action::SetCertificate(_) => "certificate.set",
            Action::RemoveCertificate(..) => "certificate.remove",
            Action::StartCanary(_) => "canary.start",
            Action::EndCanary(_, true) => "canary.promote",
            Action::EndCanary(_, false) => "canary.stop",
            Action::SetChain(..) => "chain.set",
            Action::RemoveChain(..) => "chain.remove",
            Action::SetClientAuth(_, Some(_)) => "client_auth.set",
            Action::SetClientAuth(_, None) => "client_auth.clear",
            Action::AddListener(_) => "listener.add",
            Action::SetListener(_) => "listener.set",
            Action::PutListener(put) if put.is_new => "listener.add",
            Action::PutListener(_) => "listener.set",
            Action::RemoveListener(_) => "listener.remove",
            Action::AddTrusted(..) | Action::AddLongCrl(..) => "trust.add",
            Action::RemoveTrusted(..) => "trust.remove",
            Action::SetTlsSettings(_) => "tls.set",
            Action::FlushSessions => "tls.flush",
            Action::SetMainDomain(..) => "node.main_domain",
            Action::SetLevel(_) => "cluster.level",
            Action::RemoveMember(_) => "node.remove",
            Action::SetMember(_) => "node.set",
            Action::NoteBackup(_) => "backup.note",
            Action::BeginRestore => "backup.restore",
            Action::FinishRestore => "backup.restored",
            Action::RotateAuthority(_) => "cluster.rotate_authority",
            Action::ForgetAuthority => "cluster.forget_authority",
            Action::PutUser(put) if put.is_new => "user.create",
            Action::PutUser(_) => "user.set",
            Action::RemoveUser(_) => "user.delete",
            Action::CutAudit(_) => "audit.cut",
            Action::KeepAudit(_) => "audit.keep",
            Action::DropGenerations(_) => "keyring.drop_generations",
            Action::Account(action) => action.event(),
            Action::PublishSessionKey(..)
            | Action::ActivateSessionKey(..)
            | Action::AddCrlPart(..)
            | Action::Reseal(_)
            | Action::RestoreRows(_)
            | Action::NoteAudit(_) => return None,
        })
    }

    /// Returns the name of the object that this action is about; empty for the cluster.
    pub fn object(&self) -> String {
        match self {
            Action::CreateJoinToken(id, _)
            | Action::CreateAccessToken(id, _)
            | Action::AddAccessToken(id, ..)
            | Action::RevokeAccessToken(id) => id.to_string(),
            Action::GrantToken(grant) => match &grant.token.made.principal {
                Principal::User { name, .. } if grant.grant.user.is_some() => name.to_string(),
                _ => grant.token.name.clone(),
            },
            Action::RevokeTokens(revoke) => {
                { revoke.access.iter().chain(&revoke.join).next().map(ToString::to_string) }
                    .unwrap_or_default()
            }
            Action::RedeemJoinToken(redeem) => redeem.member.name.to_string(),
            Action::Join(join) => join.member.name.to_string(),
            Action::AddListener(listener) => listener.name.to_string(),
            Action::SetListener(listener) => listener.name.to_string(),
            Action::PutListener(put) => put.listener.name.to_string(),
            Action::RemoveListener(name) => name.to_string(),
            Action::SetMainDomain(id, _) => format!("node {id}"),
            Action::RemoveMember(remove) => format!("node {}", remove.id),
            Action::SetMember(set) => format!("node {}", set.id),
            Action::PutUser(put) => put.name.to_string(),
            Action::RemoveUser(name) => name.to_string(),
            other => match other.account() {
                Some(of) => of.address.to_string(),
                None => other.domain().map(ToString::to_string).unwrap_or_default(),
            },
        }
    }
}

impl AccountAction {
    /// Returns the stable id of the event in the audit trail.
    fn event(&self) -> &'static str {
        match self {
            AccountAction::SetSmimeIssuer(_) => "smime.set",
            AccountAction::RemoveSmimeIssuer(_) => "smime.remove",
            AccountAction::CreateAccount(_) => "account.create",
            AccountAction::DeleteAccount(_) => "account.delete",
            AccountAction::SetAccountKey(_) => "account_key.set",
            AccountAction::RelockAccount(_) => "account_key.passphrase",
            AccountAction::SetAccountCertificate(_) => "account_certificate.set",
            AccountAction::RevokeAccountCertificate(_) => "account_certificate.revoke",
            AccountAction::SetCrlUrl(..) => "smime.crl_url",
            AccountAction::SetRecoveryKey(..) => "smime.recovery_key",
            AccountAction::InviteOwner(invite) if invite.invitation.is_some() => "account.invite",
            AccountAction::InviteOwner(_) => "account.uninvite",
            AccountAction::EnterAccount(_) => "account.enter",
        }
    }
}

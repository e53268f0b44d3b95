//! Routes for accounts. Only an export contains a private key, encrypted under a passphrase.

use axum::{
    Json,
    extract::{Path, State},
};
use conclave_api::{
    API_VERSION,
    account::{
        Account, Create, Export, Exported, Generate, Import, Invitation, Invite, Issue, Issued,
        Login, Passphrase, Recover, Revoke, SealedCopy,
    },
    change::{Change, List},
    path,
    problem::{Code, Problem},
    user::Session,
};
use conclave_cluster::{
    admit::{self, LockedKey, View, domain_name, email_address},
    node::Node,
    operate, view,
};
use conclave_store::{id::AccountId, outcome::Rejection, scope::Scope};
use conclave_system::{clock, entropy};
use zeroize::Zeroizing;

use super::Answer;
use crate::asked::{Asked, Unknown};

/// Answers a page of the accounts of a domain.
pub(super) async fn list(Path(name): Path<String>, asked: Asked) -> Answer<List<Account>> {
    let name = domain_name(&name)?;
    let state = asked.operator.read().await?;
    let unknown = || admit::rejection_problem(&Rejection::DomainUnknown(name.clone()));
    let domain = state.domain(&name).ok_or_else(unknown)?;
    let after = asked.page.after.as_deref().map(email_address).transpose()?;
    let (limit, now) = (asked.page.limit, clock::now());
    let found: Vec<_> = state.accounts_of(domain, after.as_ref()).take(limit + 1).collect();
    let has_more = found.len() > limit;
    let shown = found.into_iter().take(limit);
    let items: Vec<Account> =
        shown.map(|account| view::account(&state, domain, account, now)).collect();
    let next = items.last().filter(|_| has_more).map(|one| one.address.clone());
    Ok(Json(List { next, ..List::new(items) }))
}

pub(super) async fn show(Path(address): Path<String>, asked: Asked) -> Answer<Account> {
    let found = asked.operator.account(&address).await?;
    let (state, domain, now) = (&found.state, &found.domain, clock::now());
    let earlier = state.earlier_keys(found.account.id);
    let of = (domain, &found.account);
    let earlier = earlier.map(|(_, key)| view::account_key(state, of, key, now)).collect();
    let shown = view::account(state, domain, (&found.address, &found.account), now);
    Ok(Json(Account { earlier, ..shown }))
}

pub(super) async fn create(asked: Asked) -> Answer<Change> {
    let create: Create = asked.json()?;
    let id = AccountId(entropy::array());
    let derive = move |view: &View<'_>| admit::create_account(view, &create, id);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn delete(Path(address): Path<String>, asked: Asked) -> Answer<Change> {
    let derive = move |view: &View<'_>| admit::delete_account(view, &address);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn generate_key(Path(address): Path<String>, asked: Asked) -> Answer<Change> {
    let generate: Generate = asked.json()?;
    let found = asked.operator.account(&address).await?;
    let key = asked.operator.new_account_key(&found, generate).await?;
    let Json(change) = set_key(address, asked, key).await?;
    Ok(Json(change.made_afresh("key")))
}

pub(super) async fn import_key(Path(address): Path<String>, asked: Asked) -> Answer<Change> {
    let import: Import = asked.json()?;
    let found = asked.operator.account(&address).await?;
    let key = asked.operator.imported_account_key(&found, import).await?;
    set_key(address, asked, key).await
}

async fn set_key(address: String, asked: Asked, key: LockedKey) -> Answer<Change> {
    let derive = move |view: &View<'_>| admit::set_account_key(view, &address, &key);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn export_key(Path(address): Path<String>, asked: Asked) -> Answer<Exported> {
    asked.operator.for_real()?;
    let export: Export = asked.json()?;
    let found = asked.operator.account(&address).await?;
    Ok(Json(Exported { pkcs12: asked.operator.exported_account_key(&found, export).await? }))
}

pub(super) async fn set_passphrase(Path(address): Path<String>, asked: Asked) -> Answer<Change> {
    let passphrase: Passphrase = asked.json()?;
    let found = asked.operator.account(&address).await?;
    let relocked = asked.operator.relocked_keys(&found, passphrase).await?;
    let derive = move |view: &View<'_>| admit::relock_account(view, &address, &relocked);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn certificate(Path(address): Path<String>, asked: Asked) -> Answer<Issued> {
    let found = asked.operator.account(&address).await?;
    let latest =
        view::latest_certificate(&found.state, &found.domain, &found.account, clock::now());
    let missing = || {
        let address = &found.address;
        Problem::new(Code::CertificateMissing, format!("{address} has no certificate"))
            .hint(format!("conclave account cert issue {address}"))
    };
    Ok(Json(latest.ok_or_else(missing)?))
}

pub(super) async fn issue(Path(address): Path<String>, asked: Asked) -> Answer<Change> {
    let issue: Issue = asked.json()?;
    let derive = move |view: &View<'_>| admit::issue_account_certificate(view, &address, &issue);
    let change = asked.operator.change(Scope::Shared, derive).await?;
    Ok(Json(change.made_afresh("certificate")))
}

pub(super) async fn revoke(Path(address): Path<String>, asked: Asked) -> Answer<Change> {
    let revoke: Revoke = asked.json()?;
    let derive = move |view: &View<'_>| admit::revoke_account_certificate(view, &address, &revoke);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

/// Invites the owner of an account. The secret is in this answer only.
pub(super) async fn invite(Path(address): Path<String>, asked: Asked) -> Answer<Invitation> {
    asked.operator.for_real()?;
    let invite: Invite = asked.json()?;
    let (text, expires, change) = asked.operator.invite(&address, invite.expires_in).await?;
    let url = asked.operator.node.config().account_url.as_deref();
    let address = change.object.clone();
    Ok(Json(Invitation {
        api_version: API_VERSION.to_owned(),
        kind: "AccountInvitation".to_owned(),
        url: url.map(|url| path::invitation_url(url, &address, &text)),
        address,
        invitation: text,
        expires: clock::rfc3339(expires),
        change,
    }))
}

pub(super) async fn withdraw(Path(address): Path<String>, asked: Asked) -> Answer<Change> {
    let derive = move |view: &View<'_>| admit::withdraw_invitation(view, &address);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

/// Logs the owner of an account in.
pub(super) async fn log_in(
    State(_node): State<Node>,
    Path(address): Path<String>,
    unknown: Unknown,
) -> Answer<Session> {
    let Unknown { asked, guest, .. } = unknown;
    asked.operator.for_real()?;
    let login: Login = asked.json()?;
    let session = match login.invitation {
        Some(_) => operate::enter(asked.operator, &address, login).await?,
        None => operate::log_in(asked.operator, &address, Zeroizing::new(login.passphrase)).await?,
    };
    if let Some(guest) = guest {
        guest.admit();
    }
    Ok(Json(Session {
        api_version: API_VERSION.to_owned(),
        kind: "Session".to_owned(),
        user: session.address.to_string(),
        token: session.token,
        expires: clock::rfc3339(session.expires),
    }))
}

pub(super) async fn copy_for_recovery(
    Path(address): Path<String>,
    asked: Asked,
) -> Answer<SealedCopy> {
    asked.operator.for_real()?;
    let recover: Recover = asked.json()?;
    let found = asked.operator.account(&address).await?;
    Ok(Json(asked.operator.copy_for_recovery(&found, recover.key.as_deref()).await?))
}

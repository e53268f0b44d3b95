//! Owners of accounts: invitations, logins and sessions.
//!
//! A session is not stored: it is a proof under the keyring that it was given out, for one account,
//! one passphrase and some time. State has the hash of the one invitation that may be used.

use conclave_api::{
    account::{Issue, Login, Purpose as KeyUse},
    change::Change,
    key::Generate as GenerateKey,
    problem::{Code, Problem},
};
use conclave_keys::Claim;
use conclave_pki::key::{KeyAlgorithm, PrivateKey};
use conclave_smime::limits::PASSPHRASE_BYTES_MAX;
use conclave_store::{
    id::EmailAddress,
    outcome::Rejection,
    record::{AuditEvent, AuditResult, Domain, Principal},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    Caller, FoundAccount, Operator,
    account::{locked, too_often},
};
use crate::{
    admit::{self, View, rejection_problem},
    fault::internal,
    node::Node,
    rights::{Access, Owned},
    token::{Proved, invitation_text, parse_invitation},
};

/// Life of a session.
const SESSION_MS: u64 = 60 * 60 * 1_000;
/// Life of an invitation, in seconds.
const INVITATION_SECONDS: u64 = 7 * 24 * 60 * 60;
const INVITATION_SECONDS_MIN: u64 = 60;
const INVITATION_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;

/// The session of an account's owner.
pub struct OwnerSession {
    /// Address of the account.
    pub address: EmailAddress,
    /// The token for requests.
    pub token: String,
    /// Time at which it ends.
    pub expires: UnixMillis,
}

impl Operator {
    /// Invites the owner of an account. Returns the secret, as text, and its end.
    pub async fn invite(
        &self,
        address: &str,
        expires_in: Option<u64>,
    ) -> Result<(String, UnixMillis, Change), Problem> {
        let seconds = expires_in.unwrap_or(INVITATION_SECONDS);
        if !(INVITATION_SECONDS_MIN..=INVITATION_SECONDS_MAX).contains(&seconds) {
            let title = format!(
                "an invitation lasts for {INVITATION_SECONDS_MIN} s to {INVITATION_SECONDS_MAX} s"
            );
            return Err(Problem::new(Code::Malformed, title));
        }
        let (secret, expires) = (entropy::array::<32>(), clock::now().plus(seconds * 1_000));
        let of = address.to_owned();
        let derive = move |view: &View<'_>| admit::invite_owner(view, &of, &secret, expires);
        let change = self.change(Scope::Shared, derive).await?;
        // A try before this one may have made another, whose secret nobody knows.
        let found = self.account(address).await?;
        if !admit::is_invitation(&self.node, &found.state, &found.account, &secret, clock::now()) {
            let title = format!("another invitation of {} took the place", found.address);
            return Err(Problem::new(Code::VersionConflict, title).hint("repeat the command"));
        }
        Ok((invitation_text(secret), expires, change))
    }
}

/// Finds out whose session a token is, by this State; `None`: it is none, or it has ended. A sealed
/// node cannot tell.
pub fn owner(node: &Node, state: &State, token: &str) -> Result<Option<Caller>, Problem> {
    let Some((address, Proved { expires, proof })) = Proved::parse_session(token) else {
        return Ok(None);
    };
    node.check_unsealed()?;
    let found = state.account(&address).zip(state.domain_of(&address));
    Ok(found.and_then(|(account, domain)| {
        let text = address.to_string();
        let claim = Claim::OwnerSession(account.id, &text, account.passphrase, expires);
        let is_valid = clock::now() <= expires && node.keyring().verifies(&proof, &claim);
        let owned = Owned { address, id: account.id, passphrase: account.passphrase };
        is_valid.then(|| Caller { ends: Some(expires), ..caller(owned, domain) })
    }))
}

fn caller(owned: Owned, domain: &Domain) -> Caller {
    Caller {
        principal: Principal::Owner(owned.address.clone()),
        access: Access::of_owner(owned, &domain.name),
        remote: None,
        expects: Vec::new(),
        ends: None,
    }
}

/// Logs the owner of an account in. `operator` is the operation of a caller that is nobody yet.
pub async fn log_in(
    operator: Operator,
    address: &str,
    passphrase: Zeroizing<String>,
) -> Result<OwnerSession, Problem> {
    let address = admit::email_address(address)?;
    let refused = || Problem::new(Code::LoginRefused, "the address or the passphrase is wrong");
    // None has such a passphrase. Found out later it would tell who has a key.
    if passphrase.len() > PASSPHRASE_BYTES_MAX {
        return Err(refused());
    }
    operator.node.check_unsealed()?;
    let (name, from) = (address.to_string(), operator.network());
    if let Some(pause) = operator.node.unlocks().pause(&name, from, Instant::now()) {
        return Err(Problem { code: Code::LoginTooOften, ..too_often(&address, pause) });
    }
    let state = operator.read().await?;
    let found = state.domain_of(&address).cloned().zip(state.account(&address).cloned());
    let with_key = found.filter(|(_, account)| account.key.is_some());
    let Some((domain, account)) = with_key else {
        operator.refuse_slowly(&address).await.map_err(of_login)?;
        return Err(refused());
    };
    let found = FoundAccount { state, domain, address, account };
    let key = found.account.key.as_ref().ok_or_else(refused)?;
    match operator.unlocked(&found, key, &passphrase).await {
        Ok(_) => {}
        Err(problem) if problem.code == Code::AccountPassphraseRefused => return Err(refused()),
        Err(problem) => return Err(of_login(problem)),
    }
    operator.tell_login(&found);
    operator.session(&found, found.account.passphrase)
}

fn of_login(problem: Problem) -> Problem {
    match problem.code {
        Code::AccountUnlockTooOften => Problem { code: Code::LoginTooOften, ..problem },
        _ => problem,
    }
}

/// Uses an invitation: gives the account a key under the passphrase that the owner has chosen, and a
/// certificate if its domain can issue one. A repetition after that is a login.
pub async fn enter(
    operator: Operator,
    address: &str,
    login: Login,
) -> Result<OwnerSession, Problem> {
    operator.node.check_unsealed()?;
    let address = admit::email_address(address)?;
    let (passphrase, state) = (Zeroizing::new(login.passphrase), operator.read().await?);
    let text = Zeroizing::new(login.invitation.unwrap_or_default());
    let found = state.domain_of(&address).cloned().zip(state.account(&address).cloned());
    // Before a key is made: that takes time, and anybody can ask for it.
    let open = found.zip(parse_invitation(&text)).filter(|((_, account), secret)| {
        admit::is_invitation(&operator.node, &state, account, secret, clock::now())
    });
    let Some(((domain, account), secret)) = open else {
        let session = log_in(operator, &address.to_string(), passphrase).await;
        return session.map_err(|problem| match problem.code {
            Code::LoginRefused => unknown_invitation(&address),
            _ => problem,
        });
    };
    let found = FoundAccount { state, domain, address, account };
    let operator = operator.as_owner(&found, found.account.passphrase);
    let generate = GenerateKey { algorithm: login.algorithm };
    let purpose = KeyUse::SignAndEncrypt;
    let key = operator.generated_account_key(&found, generate, purpose, passphrase).await?;
    let of = found.address.to_string();
    let enter = move |view: &View<'_>| admit::enter_account(view, &of, &secret, &key);
    let entered = operator.change(Scope::Shared, enter).await;
    entered.map_err(|problem| match problem.code {
        Code::InvitationRefused => unknown_invitation(&found.address),
        _ => problem,
    })?;
    let operator = operator.as_owner(&found, found.account.passphrase + 1);
    let of = found.address.to_string();
    let issue =
        move |view: &View<'_>| admit::issue_account_certificate(view, &of, &Issue::default());
    if let Err(problem) = operator.step().change(Scope::Shared, issue).await {
        // The owner sees that there is none, and can ask again.
        let address = &found.address;
        tracing::info!(event = "account.not_certified", %address, title = problem.title);
    }
    operator.session(&found, found.account.passphrase + 1)
}

fn unknown_invitation(address: &EmailAddress) -> Problem {
    let rejection = Rejection::InvitationUnknown(address.clone());
    // Whether there is such an account is not for strangers.
    Problem { hint: None, ..rejection_problem(&rejection) }
        .hint("if it was used by you, log in with the passphrase; else ask for another one")
}

impl Operator {
    /// Returns the operation as one of the account's owner, under the passphrase of this number.
    fn as_owner(&self, found: &FoundAccount, passphrase: u32) -> Operator {
        let owned = Owned { address: found.address.clone(), id: found.account.id, passphrase };
        let caller = Caller { remote: self.caller.remote, ..caller(owned, &found.domain) };
        Operator { caller, ..self.clone() }
    }

    fn session(&self, found: &FoundAccount, passphrase: u32) -> Result<OwnerSession, Problem> {
        let expires = clock::now().plus(SESSION_MS);
        let address = found.address.to_string();
        let claim = Claim::OwnerSession(found.account.id, &address, passphrase, expires);
        let proof = self.node.keyring().prove(&claim);
        let proof = proof.map_err(|error| self.sealed(error.to_string()))?;
        let token = Proved { expires, proof }.session_text(&found.address);
        Ok(OwnerSession { address: found.address.clone(), token, expires })
    }

    /// Takes as long as a wrong passphrase for an account that exists, and counts as one.
    async fn refuse_slowly(&self, address: &EmailAddress) -> Result<(), Problem> {
        let name = address.to_string();
        let from = self.network();
        let node = self.node.clone();
        let tried = self.locking(address, move |address| {
            if let Some(pause) = node.unlocks().pause(&address.to_string(), from, Instant::now()) {
                return Err(too_often(address, pause));
            }
            let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill);
            let key = key.map_err(|error| internal("a key", error))?;
            locked(&key, "as long as for any other", address).map(drop)
        });
        let tried = tried.await;
        if tried.is_ok() {
            self.node.unlocks().failed(&name, from, Instant::now());
        }
        tried
    }

    fn tell_login(&self, found: &FoundAccount) {
        self.node.audit().add(AuditEvent {
            time: clock::now(),
            principal: Principal::Owner(found.address.clone()),
            origin: Some(self.caller.origin(&self.node)),
            event: "account.login".to_owned(),
            result: AuditResult::Done,
            object: found.address.to_string(),
            code: None,
            differences: Vec::new(),
            reason: None,
            operation: None,
        });
    }
}

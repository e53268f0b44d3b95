//! Owners of accounts: invitations, logins and sessions.
//!
//! Neither an invitation nor a session is stored: each is a proof under the keyring that it was given
//! out, for one account and for some time. State knows the hash of the one invitation that may be
//! used, and the number of the passphrase with which a session ends.

use conclave_api::{
    account::{Issue, Login, Purpose as KeyUse},
    key::Generate as GenerateKey,
    problem::{Code, Problem},
};
use conclave_keys::Claim;
use conclave_pki::key::{KeyAlgorithm, PrivateKey};
use conclave_store::{
    id::{AccountId, EmailAddress, Fingerprint},
    outcome::Rejection,
    record::{Account, AuditEvent, AuditResult, Domain, Invitation, Principal},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Caller, FoundAccount, Operator, account::locked};
use crate::{
    admit::{self, View, rejection_problem},
    fault::internal,
    node::Node,
    rights::Access,
    token::Proved,
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

/// A new invitation.
pub struct NewInvitation {
    /// The account.
    pub id: AccountId,
    /// What State keeps of it.
    pub record: Invitation,
    /// Its text, with the secret.
    pub text: String,
}

impl Operator {
    /// Makes an invitation for an account. It holds when State has its record.
    pub fn invitation(
        &self,
        found: &FoundAccount,
        expires_in: Option<u64>,
    ) -> Result<NewInvitation, Problem> {
        let seconds = expires_in.unwrap_or(INVITATION_SECONDS);
        if !(INVITATION_SECONDS_MIN..=INVITATION_SECONDS_MAX).contains(&seconds) {
            let title = format!(
                "an invitation lasts for {INVITATION_SECONDS_MIN} s to {INVITATION_SECONDS_MAX} s"
            );
            return Err(Problem::new(Code::Malformed, title));
        }
        let (id, expires) = (found.account.id, clock::now().plus(seconds * 1_000));
        let address = found.address.to_string();
        let proof = self.node.keyring().prove(&Claim::Invitation(id, &address, expires));
        let proof = proof.map_err(|error| self.sealed(error.to_string()))?;
        let text = Proved { expires, proof }.invitation_text();
        let secret = Fingerprint::of(text.as_bytes());
        Ok(NewInvitation { id, record: Invitation { secret, expires }, text })
    }
}

/// Finds out whose session a token is, by this State; `None`: it is none, or it has ended.
pub fn owner(node: &Node, state: &State, token: &str) -> Option<Caller> {
    let (address, Proved { expires, proof }) = Proved::parse_session(token)?;
    let (account, domain) = (state.account(&address)?, state.domain_of(&address)?);
    let text = address.to_string();
    let claim = Claim::OwnerSession(account.id, &text, account.passphrase, expires);
    let is_valid = clock::now() <= expires && node.keyring().verifies(&proof, &claim);
    is_valid.then(|| Caller { ends: Some(expires), ..caller(address, domain) })
}

fn caller(address: EmailAddress, domain: &Domain) -> Caller {
    Caller {
        access: Access::of_owner(address.clone(), &domain.name),
        principal: Principal::Owner(address),
        remote: None,
        expects: Vec::new(),
        ends: None,
    }
}

/// Logs the owner of an account in. `operator` is the operation of a caller that is nobody yet.
pub async fn log_in(
    operator: Operator,
    address: &str,
    login: Login,
) -> Result<OwnerSession, Problem> {
    let address = admit::email_address(address)?;
    let passphrase = Zeroizing::new(login.passphrase);
    let state = operator.read().await?;
    let of_domain = state.domain_of(&address).cloned();
    let account = state.account(&address).cloned();
    let refused = || Problem::new(Code::LoginRefused, "the address or the passphrase is wrong");
    let Some((domain, account)) = of_domain.zip(account) else {
        operator.refuse_slowly(&address).await?;
        return Err(refused());
    };
    let found = FoundAccount { state, domain, address, account };
    let Some(key) = &found.account.key else {
        operator.refuse_slowly(&found.address).await?;
        return Err(refused());
    };
    match operator.unlocked(&found, key, &passphrase).await {
        Ok(_) => {}
        Err(problem) if problem.code == Code::AccountPassphraseRefused => return Err(refused()),
        Err(problem) if problem.code == Code::AccountUnlockTooOften => {
            return Err(Problem { code: Code::LoginTooOften, ..problem });
        }
        Err(problem) => return Err(problem),
    }
    operator.tell_login(&found);
    operator.session(&found, &found.account)
}

/// Uses an invitation: gives the account a key under the passphrase that the owner has chosen, and a
/// certificate if its domain can issue one.
pub async fn enter(
    operator: Operator,
    address: &str,
    login: Login,
) -> Result<OwnerSession, Problem> {
    let address = admit::email_address(address)?;
    let (passphrase, state) = (Zeroizing::new(login.passphrase), operator.read().await?);
    let text = Zeroizing::new(login.invitation.unwrap_or_default());
    let (Some(domain), Some(account)) =
        (state.domain_of(&address).cloned(), state.account(&address).cloned())
    else {
        return Err(unknown_invitation(&address));
    };
    // Before a key is made: that takes time, and anybody can ask for it.
    let secret = operator.node.is_invitation(&address, &account, &text);
    let secret = secret.ok_or_else(|| unknown_invitation(&address))?;
    let caller = Caller { remote: operator.caller.remote, ..caller(address.clone(), &domain) };
    let operator = Operator { caller, ..operator };
    let found = FoundAccount { state, domain, address, account };
    let generate = GenerateKey { algorithm: login.algorithm };
    let purpose = KeyUse::SignAndEncrypt;
    let key = operator.generated_account_key(&found, generate, purpose, passphrase).await?;
    let (of, id) = (found.address.to_string(), found.account.id);
    let enter = move |view: &View<'_>| admit::enter_account(view, &of, (id, secret), &key);
    operator.change(Scope::Shared, enter).await?;
    let of = found.address.to_string();
    let issue =
        move |view: &View<'_>| admit::issue_account_certificate(view, &of, &Issue::default());
    if let Err(problem) = operator.step().change(Scope::Shared, issue).await {
        // The owner sees that there is none, and can ask again.
        let address = &found.address;
        tracing::info!(event = "account.not_certified", %address, title = problem.title);
    }
    let state = operator.read().await?;
    let account = state.account(&found.address).filter(|account| account.id == id);
    let account = account.ok_or_else(|| unknown_invitation(&found.address))?;
    operator.session(&found, account)
}

fn unknown_invitation(address: &EmailAddress) -> Problem {
    let rejection = Rejection::InvitationUnknown(address.clone());
    // Whether there is such an account is not for strangers.
    Problem { hint: None, ..rejection_problem(&rejection) }
        .hint("if it was used by you, log in with the passphrase; else ask for another one")
}

impl Node {
    /// Returns what State keeps of an invitation, if it may be used.
    fn is_invitation(
        &self,
        address: &EmailAddress,
        account: &Account,
        text: &str,
    ) -> Option<Fingerprint> {
        let Proved { expires, proof } = Proved::parse_invitation(text)?;
        let address = address.to_string();
        let claim = Claim::Invitation(account.id, &address, expires);
        let is_valid = clock::now() <= expires && self.keyring().verifies(&proof, &claim);
        let secret = Fingerprint::of(text.trim().as_bytes());
        let is_open = account.invitation.is_some_and(|known| known.secret == secret);
        (is_valid && is_open).then_some(secret)
    }
}

impl Operator {
    fn session(&self, found: &FoundAccount, account: &Account) -> Result<OwnerSession, Problem> {
        let expires = clock::now().plus(SESSION_MS);
        let address = found.address.to_string();
        let claim = Claim::OwnerSession(account.id, &address, account.passphrase, expires);
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
                return Err(super::account::too_often(address, pause));
            }
            let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill);
            let key = key.map_err(|error| internal("a key", error))?;
            locked(&key, "as long as for any other", address).map(drop)
        });
        match tried.await {
            Err(problem) if problem.code == Code::AccountUnlockTooOften => {
                Err(Problem { code: Code::LoginTooOften, ..problem })
            }
            tried => {
                self.node.unlocks().failed(&name, from, Instant::now());
                tried
            }
        }
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

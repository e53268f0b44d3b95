//! What one caller may do.

use std::{collections::BTreeSet, net::IpAddr};

use conclave_api::{
    need::{About, Need},
    problem::{Code, Problem},
};
use conclave_keys::{Claim, Keyring};
use conclave_store::{
    command::{AccountAction, Action},
    id::{AccountId, DomainName, EmailAddress, ServerName, UserName},
    record::{Account, DomainLimit, Grant, ProofOf, Right, User},
    state::State,
};

use super::{
    ROLES,
    names::{self, limit_text, right_name, role_name},
    of_action,
};

/// The rights of a caller, and their limits.
#[derive(Debug, Clone)]
pub struct Access {
    rights: BTreeSet<Right>,
    domains: Vec<DomainLimit>,
    /// Whether everything is allowed, at the admin socket.
    is_everything: bool,
    /// The account that the caller owns. Such a caller has no rights, and cares for this account.
    owned: Option<Owned>,
}

/// An account that a caller owns, as it was when the session began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Its address.
    pub address: EmailAddress,
    /// Its id.
    pub id: AccountId,
    /// Number of its passphrase.
    pub passphrase: u32,
}

impl Access {
    /// Returns the access of one who opened the admin socket.
    pub fn everything() -> Access {
        Access { is_everything: true, ..Access::all_rights() }
    }

    /// Returns the access with all rights: that of a token from before grants, and of the node
    /// itself.
    pub fn all_rights() -> Access {
        let rights = ROLES.iter().flat_map(|(_, rights, _)| rights.iter().copied()).collect();
        Access { rights, ..Access::nothing() }
    }

    /// Returns the access of one who has not logged in.
    pub fn nothing() -> Access {
        Access { rights: BTreeSet::new(), domains: Vec::new(), is_everything: false, owned: None }
    }

    /// Returns the access that a grant gives.
    pub fn of(grant: &Grant) -> Access {
        let of_roles = ROLES.iter().filter(|(role, ..)| grant.roles.contains(role));
        let rights = of_roles.flat_map(|(_, rights, _)| rights.iter().copied());
        let rights = rights.filter(|right| grant.only.is_empty() || grant.only.contains(right));
        let (rights, domains) = (rights.collect(), grant.domains.clone());
        Access { rights, domains, ..Access::nothing() }
    }

    /// Returns the access of the owner of an account of a domain.
    pub fn of_owner(owned: Owned, domain: &DomainName) -> Access {
        let domains = vec![DomainLimit { name: domain.clone(), is_tree: false }];
        Access { domains, owned: Some(owned), ..Access::nothing() }
    }

    /// Decides about an account as it is now: the session of an owner ends with the passphrase, and
    /// with the account.
    pub(crate) fn check_owned(&self, account: &Account) -> Result<(), Problem> {
        let ended =
            |owned: &Owned| (owned.id, owned.passphrase) != (account.id, account.passphrase);
        if self.owned.as_ref().is_some_and(ended) {
            return Err(Problem::new(Code::NotLoggedIn, "the session has ended")
                .why("the passphrase of the account was changed")
                .hint("log in again"));
        }
        Ok(())
    }

    /// Returns whether the caller has a right.
    pub(crate) fn has(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// Returns the rights.
    pub fn rights(&self) -> impl Iterator<Item = Right> {
        self.rights.iter().copied()
    }

    /// Returns the limits to domains; none: all.
    pub fn domains(&self) -> &[DomainLimit] {
        &self.domains
    }

    /// Returns whether everything is allowed.
    pub(crate) fn is_everything(&self) -> bool {
        self.is_everything
    }

    /// Returns whether the caller may see and change a domain, as far as its rights go.
    pub fn includes(&self, name: &DomainName) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|limit| limit.contains(name))
    }

    /// Returns whether this access allows all that `other` allows.
    pub(crate) fn covers(&self, other: &Access) -> bool {
        let is_within = |limit: &DomainLimit| {
            let holds =
                |own: &DomainLimit| own.contains(&limit.name) && (own.is_tree || !limit.is_tree);
            self.domains.iter().any(holds)
        };
        let are_domains_within = self.domains.is_empty()
            || !other.domains.is_empty() && other.domains.iter().all(is_within);
        self.is_everything
            || other.owned.is_none()
                && !other.is_everything
                && self.rights.is_superset(&other.rights)
                && are_domains_within
    }

    /// Decides about a request. `name` is the part of the path that names an object; for an account
    /// it is the name of its domain, and `account` its address.
    pub(crate) fn check(
        &self,
        who: &str,
        need: Need,
        name: Option<&str>,
        account: Option<&EmailAddress>,
    ) -> Result<(), Problem> {
        let (right, about) = match need {
            Need::Nothing | Need::Login => return Ok(()),
            Need::Socket if self.is_everything => return Ok(()),
            Need::Socket => {
                let title = "this can only be asked at the admin socket of the node itself";
                return Err(Problem::new(Code::NotAllowed, title)
                    .hint("on the node, without --address and --token-file"));
            }
            Need::Right(_, About::OwnAccount)
                if account.is_some()
                    && account == self.owned.as_ref().map(|owned| &owned.address) =>
            {
                return Ok(());
            }
            Need::Right(right, about) => (names::right(right), about),
        };
        if self.owned.is_some() {
            return Err(owns_only(who));
        }
        self.check_right(who, right)?;
        let domain = match about {
            About::Some => return Ok(()),
            About::Cluster => None,
            About::Domain | About::Account | About::OwnAccount => name,
            About::TrustSet => name.and_then(|name| name.strip_prefix("domain:")),
        };
        if self.domains.is_empty() {
            return Ok(());
        }
        // What cannot be a name is no domain of the caller.
        match domain.map(DomainName::parse) {
            Some(Ok(name)) if self.includes(&name) => Ok(()),
            _ => Err(self.outside(who, domain)),
        }
    }

    /// Decides about an action. `present` are the names of the domain as it is.
    pub(crate) fn check_action(
        &self,
        who: &str,
        action: &Action,
        present: &[ServerName],
    ) -> Result<(), Problem> {
        if self.is_everything {
            return Ok(());
        }
        if let Some(owned) = &self.owned {
            return match action {
                Action::Account(action)
                    if action.account().is_some_and(|of| of.address == owned.address)
                        && is_for_owners(action) =>
                {
                    Ok(())
                }
                _ => Err(owns_only(who)),
            };
        }
        match of_action(action) {
            Some(right) => self.check_right(who, right)?,
            None => return Err(refused(who, "this is for nodes alone")),
        }
        if self.domains.is_empty() {
            return Ok(());
        }
        let domain = action.domain();
        if !domain.is_some_and(|name| self.includes(name)) {
            return Err(self.outside(who, domain.map(DomainName::as_str)));
        }
        // A domain must not reach beyond the limit by other names, nor by addresses: these are for
        // clients that send no name.
        let (names, has_addresses) = match action {
            Action::CreateDomain(create) => (create.aliases.clone(), !create.addresses.is_empty()),
            Action::SetDomain(set) => {
                let names = set.aliases.clone().unwrap_or_default();
                (names, set.addresses.as_ref().is_some_and(|addresses| !addresses.is_empty()))
            }
            Action::RenameDomain(_, new) => (vec![ServerName::from(new.clone())], false),
            _ => (Vec::new(), false),
        };
        if has_addresses {
            return Err(refused(who, "addresses serve clients of any domain"));
        }
        let new = names.iter().filter(|name| !present.contains(name));
        match new.into_iter().find(|name| !self.includes_name(name)) {
            Some(name) => Err(self.outside(who, Some(name.as_str()))),
            None => Ok(()),
        }
    }

    /// Decides about a domain that an answer would show.
    pub(crate) fn check_domain(&self, who: &str, name: &DomainName) -> Result<(), Problem> {
        match self.includes(name) {
            true => Ok(()),
            false => Err(self.outside(who, Some(name.as_str()))),
        }
    }

    fn includes_name(&self, name: &ServerName) -> bool {
        match name.as_str().strip_prefix("*.") {
            None => DomainName::parse(name.as_str()).is_ok_and(|name| self.includes(&name)),
            Some(rest) => DomainName::parse(rest).is_ok_and(|rest| {
                self.domains.iter().any(|limit| limit.is_tree && limit.contains(&rest))
            }),
        }
    }

    pub(crate) fn check_right(&self, who: &str, right: Right) -> Result<(), Problem> {
        if self.rights.contains(&right) {
            return Ok(());
        }
        let has = ROLES.iter().filter(|(_, rights, _)| rights.contains(&right));
        let roles: Vec<&str> = has.map(|(role, ..)| role_name(*role)).collect();
        let right = right_name(right);
        Err(refused(
            who,
            &format!("it needs the right \"{right}\", which the role {} has", roles.join(" or ")),
        )
        .hint("conclave token whoami    shows what you may do"))
    }

    fn outside(&self, who: &str, what: Option<&str>) -> Problem {
        let limits = self.domains.iter().map(limit_text).collect::<Vec<_>>().join(" ");
        let what = what.map_or_else(
            || "it is about the whole cluster".to_owned(),
            |what| format!("{what} is not among them"),
        );
        refused(who, &format!("it may act on {limits} only, and {what}"))
    }
}

fn refused(who: &str, why: &str) -> Problem {
    Problem::new(Code::NotAllowed, format!("{who} may not do this")).why(why)
}

fn owns_only(who: &str) -> Problem {
    refused(
        who,
        "an owner cares for the keys and certificates of the own account, and nothing else",
    )
}

/// Returns whether an action is one that the owner of its account may order.
fn is_for_owners(action: &AccountAction) -> bool {
    matches!(
        action,
        AccountAction::SetAccountKey(_)
            | AccountAction::RelockAccount(_)
            | AccountAction::EnterAccount(_)
            | AccountAction::SetAccountCertificate(_)
            | AccountAction::RevokeAccountCertificate(_)
    )
}

/// Returns whether a holder of the keyring has made this user. A sealed node cannot tell.
pub fn is_proved_user(keyring: &Keyring, state: &State, name: &UserName, user: &User) -> bool {
    let proof = state.proof(ProofOf::User(user.id));
    proof.is_some_and(|proof| keyring.verifies(&proof, &Claim::user(name, user)))
}

/// Returns whether a grant holds for a client at this address; `None`: the admin socket.
pub fn is_from_here(grant: &Grant, remote: Option<IpAddr>) -> bool {
    grant.networks.is_empty()
        || remote.is_some_and(|remote| grant.networks.iter().any(|one| one.contains(remote)))
}

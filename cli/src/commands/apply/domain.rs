//! Domains of a document, compared with those of the cluster.

use conclave_api::{
    client_auth,
    domain::{Create, Domain as Present, Scope, Set},
    trust::Trusted,
};
use conclave_client::Failure;

use super::{
    credential::{self, Work, malformed},
    plan::{Action, Sides, Step, step},
    request::{Request, Target, TrustSet},
    trusted,
};
use crate::commands::{
    document::{Clients, Domain, present::scope_word},
    domain::pki_word,
};

/// Returns the words for a domain. A shared and a local one may have the same name.
pub(super) fn object(scope: Scope, name: &str) -> String {
    match scope {
        Scope::Shared => format!("domain {name}"),
        Scope::Local => format!("local domain {name}"),
    }
}

/// Returns what makes a domain the one of the document; none if it is so already.
pub(super) fn compare(
    sides: &Sides<'_>,
    present: Option<&Present>,
    own: &[Trusted],
    wanted: &Domain,
) -> Result<Option<Step>, Failure> {
    let target = Target { name: wanted.name.clone(), scope: wanted.scope };
    let mut work = Work::default();
    let late = settings(&mut work, &target, present, wanted);
    let set = TrustSet { name: format!("domain:{}", wanted.name), scope: Some(wanted.scope) };
    let trusted = wanted.trusted.as_ref();
    let trusted = trusted.map(|found| trusted::entries(sides.directory, found)).transpose()?;
    if let Some(entries) = &trusted {
        trusted::add(&mut work, &set, own, entries);
    }
    if let Some(all) = &wanted.credentials {
        let (directory, is_pruned) = (sides.directory, sides.is_pruned);
        credential::compare(&mut work, directory, &target, present, all, is_pruned)?;
    }
    clients(&mut work, &target, present, wanted)?;
    if let Some(set) = late {
        work.requests.push(Request::SetDomain(target.clone(), set));
    }
    if let Some(entries) = trusted.filter(|_| sides.is_pruned) {
        trusted::remove(&mut work, &set, own, &entries);
    }
    let action = if present.is_some() { Action::Change } else { Action::Add };
    Ok(step(object(wanted.scope, &wanted.name), action, work))
}

/// Adds the creation of a domain, or the change of its names. Returns the change of its PKI
/// services, which comes after the certificate that they need.
fn settings(
    work: &mut Work,
    target: &Target,
    present: Option<&Present>,
    wanted: &Domain,
) -> Option<Set> {
    let words = |all: &[String]| (!all.is_empty()).then(|| all.join(" "));
    let Some(present) = present else {
        let (aliases, addresses) = (wanted.aliases.clone(), wanted.addresses.clone());
        let (aliases, addresses) = (aliases.unwrap_or_default(), addresses.unwrap_or_default());
        work.differs("scope", None, Some(scope_word(wanted.scope)));
        let pki = wanted.pki.map(|pki| pki_word(pki).to_owned());
        for (what, after) in
            [("aliases", words(&aliases)), ("addresses", words(&addresses)), ("PKI services", pki)]
        {
            if after.is_some() {
                work.differs(what, None, after);
            }
        }
        let (name, scope) = (target.name.clone(), Some(target.scope));
        let create = Create { name, aliases, addresses, scope, pki: wanted.pki };
        work.requests.push(Request::CreateDomain(create));
        return None;
    };
    // The order of names and addresses has no meaning.
    let sorted = |all: &[String]| {
        let mut all = all.to_vec();
        all.sort();
        all
    };
    let differs = |wanted: &Option<Vec<String>>, present: &[String]| {
        wanted.clone().filter(|wanted| sorted(wanted) != sorted(present))
    };
    let aliases = differs(&wanted.aliases, &present.aliases);
    let addresses = differs(&wanted.addresses, &present.addresses);
    if let Some(aliases) = &aliases {
        work.differs("aliases", words(&present.aliases), words(aliases));
    }
    if let Some(addresses) = &addresses {
        work.differs("addresses", words(&present.addresses), words(addresses));
    }
    if aliases.is_some() || addresses.is_some() {
        let set = Set { aliases, addresses, ..Set::default() };
        work.requests.push(Request::SetDomain(target.clone(), set));
    }
    let pki = wanted.pki.filter(|pki| *pki != present.pki)?;
    let (before, after) = (pki_word(present.pki).to_owned(), pki_word(pki).to_owned());
    work.differs("PKI services", Some(before), Some(after));
    Some(Set { pki: Some(pki), ..Set::default() })
}

/// Adds the change of the client certificates that the domain asks for.
fn clients(
    work: &mut Work,
    target: &Target,
    present: Option<&Present>,
    wanted: &Domain,
) -> Result<(), Failure> {
    let name = &target.name;
    let issuer = wanted.client_issuer.as_ref().map(|text| text.replace(':', "").to_lowercase());
    let present = present.and_then(|domain| domain.client_auth.as_ref());
    let before = present.map(|one| client_words(one.required, &one.issuer));
    let required = match (wanted.client_certificates, &issuer) {
        (None, None) => return Ok(()),
        (Some(Clients::None), _) => {
            if before.is_some() {
                work.differs("client certificates", before, None);
                work.requests.push(Request::ClearClientAuth(target.clone()));
            }
            return Ok(());
        }
        (None, Some(_)) => {
            let title = format!("{name}: client_issuer needs client_certificates");
            return Err(malformed(title));
        }
        (Some(clients), _) => clients == Clients::Required,
    };
    let Some(issuer) = issuer else {
        return Err(malformed(format!("{name}: client_certificates needs client_issuer")));
    };
    let is_same =
        |one: &client_auth::ClientAuth| one.required == required && one.issuer.starts_with(&issuer);
    if !present.is_some_and(is_same) {
        work.differs("client certificates", before, Some(client_words(required, &issuer)));
        let set = client_auth::Set { issuer, required };
        work.requests.push(Request::SetClientAuth(target.clone(), set));
    }
    Ok(())
}

fn client_words(required: bool, issuer: &str) -> String {
    let how = if required { "required" } else { "asked for" };
    format!("{how}, issued by SHA-256 {issuer}")
}

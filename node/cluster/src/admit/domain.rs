//! Admission of changes of domains.

use std::net::IpAddr;

use conclave_api::{
    domain::{Create, Pki, Rename, Rollback, Set},
    problem::{Code, Problem},
};
use conclave_pki::certificate::Certificate;
use conclave_store::{
    command::{Action, CreateDomain, SetDomain},
    id::{DomainId, DomainName, NameError, ServerName, Version},
    record::{Domain, DomainKey, PkiMode},
    scope::Scope,
};
use conclave_system::entropy;

use super::{Admitted, View, domain_name, is_for_an_address};

fn mode(pki: Pki) -> PkiMode {
    match pki {
        Pki::Disabled => PkiMode::Disabled,
        Pki::Test => PkiMode::Test,
        Pki::Enabled => PkiMode::Enabled,
    }
}

fn invalid(error: &NameError) -> Problem {
    Problem::new(Code::InvalidDomainName, error.to_string())
}

fn server_name(text: &str) -> Result<ServerName, Problem> {
    ServerName::parse(text).map_err(|error| invalid(&error))
}

/// Parses the name of a domain that does not exist yet. Names in State may have labels that only
/// look like international ones: those must stay reachable, and no new ones are made.
fn new_name(text: &str) -> Result<DomainName, Problem> {
    let name = domain_name(text)?;
    name.check_international().map_err(|error| invalid(&error))?;
    Ok(name)
}

fn aliases(texts: &[String], name: &DomainName) -> Result<Vec<ServerName>, Problem> {
    let mut aliases: Vec<ServerName> = Vec::new();
    for text in texts {
        let alias = server_name(text)?;
        alias.check_international().map_err(|error| invalid(&error))?;
        // The domain's own name and duplicates are dropped.
        if alias.as_str() != name.as_str() && !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    Ok(aliases)
}

fn addresses(texts: &[String]) -> Result<Vec<IpAddr>, Problem> {
    let parse = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| {
            Problem::new(Code::InvalidDomainName, format!("{text:?} is not an IP address"))
        })
    };
    texts.iter().map(parse).collect()
}

/// Creates a domain.
pub fn create_domain(view: &View<'_>, asked: &Create) -> Result<Admitted, Problem> {
    let name = new_name(&asked.name)?;
    let action = CreateDomain {
        id: DomainId(entropy::array()),
        aliases: aliases(&asked.aliases, &name)?,
        addresses: addresses(&asked.addresses)?,
        mode: mode(asked.pki.unwrap_or(Pki::Test)),
        name: name.clone(),
    };
    match view.state.domain(&name).filter(|_| view.is_if_missing) {
        Some(present) => {
            view.domain(&name)?;
            let warnings = other_settings(present, &action, asked);
            Ok(Admitted::same_domain(name).warning(warnings))
        }
        None => Ok(Admitted::new(Action::CreateDomain(action), name)),
    }
}

/// Warns about settings of a domain that exists, if the caller asked for others.
fn other_settings(present: &Domain, asked: &CreateDomain, given: &Create) -> Vec<String> {
    fn words<T: ToString>(all: &[T]) -> String {
        let all: Vec<String> = all.iter().map(T::to_string).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(" ") }
    }
    let mut warnings = Vec::new();
    let mut other = |what: &str, is: String, asked: String| {
        if is != asked {
            let name = &present.name;
            warnings.push(format!("{name} exists with other {what}: {is}, not {asked}"));
        }
    };
    if !given.aliases.is_empty() {
        other("aliases", words(&present.aliases), words(&asked.aliases));
    }
    if !given.addresses.is_empty() {
        other("addresses", words(&present.addresses), words(&asked.addresses));
    }
    if given.pki.is_some() {
        let word = |mode: PkiMode| format!("{mode:?}").to_lowercase();
        other("PKI services", word(present.mode), word(asked.mode));
    }
    warnings
}

/// Changes settings of a domain.
pub fn set_domain(view: &View<'_>, name: &str, asked: &Set) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let action = SetDomain {
        mode: asked.pki.map(mode),
        aliases: all_aliases(view, domain, asked)?,
        addresses: asked.addresses.as_ref().map(|texts| addresses(texts)).transpose()?,
        name: name.clone(),
    };
    Ok(Admitted::new(Action::SetDomain(action), name).expecting(expectation))
}

/// Returns the new list of aliases; none if the request does not change it.
fn all_aliases(
    view: &View<'_>,
    domain: &Domain,
    asked: &Set,
) -> Result<Option<Vec<ServerName>>, Problem> {
    let name = &domain.name;
    if asked.aliases.is_none() && asked.add_aliases.is_empty() && asked.remove_aliases.is_empty() {
        return Ok(None);
    }
    let mut all = match &asked.aliases {
        Some(texts) => aliases(texts, name)?,
        None => domain.aliases.clone(),
    };
    for gone in &asked.remove_aliases {
        let wanted = server_name(gone)?;
        let place = all.iter().position(|alias| *alias == wanted);
        if place.is_none() && view.is_if_exists {
            continue;
        }
        let place = place.ok_or_else(|| {
            Problem::new(Code::DomainUnknown, format!("{gone:?} is no alias of {name}"))
                .hint(format!("conclave domain show {name}"))
        })?;
        all.remove(place);
    }
    for new in aliases(&asked.add_aliases, name)? {
        if !all.contains(&new) {
            all.push(new);
        }
    }
    Ok(Some(all))
}

/// Deletes a domain with its keys and certificates.
pub fn delete_domain(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (_, expectation) = view.domain(&name)?;
    let is_main = view.scope == Scope::Local && name == view.node.config().main_domain;
    let warnings = is_main.then(|| {
        format!(
            "{name} is the Main Domain of this node: until its next start it refuses clients that ask for no known name"
        )
    });
    let warnings = warnings.into_iter().collect();
    let admitted = Admitted::new(Action::DeleteDomain(name.clone()), name);
    Ok(admitted.expecting(expectation).warning(warnings))
}

/// Gives a domain another name.
pub fn rename_domain(view: &View<'_>, name: &str, asked: &Rename) -> Result<Admitted, Problem> {
    let (name, new) = (domain_name(name)?, new_name(&asked.name)?);
    let (domain, expectation) = view.domain(&name)?;
    if view.scope == Scope::Local && name == view.node.config().main_domain {
        return Err(Problem::new(
            Code::NameTaken,
            format!("{name} is the Main Domain of this node"),
        )
        .why("its name stands in the configuration file")
        .hint("change [node] main_domain and restart the node"));
    }
    let certificates = domain.certificates().filter_map(|one| Certificate::from_der(&one.der).ok());
    let is_for = |one: &Certificate| one.covers(new.as_str()) || is_for_an_address(domain, one);
    let is_any_mismatched = certificates.into_iter().any(|one| !is_for(&one));
    let warnings = is_any_mismatched
        .then(|| format!("the certificate stays as it is and is not for {new}"))
        .into_iter()
        .collect();
    let action = Action::RenameDomain(name, new.clone());
    Ok(Admitted::new(action, new).expecting(expectation).warning(warnings))
}

/// Puts an earlier version of a domain in place.
pub fn rollback_domain(view: &View<'_>, name: &str, asked: &Rollback) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    if domain.version == Version(asked.version) {
        return Ok(Admitted::same_domain(name).expecting(expectation));
    }
    let old = view.state.domain_versions(domain.id).find(|one| one.version.0 == asked.version);
    let warnings = old.map(|old| brought_back(domain, &old)).unwrap_or_default();
    let action = Action::RollbackDomain(name.clone(), Version(asked.version));
    Ok(Admitted::new(action, name).expecting(expectation).warning(warnings))
}

/// Returns what an earlier version brings back that may have been removed for a reason.
fn brought_back(present: &Domain, old: &Domain) -> Vec<String> {
    let (name, version) = (&present.name, old.version);
    let is_gone = |key: &&DomainKey| {
        present.credentials.iter().all(|one| one.key.public_key != key.public_key)
    };
    let keys = old.credentials.iter().map(|one| &one.key).filter(is_gone);
    let mut warnings: Vec<String> = keys
        .map(|key| {
            let (family, print) = (key.family, key.public_key);
            format!(
                "version {version} brings back the {family} key {print}; if somebody else may have it, \
                 give {name} another key"
            )
        })
        .collect();
    let requires = |domain: &Domain| domain.client_auth.is_some_and(|asked| asked.is_required);
    if requires(present) && !requires(old) {
        warnings.push(format!("version {version} requires no client certificate"));
    }
    warnings
}

//! Admission of grants: roles, rights and limits.

use conclave_api::{
    grant::Grant as Asked,
    problem::{Code, Problem},
};
use conclave_store::{
    id::DomainName,
    limits::GRANT_LIMITS_MAX,
    record::{DomainLimit, Grant, Network, Right, Role},
};

use crate::rights::{right, role};

/// Parses a grant. `is_for_token` allows a bound on the number of changes.
pub(crate) fn grant(asked: &Asked, is_for_token: bool) -> Result<Grant, Problem> {
    let malformed = |title: String| Problem::new(Code::Malformed, title);
    if asked.roles.is_empty() {
        return Err(malformed("a grant needs a role".to_owned())
            .hint("conclave role list    shows the roles"));
    }
    let lists = [asked.roles.len(), asked.only.len(), asked.domains.len(), asked.networks.len()];
    if lists.iter().any(|count| *count > GRANT_LIMITS_MAX) {
        return Err(malformed(format!("a grant has at most {GRANT_LIMITS_MAX} limits of a kind")));
    }
    if asked.uses.is_some() && !is_for_token {
        return Err(malformed("only a token has a number of uses".to_owned()));
    }
    if asked.uses == Some(0) {
        return Err(malformed("a token without a use is useless".to_owned()));
    }
    let domains = asked.domains.iter().map(|text| domain_limit(text));
    let networks = asked.networks.iter().map(|text| network(text));
    let mut roles: Vec<Role> = asked.roles.iter().copied().map(role).collect();
    let mut only: Vec<Right> = asked.only.iter().copied().map(right).collect();
    // The same wish is the same grant.
    roles.sort_unstable();
    roles.dedup();
    only.sort_unstable();
    only.dedup();
    Ok(Grant {
        roles,
        only,
        domains: domains.collect::<Result<_, _>>()?,
        networks: networks.collect::<Result<_, _>>()?,
        uses: asked.uses,
        user: None,
    })
}

fn domain_limit(text: &str) -> Result<DomainLimit, Problem> {
    let (name, is_tree) = match text.strip_prefix('.') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let name = DomainName::parse(name).map_err(|error| {
        Problem::new(Code::InvalidDomainName, error.to_string())
            .hint("NAME for one domain, .NAME for the name and all names below it")
    })?;
    Ok(DomainLimit { name, is_tree })
}

fn network(text: &str) -> Result<Network, Problem> {
    super::listener::parse_network(text).ok_or_else(|| {
        Problem::new(Code::Malformed, format!("invalid network {text:?}"))
            .hint("10.0.0.0/8    or one address: 10.0.0.7")
    })
}

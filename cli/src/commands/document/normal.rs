//! Names and addresses of a document in their normal form, which is that of nodes. Only then they
//! are comparable.

use std::net::IpAddr;

use conclave_api::problem::{Code, Problem};
use conclave_client::Failure;
use conclave_node::{cipher_suites, groups, listen_address, network, server_name, upstream};

use super::{Document, Domain, Listener};

impl Document {
    /// Brings all names and addresses to the form in which nodes send them.
    pub(super) fn normalise(&mut self) -> Result<(), Failure> {
        if let Some(node) = &mut self.node {
            node.make_ascii_lowercase();
        }
        if let Some(tls) = &mut self.tls {
            tls.cipher_suites = tls.cipher_suites.take().map(|all| cipher_suites(&all));
            tls.groups = tls.groups.take().map(|all| groups(&all));
        }
        for domain in self.domains.iter_mut().flatten() {
            normalise_domain(domain)?;
        }
        for listener in self.listeners.iter_mut().flatten() {
            normalise_listener(listener)?;
        }
        Ok(())
    }
}

fn normalise_domain(domain: &mut Domain) -> Result<(), Failure> {
    domain.name = normal(&domain.name)?;
    if let Some(aliases) = &mut domain.aliases {
        let all = aliases.iter().map(|alias| normal(alias)).collect::<Result<Vec<_>, _>>()?;
        aliases.clear();
        // As nodes do, it drops the domain's own name and what is there twice.
        for alias in all {
            if alias != domain.name && !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
    }
    for address in domain.addresses.iter_mut().flatten() {
        if let Ok(parsed) = address.parse::<IpAddr>() {
            *address = parsed.to_string();
        }
    }
    Ok(())
}

fn normalise_listener(listener: &mut Listener) -> Result<(), Failure> {
    listener.name.make_ascii_lowercase();
    if let Some(name) = &mut listener.server_name {
        *name = normal(name)?;
    }
    // An empty text is a setting that is not there.
    for setting in [&mut listener.proxy_to, &mut listener.starttls, &mut listener.server_name] {
        *setting = setting.take().filter(|text| !text.is_empty());
    }
    listener.bind = listen_address(&listener.bind);
    listener.upstreams.iter_mut().for_each(|one| *one = upstream(one));
    listener.proxy_from.iter_mut().for_each(|one| *one = network(one));
    let upstreams = std::mem::take(&mut listener.domain_upstreams);
    for (name, all) in upstreams {
        let (name, all) = (normal(&name)?, all.iter().map(|one| upstream(one)).collect());
        if listener.domain_upstreams.insert(name.clone(), all).is_some() {
            let title = format!("the listener {} has upstreams of {name} twice", listener.name);
            return Err(Box::new(Problem::new(Code::Malformed, title)));
        }
    }
    Ok(())
}

/// Returns a name with A-labels. What is no name stays, and the node says what is wrong with it.
fn normal(name: &str) -> Result<String, Failure> {
    server_name(name).map_err(|error| Box::new(Problem::new(Code::InvalidDomainName, error)))
}

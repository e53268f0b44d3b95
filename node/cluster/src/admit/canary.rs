//! Admission of canaries: one node serves a new certificate before all others do.

use std::net::IpAddr;

use conclave_api::{
    certificate::SOAK_SECONDS_MAX,
    problem::{Code, Problem},
};
use conclave_store::{
    command::{Action, SetCertificate, StartCanary},
    id::DomainName,
    record::{Domain, Listener, ListenerProtocol, PkiMode, RowKey},
    scope::Scope,
    state::State,
};
use conclave_system::clock;

use super::{Admitted, PROOFS_LEVEL, View, domain_name, level, member::member, problem};

/// Seconds for which one node serves a certificate alone, if the caller does not say it.
const SOAK_SECONDS: u64 = 600;

/// The wish that one node serves an import before all others do.
pub(super) struct Trial {
    node: String,
    soak_s: u64,
}

impl Trial {
    /// Reads the wish of an import.
    pub(super) fn read(node: Option<&str>, soak_s: Option<u64>) -> Result<Option<Trial>, Problem> {
        let Some(node) = node else {
            return match soak_s {
                Some(_) => Err(Problem::new(Code::Malformed, "a soak time needs a canary")
                    .hint("add --canary NODE, or leave --soak out")),
                None => Ok(None),
            };
        };
        let soak_s = soak_s.unwrap_or(SOAK_SECONDS);
        if !(1..=SOAK_SECONDS_MAX).contains(&soak_s) {
            let title = format!("a soak time of {soak_s} s is not possible");
            return Err(Problem::new(Code::Malformed, title).hint("--soak 1s to --soak 7d"));
        }
        Ok(Some(Trial { node: node.to_owned(), soak_s }))
    }
}

/// Makes an import an import on one node, with warnings.
pub(super) fn start(
    view: &View<'_>,
    domain: &Domain,
    set: SetCertificate,
    trial: &Trial,
) -> Result<(Action, Vec<String>), Problem> {
    let name = &domain.name;
    if view.scope == Scope::Local {
        let title = format!("{name} is local: one node serves it in any case");
        return Err(Problem::new(Code::Malformed, title).hint("leave --canary out"));
    }
    level::check(view.state, PROOFS_LEVEL)?;
    let node = member(view.state, &trial.node)?;
    if view.state.members().count() < 2 {
        let title = format!("{} is the only node: no other one could look at it", node.name);
        return Err(Problem::new(Code::Malformed, title).hint("leave --canary out"));
    }
    if domain.mode != PkiMode::Enabled {
        let title = format!("{name} is not enabled: its certificate would not be served");
        let hint = format!("conclave domain set {name} --pki enabled    or leave --canary out");
        return Err(Problem::new(Code::Malformed, title).hint(hint));
    }
    let until = view.now.plus(trial.soak_s.saturating_mul(1_000));
    let node_name = &node.name;
    let mut warnings = vec![format!(
        "until {} only {node_name} serves it; any change of {name} before that ends the canary",
        clock::rfc3339(until)
    )];
    let is_seen = view.state.listeners().any(|(_, one)| is_probed(view.state, one, None));
    if !is_seen {
        warnings.push(format!(
            "no listener that other nodes can probe: only what {node_name} says about itself counts"
        ));
    }
    let start = StartCanary { set, node: node.id, until };
    Ok((Action::StartCanary(Box::new(start)), warnings))
}

/// Ends the canary of a domain.
pub fn end_canary(view: &View<'_>, name: &str, is_promoted: bool) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    if view.state.domain(&name).is_none() {
        return Err(problem::domain_unknown(&name));
    }
    let (canary, domain) = (RowKey::Canary(name.clone()), RowKey::Domain(name.clone()));
    let expects = [canary, domain].map(|row| view.state.expectation(row));
    let [canary, domain] = expects;
    let action = Action::EndCanary(DomainName::clone(&name), is_promoted);
    Ok(Admitted::new(action, name).expecting(canary).expecting(domain))
}

/// Returns whether other nodes can probe a listener: it begins with TLS, expects no PROXY header
/// and opens its port where they reach the node. `host` is the address by which they reach it, if
/// it is known.
pub(crate) fn is_probed(state: &State, listener: &Listener, host: Option<IpAddr>) -> bool {
    // An address of a listener is one on every node, so a probe of it might not leave this node.
    let is_reached = listener.address.is_none_or(|address| Some(address) == host);
    listener.protocol == ListenerProtocol::Tls
        && listener.proxy_from.is_empty()
        && is_reached
        && state.tls_settings().process_target_domain
}

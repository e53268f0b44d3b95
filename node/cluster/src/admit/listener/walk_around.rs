//! Ways around a required client certificate: listeners that lead to the same upstream without it.
//!
//! A domain asks its own clients only. A client that sends another name, or none, or goes on in the
//! clear, is no client of the domain, and an upstream that serves several domains cannot tell.

use conclave_store::{
    id::DomainName,
    record::{Domain, Listener, ListenerPolicy, ListenerProtocol, ProxyVersion},
    state::State,
};

/// Most names in one warning.
const NAMES_MAX: usize = 3;

/// Returns whether a client without a certificate reaches the domain's upstream through a listener.
/// An upstream that gets the facts of TLS (PROXY v2) can check by itself.
fn leads_around(listener: &Listener, policy: ListenerPolicy, domain: &DomainName) -> bool {
    let is_separate = listener.domain_upstreams.get(domain).is_some_and(|own| {
        let mut others = listener.domain_upstreams.iter().filter(|(name, _)| *name != domain);
        let is_shared = |all: &[String]| own.iter().any(|one| all.contains(one));
        !is_shared(&listener.upstreams) && !others.any(|(_, all)| is_shared(all))
    });
    !policy.requires_client_certificate
        && !is_separate
        && listener.protocol != ListenerProtocol::OutgoingTls
        && listener.proxy_to != Some(ProxyVersion::V2)
}

fn requires(domain: &Domain) -> bool {
    domain.client_auth.is_some_and(|asked| asked.is_required)
}

fn some(names: &[String]) -> String {
    match names.get(..NAMES_MAX) {
        Some(first) if names.len() > NAMES_MAX => {
            format!("{} and {} more", first.join(", "), names.len() - NAMES_MAX)
        }
        _ => names.join(", "),
    }
}

/// Warns about a domain that requires a certificate.
pub fn by_domain(state: &State, domain: &Domain) -> Option<String> {
    let around = state.listeners().filter(|(name, listener)| {
        requires(domain) && leads_around(listener, state.listener_policy(name), &domain.name)
    });
    let names: Vec<String> = around.map(|(name, _)| name.to_string()).collect();
    let first = names.first()?;
    let ways = match in_clear(state, &names) {
        true => "under another name, without a name or without TLS",
        false => "under another name or without a name",
    };
    Some(format!(
        "the certificate can be walked around: listener {} leads to the same upstream {ways}. \
         Cure: conclave listener set {first} --require-client-certificate on, an upstream for this \
         domain alone (--domain-upstream), or an upstream that checks the facts of TLS (--proxy-to \
         v2)",
        some(&names)
    ))
}

fn in_clear(state: &State, names: &[String]) -> bool {
    state.listeners().any(|(name, listener)| {
        let is_named = names.iter().any(|one| one == name.as_str());
        is_named && listener.protocol.has_starttls() && !listener.requires_tls
    })
}

/// Warns about a listener.
pub(super) fn by_listener(
    state: &State,
    listener: &Listener,
    policy: ListenerPolicy,
) -> Option<String> {
    let is_around =
        |domain: &&Domain| requires(domain) && leads_around(listener, policy, &domain.name);
    let names: Vec<String> =
        state.domains().filter(is_around).map(|domain| domain.name.to_string()).collect();
    if names.is_empty() {
        return None;
    }
    let ways = match listener.protocol.has_starttls() && !listener.requires_tls {
        true => "under another name, without a name or without TLS",
        false => "under another name or without a name",
    };
    Some(format!(
        "{} requires client certificates, and this listener leads to the same upstream without one: \
         {ways}. Cure: --require-client-certificate, --domain-upstream for that domain alone, or \
         --proxy-to v2 and an upstream that checks",
        some(&names)
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use conclave_store::{id::ListenerName, record::Outgoing};

    use super::*;

    #[test]
    fn a_listener_leads_around_unless_the_upstream_is_separate_or_checks() {
        let shop = DomainName::parse("shop.example").unwrap();
        let other = DomainName::parse("other.example").unwrap();
        let own = vec!["127.0.0.1:1".to_owned()];
        let plain = Listener {
            name: ListenerName::parse("https").unwrap(),
            protocol: ListenerProtocol::Tls,
            address: None,
            port: 443,
            upstreams: vec!["127.0.0.1:2".to_owned()],
            domain_upstreams: BTreeMap::new(),
            requires_tls: false,
            alpn: Vec::new(),
            proxy_from: Vec::new(),
            proxy_to: None,
            outgoing: None,
        };
        let separate = BTreeMap::from([(shop.clone(), own.clone())]);
        let shared = BTreeMap::from([(shop.clone(), own.clone()), (other, own.clone())]);
        let strict =
            ListenerPolicy { requires_client_certificate: true, ..ListenerPolicy::default() };
        let with = |upstreams: &BTreeMap<_, _>| Listener {
            domain_upstreams: upstreams.clone(),
            ..plain.clone()
        };
        let proxy = |version| Listener { proxy_to: Some(version), ..plain.clone() };
        let outgoing = Listener {
            protocol: ListenerProtocol::OutgoingTls,
            outgoing: Some(Outgoing { starttls: None, server_name: None }),
            ..plain.clone()
        };
        for (listener, policy, is_around) in [
            (plain.clone(), ListenerPolicy::default(), true),
            (plain.clone(), strict, false),
            (with(&separate), ListenerPolicy::default(), false),
            (with(&shared), ListenerPolicy::default(), true),
            (Listener { upstreams: own, ..with(&separate) }, ListenerPolicy::default(), true),
            (proxy(ProxyVersion::V1), ListenerPolicy::default(), true),
            (proxy(ProxyVersion::V2), ListenerPolicy::default(), false),
            (outgoing, ListenerPolicy::default(), false),
        ] {
            let found = leads_around(&listener, policy, &shop);
            assert_eq!(found, is_around, "{listener:?} {policy:?}");
        }
    }
}

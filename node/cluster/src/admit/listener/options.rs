//! Options of listeners: parsing, and which options fit which protocol.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use conclave_api::{
    listener::Add,
    problem::{Code, Problem},
};
use conclave_edge::tls::datagrams;
use conclave_store::{
    id::DomainName,
    limits::{ALPN_MAX, DOMAIN_UPSTREAMS_MAX, PROXY_NETWORKS_MAX, UPSTREAMS_MAX},
    record::{
        Domain, DomainKey, Listener, ListenerPolicy, ListenerProtocol, Network, Outgoing, PkiMode,
        ProxyVersion,
    },
    state::State,
};

use super::walk_around;
use crate::{admit::domain_name, node::Node};

fn unfit(title: impl Into<String>) -> Problem {
    Problem::new(Code::OptionUnfit, title)
}

fn malformed(title: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidAddress, title)
}

fn check_count(what: &str, count: usize, max: usize) -> Result<(), Problem> {
    if count <= max {
        return Ok(());
    }
    Err(Problem::new(Code::LimitReached, format!("{count} {what}, {max} are possible")))
}

/// Returns the IP address and the port of an address to listen on. Without an IP address it means
/// every address of each node.
pub(super) fn listen_address(text: &str) -> Result<(Option<IpAddr>, u16), Problem> {
    let wrong = || {
        malformed(format!("{text:?} is not an address to listen on"))
            .hint("--bind :443 for every address of each node, or --bind 192.0.2.10:443")
    };
    let (address, port) = match text.strip_prefix(':') {
        Some(port) => (None, port.parse::<u16>().map_err(|_| wrong())?),
        None => {
            let address: SocketAddr = text.parse().map_err(|_| wrong())?;
            (Some(address.ip()), address.port())
        }
    };
    if port == 0 { Err(wrong()) } else { Ok((address, port)) }
}

pub(super) fn shown_listen_address(address: Option<IpAddr>, port: u16) -> String {
    match address {
        Some(address) => SocketAddr::new(address, port).to_string(),
        None => format!(":{port}"),
    }
}

pub(super) fn protocol(text: &str) -> Result<ListenerProtocol, Problem> {
    ListenerProtocol::parse(text).ok_or_else(|| {
        let all: Vec<_> = ListenerProtocol::ALL.iter().map(|one| one.as_str()).collect();
        unfit(format!("unknown listener protocol {text:?}"))
            .hint(format!("--protocol {}", all.join("|")))
    })
}

/// Refuses options without meaning for the protocol. They would be stored without effect.
pub(super) fn check_fit(protocol: ListenerProtocol, asked: &Add) -> Result<(), Problem> {
    use ListenerProtocol as P;
    let (is_outgoing, is_dtls) = (protocol == P::OutgoingTls, protocol == P::Dtls);
    let checks = [
        (
            asked.requires_tls && !protocol.has_starttls(),
            "--require-tls",
            "only protocols with STARTTLS begin in the clear",
        ),
        (
            asked.requires_client_certificate && is_outgoing,
            "--require-client-certificate",
            "its clients come without TLS",
        ),
        (
            asked.takes_server_certificates && is_outgoing,
            "--take-server-certificates",
            "its clients come without TLS",
        ),
        (
            asked.starttls.is_some() && !is_outgoing,
            "--starttls",
            "clients of a listener start TLS by the listener's own protocol",
        ),
        (
            asked.server_name.is_some() && !is_outgoing,
            "--server-name",
            "only outgoing TLS has a server to name",
        ),
        (
            !asked.domain_upstreams.is_empty() && is_outgoing,
            "--domain-upstream",
            "a clear connection chooses no domain",
        ),
        (
            asked.proxy_to.is_some() && is_outgoing,
            "--proxy-to",
            "a remote server of TLS expects no such header",
        ),
        (
            asked.proxy_to.as_deref() == Some("v1") && is_dtls,
            "--proxy-to v1",
            "it knows TCP only; v2 knows datagrams",
        ),
        (
            !asked.proxy_from.is_empty() && is_dtls,
            "--proxy-from",
            "datagrams of DTLS have no place for it",
        ),
    ];
    match checks.iter().find(|(is_wrong, _, _)| *is_wrong) {
        Some((_, option, why)) => {
            Err(unfit(format!("{option} does not go with --protocol {}", protocol.as_str()))
                .why(*why))
        }
        None => Ok(()),
    }
}

pub(super) fn upstreams(
    node: &Node,
    protocol: ListenerProtocol,
    asked: &[String],
) -> Result<Vec<String>, Problem> {
    if asked.is_empty() {
        return Err(malformed("no upstream is given").hint("--upstream 127.0.0.1:8080"));
    }
    check_count("upstreams", asked.len(), UPSTREAMS_MAX)?;
    let asked = asked.iter().map(|text| with_a_labels(text)).collect::<Result<Vec<_>, _>>()?;
    asked.iter().try_for_each(|text| check_upstream(node, protocol, text))?;
    Ok(asked)
}

/// Returns an upstream with A-labels: resolvers know no others.
pub fn with_a_labels(text: &str) -> Result<String, Problem> {
    let (kind, place) = match text.strip_prefix("udp:") {
        Some(place) => ("udp:", place),
        None => ("", text),
    };
    match place.rsplit_once(':') {
        Some((host, port)) if !host.is_ascii() && !host.starts_with("unix:") => {
            Ok(format!("{kind}{}:{port}", domain_name(host)?))
        }
        _ => Ok(text.to_owned()),
    }
}

fn check_upstream(node: &Node, protocol: ListenerProtocol, text: &str) -> Result<(), Problem> {
    let is_dtls = protocol == ListenerProtocol::Dtls;
    let place = match (text.strip_prefix("udp:"), is_dtls) {
        (Some(place), true) => place,
        (None, false) => text,
        (None, true) => {
            return Err(unfit(format!("{text} is no upstream for datagrams"))
                .hint(format!("--upstream udp:{text}")));
        }
        (Some(place), false) => {
            return Err(unfit(format!("{text} is only for --protocol dtls"))
                .hint(format!("--upstream {place}")));
        }
    };
    let is_unix = place.starts_with("unix:");
    if is_unix && is_dtls {
        return Err(unfit("datagrams go to a UDP upstream").hint("--upstream udp:127.0.0.1:5000"));
    }
    if is_unix && protocol == ListenerProtocol::OutgoingTls {
        return Err(unfit("outgoing TLS goes to a HOST:PORT, whose name is verified"));
    }
    node.edge().check_upstream(place).map(|_| ()).map_err(|error| {
        malformed(format!("not a possible upstream: {error}")).hint(match is_unix {
            true => "[upstream] unix in the configuration file of each node lists what is possible",
            false => "--upstream 127.0.0.1:8080",
        })
    })
}

pub(super) fn domain_upstreams(
    node: &Node,
    protocol: ListenerProtocol,
    asked: &Add,
) -> Result<BTreeMap<DomainName, Vec<String>>, Problem> {
    let all = &asked.domain_upstreams;
    check_count("domains with upstreams of their own", all.len(), DOMAIN_UPSTREAMS_MAX)?;
    all.iter()
        .map(|(name, texts)| Ok((domain_name(name)?, upstreams(node, protocol, texts)?)))
        .collect()
}

pub(super) fn alpn(asked: &[String]) -> Result<Vec<String>, Problem> {
    check_count("application protocols", asked.len(), ALPN_MAX)?;
    // RFC 7301 §3.1: 1 to 255 bytes. Only printable names are accepted, as protocols in use have.
    let is_possible = |name: &String| {
        (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match asked.iter().find(|name| !is_possible(name)) {
        Some(name) => {
            Err(malformed(format!("{name:?} is no application protocol"))
                .hint("--alpn h2,http/1.1"))
        }
        None => Ok(asked.to_vec()),
    }
}

pub(super) fn networks(asked: &[String]) -> Result<Vec<Network>, Problem> {
    check_count("networks", asked.len(), PROXY_NETWORKS_MAX)?;
    asked.iter().map(|text| network(text)).collect()
}

pub(super) fn network(text: &str) -> Result<Network, Problem> {
    parse_network(text).ok_or_else(|| {
        malformed(format!("invalid network {text:?}"))
            .hint("--proxy-from 10.0.0.0/8    or one address: --proxy-from 10.0.0.7")
    })
}

/// Parses `ADDRESS/PREFIX`, or one address.
pub(crate) fn parse_network(text: &str) -> Option<Network> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits)?,
        None => bits,
    };
    Some(Network { address, prefix })
}

pub(super) fn shown_network(network: &Network) -> String {
    format!("{}/{}", network.address, network.prefix)
}

pub(super) fn proxy_version(asked: Option<&str>) -> Result<Option<ProxyVersion>, Problem> {
    match asked {
        None => Ok(None),
        Some("v1") => Ok(Some(ProxyVersion::V1)),
        Some("v2") => Ok(Some(ProxyVersion::V2)),
        Some(other) => Err(malformed(format!("unknown PROXY protocol version {other:?}"))
            .hint("--proxy-to v2    or v1, which has no place for facts of TLS")),
    }
}

pub(super) fn outgoing(of: ListenerProtocol, asked: &Add) -> Result<Option<Outgoing>, Problem> {
    if of != ListenerProtocol::OutgoingTls {
        return Ok(None);
    }
    let starttls = asked.starttls.as_deref().map(protocol).transpose()?;
    if let Some(found) = starttls.filter(|found| !found.has_starttls()) {
        return Err(unfit(format!("{} has no STARTTLS", found.as_str()))
            .hint("leave --starttls out: TLS from the first byte"));
    }
    let name = |text: &String| match (text.parse::<IpAddr>(), DomainName::parse(text)) {
        (Ok(_), _) => Ok(text.clone()),
        (_, Ok(name)) => Ok(name.into()),
        (_, Err(error)) => Err(malformed(format!("invalid server name {text:?}"))
            .detail(error.to_string())
            .hint("--server-name mail.example")),
    };
    let server_name = asked.server_name.as_ref().map(name).transpose()?;
    Ok(Some(Outgoing { server_name, starttls }))
}

pub(super) fn policy(asked: &Add) -> ListenerPolicy {
    ListenerPolicy {
        requires_client_certificate: asked.requires_client_certificate,
        takes_server_certificates: asked.takes_server_certificates,
    }
}

/// Returns warnings about a new listener.
pub(super) fn warnings(state: &State, listener: &Listener, policy: ListenerPolicy) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(walk_around::by_listener(state, listener, policy));
    let all = listener.domain_upstreams.values().flatten().chain(&listener.upstreams);
    if let Some(upstream) = all.clone().find(|one| is_this_host(one))
        && listener.proxy_to.is_none()
        && let Some(cure) = trusts_this_host(listener.protocol)
    {
        warnings.push(format!("{upstream} sees every client come from its own host; {cure}"));
    }
    if listener.protocol == ListenerProtocol::Ftp {
        warnings.push(
            "only the control connection is protected: data connections neither pass through \
             this listener nor are they encrypted by it; clients must reach the server's passive \
             ports themselves"
                .to_owned(),
        );
    }
    if listener.proxy_to == Some(ProxyVersion::V1) {
        warnings.push(
            "PROXY v1 has no place for facts of TLS: the upstream learns no name, cipher or \
             client certificate"
                .to_owned(),
        );
    }
    if listener.proxy_from.iter().any(|network| network.prefix == 0) {
        warnings.push(
            "--proxy-from with /0 believes everybody: clients can choose the address that they \
             seem to come from"
                .to_owned(),
        );
    }
    if listener.protocol.is_datagram() {
        let is_shown = |key: &DomainKey| datagrams::can_show(&key.algorithm);
        let lacks_key = |domain: &&Domain| {
            let mut keys = domain.credentials.iter().map(|one| &one.key).peekable();
            domain.mode == PkiMode::Enabled && keys.peek().is_some() && !keys.any(is_shown)
        };
        warnings.extend(state.domains().filter(lacks_key).map(|domain| {
            let name = &domain.name;
            format!("{name} has only an Ed25519 key, which clients of DTLS 1.2 cannot verify")
        }));
    }
    let unknown = listener.domain_upstreams.keys().filter(|name| state.domain(name).is_none());
    warnings.extend(unknown.map(|name| format!("{name} is no shared domain (yet)")));
    warnings
}

fn is_this_host(upstream: &str) -> bool {
    let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    upstream.starts_with("unix:")
        || upstream.starts_with("localhost:")
        || upstream.parse().is_ok_and(is_loopback)
}

/// Returns the risk of hidden client addresses in this protocol, with the remedy. Upstreams
/// commonly trust their own host.
fn trusts_this_host(protocol: ListenerProtocol) -> Option<&'static str> {
    match protocol {
        ListenerProtocol::Smtp => Some(
            "a mail server that relays for loopback is an open relay then. Tell it the real \
             address: --proxy-to v2 (Postfix: smtpd_upstream_proxy_protocol = haproxy, Exim: \
             hosts_proxy), or XCLIENT from a relay of yours; or take loopback out of what it \
             trusts (Postfix: mynetworks)",
        ),
        ListenerProtocol::Postgres => Some(
            "a database that trusts loopback (pg_hba.conf) asks nobody for a password then: use \
             scram-sha-256 there",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_or_refused() {
        let check = |text: &str, expected: Option<u8>| {
            assert_eq!(network(text).ok().map(|one| one.prefix), expected, "{text}");
        };
        check("10.0.0.0/8", Some(8));
        check("10.0.0.7", Some(32));
        check("2001:db8::/32", Some(32));
        check("::1", Some(128));
        check("10.0.0.0/33", None);
        check("10.0.0.0/", None);
        check("10.0.0/8", None);
        check("example/8", None);
    }

    #[test]
    fn options_that_no_protocol_looks_at_are_refused() {
        let check = |protocol: ListenerProtocol, add: Add, is_possible: bool| {
            assert_eq!(check_fit(protocol, &add).is_ok(), is_possible, "{protocol:?} {add:?}");
        };
        let require = || Add { requires_tls: true, ..Add::default() };
        let proxy = || Add { proxy_to: Some("v2".to_owned()), ..Add::default() };
        let named = || Add { server_name: Some("a.example".to_owned()), ..Add::default() };
        check(ListenerProtocol::Smtp, require(), true);
        check(ListenerProtocol::Tls, require(), false);
        check(ListenerProtocol::Tls, proxy(), true);
        check(ListenerProtocol::Dtls, proxy(), true);
        let line = Add { proxy_to: Some("v1".to_owned()), ..Add::default() };
        check(ListenerProtocol::Dtls, line, false);
        check(ListenerProtocol::OutgoingTls, named(), true);
        check(ListenerProtocol::Imap, named(), false);
    }

    #[test]
    fn upstreams_on_this_host_are_known() {
        for text in ["127.0.0.1:25", "[::1]:25", "localhost:25", "unix:/run/x", "127.9.9.9:25"] {
            assert!(is_this_host(text), "{text}");
        }
        for text in ["10.0.0.1:25", "mail.example:25", "[2001:db8::1]:25"] {
            assert!(!is_this_host(text), "{text}");
        }
    }
}

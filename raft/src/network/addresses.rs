//! Addresses of the members: as the cluster has them, as names resolve now, and as members were
//! last heard from.
//!
//! A wrong address is harmless, because every peer proves its identity. So a member is looked for
//! at every address at which it may be.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    limits::{ADDRESSES_MAX, LOOKUP_PATIENCE},
    types::NodeId,
};

/// Address of this node for other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAddress {
    /// As the cluster has it.
    pub known: String,
    /// As the configuration says now.
    pub now: String,
}

/// An address to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    /// Whether the cluster has this address for the member. All others are only likely.
    pub(super) is_known: bool,
}

/// The addresses of all members.
pub(super) struct Addresses {
    own: Option<OwnAddress>,
    members: Mutex<BTreeMap<NodeId, Peer>>,
    names: Mutex<BTreeMap<String, Name>>,
}

#[derive(Default)]
struct Peer {
    /// As the cluster has it, `HOST:PORT`.
    text: String,
    /// Source of the member's last connection, if the cluster has another address for it.
    heard: Option<SocketAddr>,
}

/// A host name.
#[derive(Default)]
struct Name {
    addresses: Vec<SocketAddr>,
    is_looked_up: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Addresses {
    pub(super) fn new(own: Option<OwnAddress>) -> Arc<Addresses> {
        Arc::new(Addresses { own, members: Mutex::default(), names: Mutex::default() })
    }

    /// Records the addresses of all members, as the cluster has them, and forgets others.
    pub(super) fn know(&self, all: &BTreeMap<NodeId, String>) {
        let mut members = locked(&self.members);
        members.retain(|id, _| all.contains_key(id));
        for (id, text) in all {
            members.entry(*id).or_default().text.clone_from(text);
        }
        locked(&self.names).retain(|name, _| all.values().any(|text| text == name));
    }

    /// Records the source of a connection on which a member proved its identity. Members dial from
    /// the socket on which they listen.
    pub(super) fn heard(&self, id: NodeId, source: SocketAddr) {
        let source = canonical(source);
        let mut members = locked(&self.members);
        let peer = members.entry(id).or_default();
        if self.found(&peer.text).contains(&source) {
            peer.heard = None;
        } else if peer.heard.replace(source).is_none() && !peer.text.is_empty() {
            let (known, text) = (&peer.text, "a member dials from another address than is known");
            tracing::info!(event = "raft.peer_moved", node = %id, known, %source, "{text}");
        }
    }

    /// Returns whether a member is known to have this address.
    pub(super) fn is_of_member(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let members = locked(&self.members);
        members.values().any(|peer| {
            peer.heard.is_some_and(|heard| heard.ip() == ip)
                || self.found(&peer.text).iter().any(|address| address.ip() == ip)
        })
    }

    /// Returns the addresses to try for a member, the best first.
    pub(super) async fn candidates(self: &Arc<Self>, id: NodeId, text: &str) -> Vec<Candidate> {
        let known = self.resolve(text).await;
        let heard = locked(&self.members).get(&id).and_then(|peer| peer.heard);
        let moved = self.own.as_ref().and_then(|own| moved(own, text.parse().ok()?));
        let mut found: Vec<Candidate> = Vec::new();
        let all = known.into_iter().map(|address| Candidate { address, is_known: true });
        let likely = heard.into_iter().chain(moved);
        // Names may have many addresses; the likely ones must not be crowded out.
        let all = all.take(ADDRESSES_MAX - 2);
        for candidate in all.chain(likely.map(|address| Candidate { address, is_known: false })) {
            if found.iter().all(|other| other.address != candidate.address) {
                found.push(candidate);
            }
        }
        found
    }

    /// Resolves `HOST:PORT` anew. Returns what was found earlier if that takes too long.
    pub(super) async fn resolve(self: &Arc<Self>, text: &str) -> Vec<SocketAddr> {
        if text.parse::<SocketAddr>().is_err() {
            let (addresses, name) = (Arc::clone(self), text.to_owned());
            // The lookup goes on when nobody waits any more, so that the next caller has its result.
            let looking = tokio::spawn(async move { addresses.look_up(name).await });
            let _ = tokio::time::timeout(LOOKUP_PATIENCE, looking).await;
        }
        self.found(text)
    }

    async fn look_up(&self, name: String) {
        let is_running = {
            let mut names = locked(&self.names);
            let entry = names.entry(name.clone()).or_default();
            std::mem::replace(&mut entry.is_looked_up, true)
        };
        if is_running {
            return;
        }
        let found = tokio::net::lookup_host(&name).await;
        let found = found.map(|all| all.map(canonical).take(ADDRESSES_MAX).collect::<Vec<_>>());
        let mut names = locked(&self.names);
        let entry = names.entry(name).or_default();
        entry.is_looked_up = false;
        match found {
            Ok(addresses) => entry.addresses = addresses,
            Err(error) => tracing::debug!(event = "raft.name_not_found", %error),
        }
    }

    /// Returns the addresses that are found for `HOST:PORT` without a lookup.
    fn found(&self, text: &str) -> Vec<SocketAddr> {
        match text.parse() {
            Ok(address) => vec![canonical(address)],
            Err(_) => {
                let names = locked(&self.names);
                names.get(text).map(|name| name.addresses.clone()).unwrap_or_default()
            }
        }
    }

    /// Resolves the names of all members now and then, so that their addresses are known before
    /// they are needed.
    pub(super) async fn refresh(self: Arc<Self>, every: Duration) {
        loop {
            let texts: Vec<String> =
                locked(&self.members).values().map(|peer| peer.text.clone()).collect();
            for text in texts {
                self.resolve(&text).await;
            }
            tokio::time::sleep(every).await;
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Returns the address at which a peer is likely to be, if it has moved as this node has: from one
/// network to another, with the same number in it. `None` if this node has not moved, or if the
/// peer was not in its network.
fn moved(own: &OwnAddress, peer: SocketAddr) -> Option<SocketAddr> {
    let (known, now): (SocketAddr, SocketAddr) = (own.known.parse().ok()?, own.now.parse().ok()?);
    let (known, now, peer) = (canonical(known), canonical(now), canonical(peer));
    if known == now {
        return None;
    }
    let ip = match (known.ip(), now.ip(), peer.ip()) {
        (IpAddr::V4(known), IpAddr::V4(now), IpAddr::V4(peer)) => {
            let wide = |ip: std::net::Ipv4Addr| u128::from(u32::from(ip));
            let moved = moved_bits(wide(known), wide(now), wide(peer))?;
            IpAddr::V4(u32::try_from(moved).ok()?.into())
        }
        (IpAddr::V6(known), IpAddr::V6(now), IpAddr::V6(peer)) => {
            IpAddr::V6(moved_bits(known.into(), now.into(), peer.into())?.into())
        }
        _ => return None,
    };
    let port = if peer.port() == known.port() { now.port() } else { peer.port() };
    Some(SocketAddr::new(ip, port))
}

/// Changes the bits down to the lowest that this node's move has changed. The peer must have had
/// the same ones.
fn moved_bits(known: u128, now: u128, peer: u128) -> Option<u128> {
    let changed = known ^ now;
    // All bits from the lowest changed one upwards. No bit has changed if only the port has.
    let network = if changed == 0 { 0 } else { u128::MAX << changed.trailing_zeros() };
    (peer & network == known & network).then_some(now & network | peer & !network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(known: &str, now: &str) -> OwnAddress {
        OwnAddress { known: known.to_owned(), now: now.to_owned() }
    }

    #[test]
    fn a_peer_is_looked_for_where_this_node_has_moved_to() {
        let check = |known, now, peer: &str, expected: Option<&str>| {
            let found = moved(&own(known, now), peer.parse().unwrap());
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{known} {now} {peer}");
        };
        let (old, new) = ("10.0.1.3:7444", "10.0.2.3:7444");
        check(old, new, "10.0.1.4:7444", Some("10.0.2.4:7444"));
        check(old, new, "10.0.9.4:7444", None);
        check(old, old, "10.0.1.4:7444", None);
        check(old, "10.0.1.3:7555", "10.0.1.4:7444", Some("10.0.1.4:7555"));
        check(old, "10.0.2.3:7555", "10.0.1.4:9000", Some("10.0.2.4:9000"));
        check("10.0.17.3:1", "10.0.33.3:1", "10.0.18.4:1", Some("10.0.34.4:1"));
        check(
            "[2001:db8:1::3]:1",
            "[2001:db8:2::3]:1",
            "[2001:db8:1::4]:1",
            Some("[2001:db8:2::4]:1"),
        );
        check(old, "[2001:db8::3]:7444", "10.0.1.4:7444", None);
        check("node-1.example:7444", new, "10.0.1.4:7444", None);
    }

    #[tokio::test]
    async fn a_member_is_tried_where_it_was_last_heard() {
        let addresses = Addresses::new(None);
        let id = NodeId(2);
        addresses.know(&BTreeMap::from([(id, "10.0.0.2:7444".to_owned())]));
        let tried = async || -> Vec<String> {
            let found = addresses.candidates(id, "10.0.0.2:7444").await;
            found.iter().map(|candidate| candidate.address.to_string()).collect()
        };
        addresses.heard(id, "[::ffff:10.0.0.2]:7444".parse().unwrap());
        assert_eq!(tried().await, ["10.0.0.2:7444"]);
        addresses.heard(id, "10.0.5.2:7444".parse().unwrap());
        assert_eq!(tried().await, ["10.0.0.2:7444", "10.0.5.2:7444"]);
        assert!(addresses.is_of_member("10.0.5.2".parse().unwrap()));
        addresses.know(&BTreeMap::new());
        assert!(!addresses.is_of_member("10.0.5.2".parse().unwrap()), "no longer a member");
    }

    #[tokio::test]
    async fn a_name_gives_all_its_addresses() {
        let addresses = Addresses::new(None);
        let found = addresses.candidates(NodeId(2), "localhost:7444").await;
        assert!(!found.is_empty(), "localhost is known everywhere");
        assert!(found.iter().all(|c| c.is_known && c.address.ip().is_loopback()), "{found:?}");
        assert!(addresses.candidates(NodeId(2), "no such host:7444").await.is_empty());
    }
}

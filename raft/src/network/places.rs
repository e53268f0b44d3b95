//! Places for incoming connections. Strangers share a few. Some are kept for the addresses of
//! members, so that strangers cannot keep members out.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    limits::{
        CONNECTIONS_MAX, HANDSHAKES_MAX, HANDSHAKES_OF_ADDRESS_MAX, HANDSHAKES_UNCHECKED_MAX,
        JOINS_MAX, JOINS_OF_ADDRESS_MAX, KNOWN_HANDSHAKES_MAX, KNOWN_HANDSHAKES_OF_ADDRESS_MAX,
        MEMBER_CONNECTIONS_MAX,
    },
    types::NodeId,
};

/// Holder of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A handshake with any address.
    Handshake(IpAddr),
    /// A handshake with the proven address of a member.
    KnownHandshake(IpAddr),
    /// A joining node.
    Join(IpAddr),
    /// A member that has proved its identity.
    Member(NodeId),
}

impl Holder {
    /// Returns the holder in whose name places are counted: an IPv6 host owns a network of /64.
    fn counted(self) -> Holder {
        let network = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        };
        match self {
            Holder::Handshake(ip) => Holder::Handshake(network(ip)),
            Holder::KnownHandshake(ip) => Holder::KnownHandshake(network(ip)),
            Holder::Join(ip) => Holder::Join(network(ip)),
            Holder::Member(id) => Holder::Member(id),
        }
    }

    /// Returns the most places of this holder, and the most of all holders of its kind.
    fn most(self) -> (usize, usize) {
        match self {
            Holder::Handshake(_) => (HANDSHAKES_OF_ADDRESS_MAX, HANDSHAKES_MAX),
            Holder::KnownHandshake(_) => (KNOWN_HANDSHAKES_OF_ADDRESS_MAX, KNOWN_HANDSHAKES_MAX),
            Holder::Join(_) => (JOINS_OF_ADDRESS_MAX, JOINS_MAX),
            Holder::Member(_) => (MEMBER_CONNECTIONS_MAX, CONNECTIONS_MAX),
        }
    }

    fn is_like(self, other: Holder) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// All places.
#[derive(Default)]
pub(super) struct Places(Mutex<BTreeMap<Holder, usize>>);

impl Places {
    /// Returns whether handshakes with unproven addresses have used up their share. A new
    /// connection must then show that it receives at its address (RFC 9000 §8.1.2).
    pub(super) fn are_crowded(&self) -> bool {
        let taken = self.taken();
        let handshakes = taken.iter().filter(|(holder, _)| matches!(holder, Holder::Handshake(_)));
        handshakes.map(|(_, count)| count).sum::<usize>() >= HANDSHAKES_UNCHECKED_MAX
    }

    /// Takes a place; it is free again when it is dropped.
    pub(super) fn take(self: &Arc<Places>, holder: Holder) -> Option<Place> {
        let holder = holder.counted();
        let (most_of_one, most) = holder.most();
        let mut taken = self.taken();
        let alike = taken.iter().filter(|(other, _)| holder.is_like(**other));
        if alike.map(|(_, count)| count).sum::<usize>() >= most {
            return None;
        }
        let count = taken.entry(holder).or_default();
        if *count >= most_of_one {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), holder })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Holder, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken.
pub(super) struct Place {
    places: Arc<Places>,
    holder: Holder,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.holder) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_use_up_their_own_places_only() {
        let places = Arc::new(Places::default());
        assert!(!places.are_crowded());
        let strangers: Vec<Place> = (0..=255)
            .filter_map(|last| places.take(Holder::Handshake(IpAddr::from([192, 0, 2, last]))))
            .collect();
        assert_eq!(strangers.len(), HANDSHAKES_MAX);
        assert!(places.are_crowded());
        let member = places.take(Holder::KnownHandshake(ip("10.0.0.1")));
        let proven = places.take(Holder::Member(NodeId(1)));
        assert!(member.is_some() && proven.is_some());
        drop(strangers);
        assert!(!places.are_crowded());
        assert!(places.take(Holder::Handshake(ip("192.0.2.1"))).is_some());
    }

    #[test]
    fn one_address_gets_its_share_of_the_joins() {
        let places = Arc::new(Places::default());
        let take = |text| places.take(Holder::Join(ip(text)));
        let held: Vec<Option<Place>> =
            (0..JOINS_OF_ADDRESS_MAX).map(|_| take("10.0.0.1")).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(take("10.0.0.1").is_none() && take("::ffff:10.0.0.1").is_none());
        assert!(take("10.0.0.2").is_some());
        let network = (take("2001:db8::1"), take("2001:db8::2"), take("2001:db8::3"));
        assert!(network.0.is_some() && network.1.is_some() && network.2.is_none(), "one /64");
        drop(held);
        assert!(take("10.0.0.1").is_some());
    }

    #[test]
    fn places_are_counted_without_a_trace_of_those_that_left() {
        let places = Arc::new(Places::default());
        drop(places.take(Holder::Join(ip("10.0.0.1"))));
        drop(places.take(Holder::Handshake(ip("10.0.0.1"))));
        assert!(places.taken().is_empty());
    }
}

//! Memory of failed logins on this node, so that passwords cannot be guessed; and of failed attempts
//! to unlock accounts, so that passphrases cannot.
//!
//! Failures count for a user *and* a network: who guesses a user's password from one network does
//! not lock the user out in another.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use conclave_edge::socket::limits::network;
use conclave_store::id::UserId;
use tokio::{sync::Semaphore, time::Instant};

/// Failures of a user from one network that cost no time.
const FREE: u32 = 5;
/// Failures of one network, whatever the user.
const FREE_OF_NETWORK: u32 = 50;
/// Pause after the first failure that is not free; it doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// Time after the last failure until all are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// Remembered pairs. The one that failed longest ago makes room.
const PAIRS_MAX: usize = 4_096;
/// Passwords that are hashed at the same time, each with 19 MiB, or keys that are unlocked, each
/// with 64 MiB or more; for strangers as many besides.
const HASHES_MAX: usize = 2;
/// One-time codes that are remembered, so that none is taken twice.
const CODES_MAX: usize = 1_024;

/// The memory of failed logins.
pub(crate) struct Logins {
    table: Mutex<Table>,
    hashing: Semaphore,
    by_strangers: Semaphore,
}

#[derive(Default)]
struct Table {
    failures: BTreeMap<Place, Failures>,
    /// The last time step of the codes of each user.
    codes: BTreeMap<UserId, u64>,
}

/// Where a login comes from: a network, and the user or account that it names; none: any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(IpAddr, Option<String>);

struct Failures {
    count: u32,
    last: Instant,
}

impl Default for Logins {
    fn default() -> Logins {
        let places = || Semaphore::new(HASHES_MAX);
        Logins { table: Mutex::default(), hashing: places(), by_strangers: places() }
    }
}

impl Logins {
    /// Returns how long this login must wait; `None`: it may be tried now.
    pub(crate) fn pause(&self, user: &str, from: IpAddr, now: Instant) -> Option<Duration> {
        let table = self.table();
        let left = |place: Place, free: u32| {
            let failures = table.failures.get(&place)?;
            if now - failures.last >= FORGOTTEN {
                return None;
            }
            let over = failures.count.checked_sub(free)?;
            let pause = PAUSE.saturating_mul(1_u32.checked_shl(over).unwrap_or(u32::MAX));
            pause.min(PAUSE_MAX).checked_sub(now - failures.last).filter(|left| !left.is_zero())
        };
        let network = network(from);
        let of_user = left(Place(network, Some(user.to_owned())), FREE);
        of_user.max(left(Place(network, None), FREE_OF_NETWORK))
    }

    /// Remembers a failure.
    pub(crate) fn failed(&self, user: &str, from: IpAddr, now: Instant) {
        let (network, mut table) = (network(from), self.table());
        for place in [Place(network, Some(user.to_owned())), Place(network, None)] {
            let failures = table.failures.entry(place).or_insert(Failures { count: 0, last: now });
            if now - failures.last >= FORGOTTEN {
                failures.count = 0;
            }
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
        while table.failures.len() > PAIRS_MAX {
            let oldest = table.failures.iter().min_by_key(|(_, failures)| failures.last);
            let Some(oldest) = oldest.map(|(place, _)| place.clone()) else { break };
            table.failures.remove(&oldest);
        }
    }

    /// Forgets the failures of a user from one network.
    pub(crate) fn succeeded(&self, user: &str, from: IpAddr) {
        self.table().failures.remove(&Place(network(from), Some(user.to_owned())));
    }

    /// Takes a one-time code by its time step. Returns whether it was not taken before.
    pub(crate) fn take_code(&self, user: UserId, step: u64) -> bool {
        let mut table = self.table();
        if table.codes.get(&user).is_some_and(|last| *last >= step) {
            return false;
        }
        if table.codes.len() >= CODES_MAX {
            let oldest = table.codes.iter().min_by_key(|(_, step)| **step);
            let oldest = oldest.map(|(user, _)| *user);
            oldest.map(|user| table.codes.remove(&user));
        }
        table.codes.insert(user, step);
        true
    }

    /// Returns the places for hashing passwords.
    pub(crate) fn hashing(&self) -> &Semaphore {
        &self.hashing
    }

    /// Returns those for strangers, who must not keep out others who unlock a key.
    pub(crate) fn by_strangers(&self) -> &Semaphore {
        &self.by_strangers
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_gets_slow_and_locks_out_nobody_else() {
        let (logins, mut now) = (Logins::default(), Instant::now());
        let (near, far): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
        for _ in 0..FREE {
            assert_eq!(logins.pause("alice", near, now), None);
            logins.failed("alice", near, now);
        }
        let mut waited = Duration::ZERO;
        for _ in 0..20 {
            let pause = logins.pause("alice", near, now).unwrap();
            assert!(pause <= PAUSE_MAX);
            (now, waited) = (now + pause, waited + pause);
            assert_eq!(logins.pause("alice", near, now), None);
            logins.failed("alice", near, now);
        }
        assert!(waited > PAUSE_MAX * 8, "{waited:?} for 20 guesses");
        assert_eq!(logins.pause("alice", far, now), None, "alice elsewhere");
        assert_eq!(logins.pause("bob", near, now), None, "another one here");
        now += FORGOTTEN;
        assert_eq!(logins.pause("alice", near, now), None);
        logins.failed("alice", near, now);
        assert_eq!(logins.pause("alice", near, now), None, "counted anew");
    }

    #[test]
    fn a_network_that_tries_many_users_is_slowed_too() {
        let (logins, now) = (Logins::default(), Instant::now());
        let address = |last: u16| -> IpAddr { format!("2001:db8::{last:x}").parse().unwrap() };
        for number in 0..=u16::try_from(FREE_OF_NETWORK).unwrap() {
            logins.failed(&format!("user{number}"), address(number), now);
        }
        assert!(logins.pause("alice", address(0xffff), now).is_some());
        assert_eq!(logins.pause("alice", "192.0.2.1".parse().unwrap(), now), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let (logins, now) = (Logins::default(), Instant::now());
        for number in 0..5_000_u32 {
            let from = IpAddr::from((0x0a00_0000 + number * 256).to_be_bytes());
            logins.failed("alice", from, now + Duration::from_millis(number.into()));
        }
        assert_eq!(logins.table().failures.len(), PAIRS_MAX);
        for number in 0..2_000_u64 {
            let mut id = [0; 8];
            id.copy_from_slice(&number.to_be_bytes());
            assert!(logins.take_code(UserId(id), number));
            assert!(!logins.take_code(UserId(id), number), "a code is taken once");
        }
        assert_eq!(logins.table().codes.len(), CODES_MAX);
    }
}

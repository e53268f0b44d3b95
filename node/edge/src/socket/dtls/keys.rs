//! Keys of cookies and tickets. They belong to the cluster, so the next datagram may reach any
//! node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_dtls::{CookieKey, CookieKeys, Door, TicketKey, TicketKeys};
use conclave_keys::{OpenedKey, SessionKeys};
use conclave_store::{record::SessionKeyUse, time::UnixMillis};
use conclave_system::{clock, entropy};
use zeroize::Zeroizing;

use crate::live::Live;

/// Lifetime of a door. A key can expire without any change of keys.
const DOOR_VALID: Duration = Duration::from_secs(1);

/// Window of time that a cookie belongs to. It is accepted until the next window ends, so for one to
/// two of these. An address that a client had once is of use to it only for so long.
const COOKIE_WINDOW_MS: u64 = 30_000;
const COOKIE_WINDOW: Duration = Duration::from_millis(COOKIE_WINDOW_MS);
/// Level of the rules from which on cookies belong to windows. Earlier members know no windows.
const COOKIE_WINDOW_LEVEL: u32 = 3;

/// The door of a socket, under the current cookie keys.
pub(super) struct Doorkeeper {
    live: Live,
    /// Used while the node has no cluster keys. Then a client's second hello must reach this same
    /// socket.
    own: Secret,
    /// Last time that members which know no windows were in the cluster. Their cookies are accepted
    /// for as long as one of a window: clients have them in hand, and take no third one.
    last_without_windows: Option<Instant>,
    door: Option<(Arc<SessionKeys>, Instant, Door)>,
}

/// A secret of which cookie keys are made.
struct Secret {
    id: [u8; 8],
    bytes: Zeroizing<[u8; 32]>,
}

impl Doorkeeper {
    pub(super) fn new(live: Live) -> Doorkeeper {
        let own = Secret { id: entropy::array(), bytes: Zeroizing::new(entropy::array()) };
        Doorkeeper { live, own, last_without_windows: None, door: None }
    }

    pub(super) fn door(&mut self) -> &Door {
        let (keys, now) = (self.live.session_keys(), Instant::now());
        let is_current = |(known, made, _): &(Arc<SessionKeys>, Instant, Door)| {
            Arc::ptr_eq(known, &keys) && now.duration_since(*made) < DOOR_VALID
        };
        let known = self.door.take().filter(is_current);
        let known = known.unwrap_or_else(|| {
            let has_windows = self.live.level() >= COOKIE_WINDOW_LEVEL;
            let forms = Forms::at(has_windows, &mut self.last_without_windows, now);
            let door = Door::new(cookie_keys(&keys, &self.own, clock::now(), forms));
            (keys, now, door)
        });
        &self.door.insert(known).2
    }
}

/// Which cookies there are.
#[derive(Clone, Copy)]
struct Forms {
    /// Cookies of a window are made.
    has_windows: bool,
    /// Cookies without one are accepted too.
    accepts_both: bool,
}

impl Forms {
    /// Returns the forms for now, and notes in `last` when cookies without a window were made.
    fn at(has_windows: bool, last: &mut Option<Instant>, now: Instant) -> Forms {
        if !has_windows {
            *last = Some(now);
        }
        let is_recent = |last: Instant| now.duration_since(last) < COOKIE_WINDOW;
        Forms { has_windows, accepts_both: last.is_some_and(is_recent) }
    }
}

/// Returns the keys of the present window, and those of its neighbours: clocks of nodes differ. In a
/// cluster with members that know no windows, cookies without one are made, and accepted too.
fn cookie_keys(keys: &SessionKeys, own: &Secret, now: UnixMillis, forms: Forms) -> CookieKeys {
    let secret = |key: &Arc<OpenedKey>| {
        let bytes = Zeroizing::new(key.expose().try_into().ok()?);
        Some(Secret { id: key.id().0, bytes })
    };
    let window = now.0 / COOKIE_WINDOW_MS;
    let present = |secret: &Secret| CookieKey::of_window(secret.id, &secret.bytes, window);
    let sealing = keys.sealing(SessionKeyUse::Cookie, now).and_then(secret);
    let make = match (&sealing, forms.has_windows) {
        (Some(secret), true) => present(secret),
        (Some(secret), false) => CookieKey::new(secret.id, &secret.bytes),
        (None, _) => present(own),
    };
    let opening: Vec<Secret> =
        keys.all_opening(SessionKeyUse::Cookie, now).filter_map(secret).collect();
    let mut also = Vec::new();
    for secret in opening.iter().chain([own]) {
        for window in [window, window.saturating_sub(1), window.saturating_add(1)] {
            also.push(CookieKey::of_window(secret.id, &secret.bytes, window));
        }
    }
    if forms.accepts_both {
        also.extend(opening.iter().map(|secret| CookieKey::new(secret.id, &secret.bytes)));
    }
    CookieKeys { make, also }
}

/// Returns the current ticket keys.
pub(super) fn ticket_keys(keys: &SessionKeys) -> TicketKeys {
    let now = clock::now();
    let key = |key: &Arc<OpenedKey>| {
        let secret: [u8; 32] = key.expose().try_into().ok()?;
        Some(TicketKey::new(key.id().0, Zeroizing::new(secret)))
    };
    TicketKeys {
        seal: keys.sealing(SessionKeyUse::Ticket, now).and_then(key),
        open: keys.all_opening(SessionKeyUse::Ticket, now).filter_map(key).collect(),
    }
}

#[cfg(test)]
mod tests {
    use conclave_dtls::{Answer, Connector};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_123);

    fn door(own: &Secret, at: UnixMillis, has_windows: bool) -> Door {
        let forms = Forms { has_windows, accepts_both: !has_windows };
        Door::new(cookie_keys(&SessionKeys::default(), own, at, forms))
    }

    #[test]
    fn a_cookie_is_good_for_a_minute_and_not_for_hours() {
        let own = Secret { id: [1; 8], bytes: Zeroizing::new([7; 32]) };
        let address = "192.0.2.1:40000".parse().unwrap();
        let now = Instant::now();
        let mut client = Connector::new(&[]).unwrap().connect(None, now, 1500).unwrap();
        let hello = client.next_datagram().unwrap();
        let Answer::Verify(cookie) = door(&own, NOW, true).answer(address, &hello) else {
            panic!()
        };
        client.datagram(now, &cookie);
        let hello = client.next_datagram().unwrap();
        let is_good = |at: UnixMillis| {
            matches!(door(&own, at, true).answer(address, &hello), Answer::Proven(_))
        };
        for later_ms in [0, 1_000, COOKIE_WINDOW_MS] {
            assert!(is_good(NOW.plus(later_ms)), "{later_ms}");
        }
        // The clock of another node may be behind.
        assert!(is_good(UnixMillis(NOW.0 - COOKIE_WINDOW_MS)));
        for later_ms in [2 * COOKIE_WINDOW_MS, 3_600_000] {
            assert!(!is_good(NOW.plus(later_ms)), "{later_ms}");
        }
    }

    /// A client takes one cookie only, so the one in its hand must still count when the level rises.
    #[test]
    fn cookies_of_the_earlier_form_count_for_one_window_after_it() {
        let begun = Instant::now();
        let mut last = None;
        let both = |has_windows, last: &mut Option<Instant>, at| {
            Forms::at(has_windows, last, at).accepts_both
        };
        assert!(!both(true, &mut last, begun), "a cluster that never had the earlier form");
        assert!(both(false, &mut last, begun));
        for (later, expected) in [(Duration::from_secs(1), true), (COOKIE_WINDOW, false)] {
            assert_eq!(both(true, &mut last, begun + later), expected, "{later:?}");
        }
    }
}

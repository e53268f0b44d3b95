//! Keys of cookies and tickets. They belong to the cluster, so the next datagram may reach any
//! node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_dtls::{CookieKey, CookieKeys, Door, TicketKey, TicketKeys};
use conclave_keys::{OpenedKey, SessionKeys};
use conclave_store::record::SessionKeyUse;
use conclave_system::{clock, entropy};
use zeroize::Zeroizing;

use crate::live::Live;

/// Lifetime of a door. A key can expire without any change of keys.
const DOOR_VALID: Duration = Duration::from_secs(1);

/// The door of a socket, under the current cookie keys.
pub(super) struct Doorkeeper {
    live: Live,
    /// Used while the node has no cluster keys. Then a client's second hello must reach this same
    /// socket.
    own: CookieKey,
    door: Option<(Arc<SessionKeys>, Instant, Door)>,
}

impl Doorkeeper {
    pub(super) fn new(live: Live) -> Doorkeeper {
        let secret = Zeroizing::new(entropy::array());
        Doorkeeper { live, own: CookieKey::new(entropy::array(), &secret), door: None }
    }

    pub(super) fn door(&mut self) -> &Door {
        let (keys, now) = (self.live.session_keys(), Instant::now());
        let is_current = |(known, made, _): &(Arc<SessionKeys>, Instant, Door)| {
            Arc::ptr_eq(known, &keys) && now.duration_since(*made) < DOOR_VALID
        };
        let known = self.door.take().filter(is_current);
        let known = known.unwrap_or_else(|| {
            let door = Door::new(cookie_keys(&keys, &self.own));
            (keys, now, door)
        });
        &self.door.insert(known).2
    }
}

fn cookie_keys(keys: &SessionKeys, own: &CookieKey) -> CookieKeys {
    let now = clock::now();
    let key =
        |key: &Arc<OpenedKey>| Some(CookieKey::new(key.id().0, key.expose().try_into().ok()?));
    let made = keys.sealing(SessionKeyUse::Cookie, now).and_then(key);
    let mut also: Vec<_> = keys.all_opening(SessionKeyUse::Cookie, now).filter_map(key).collect();
    also.push(own.clone());
    CookieKeys { make: made.unwrap_or_else(|| own.clone()), also }
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

//! Session tickets (RFC 5077, RFC 8446 §4.6.1), sealed under keys that all nodes share.
//!
//! A session resumes on any node, but only for the same domain and listener and under the same
//! policy, keys, certificates and trust. A ticket consists of the id of its key, a nonce and an
//! AES-256-GCM ciphertext. The ciphertext holds the time of issue, the expiry and rustls's session
//! state. The subkey and the associated data are both derived from the binding. A ticket presented
//! elsewhere therefore does not open, and a full handshake follows.

use std::sync::Arc;

use arc_swap::ArcSwap;
use conclave_keys::{OpenedKey, SessionKeys};
use conclave_store::{
    id::{DomainId, SessionKeyId},
    record::{Domain, ListenerPolicy, PkiMode, SessionKeyUse},
    scope::Scope,
    time::UnixMillis,
};
use conclave_system::{clock, entropy};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest, hkdf,
};
use rustls::server::ProducesTickets;
use zeroize::{Zeroize, Zeroizing};

use super::{Asking, ClientPolicy, Door, Policy};
use crate::tls::limits::SESSION_BYTES_MAX;

/// Longest lifetime of a ticket in TLS 1.3 (RFC 8446 §4.6.1).
const LIFETIME_S_MAX: u32 = 7 * 24 * 60 * 60;
/// Tolerance for tickets of a node with a clock ahead of this node's.
const CLOCK_SKEW_MS: u64 = 60_000;

const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TIMES_BYTES: usize = 16;

/// The ticket binding of a domain, without the listener.
pub(crate) struct Sessions {
    keys: Arc<ArcSwap<SessionKeys>>,
    binding: digest::Context,
    ttl_s: u32,
}

/// Adds a part to a hash, prefixed by its length so that adjacent parts cannot be confused.
pub(super) fn add(hash: &mut digest::Context, part: &[u8]) {
    let bytes = u64::try_from(part.len()).unwrap_or(u64::MAX);
    hash.update(&bytes.to_be_bytes());
    hash.update(part);
}

impl Sessions {
    /// Computes the binding of a domain from its client-certificate policy and the TLS settings.
    pub(crate) fn of(
        keys: &Arc<ArcSwap<SessionKeys>>,
        scope: Scope,
        domain: &Domain,
        client: Option<&ClientPolicy>,
        policy: &Policy,
    ) -> Sessions {
        let mut hash = digest::Context::new(&digest::SHA256);
        let DomainId(id) = domain.id;
        add(&mut hash, b"conclave-ticket-1");
        add(&mut hash, &[u8::from(scope == Scope::Local), u8::from(domain.mode == PkiMode::Test)]);
        add(&mut hash, &id);
        add(&mut hash, &policy.settings.flushes.to_be_bytes());
        add(&mut hash, client.map(ClientPolicy::digest).unwrap_or_default());
        for credential in &domain.credentials {
            let Some(certificate) = &credential.certificate else { continue };
            add(&mut hash, &credential.key.public_key.0);
            add(&mut hash, &certificate.der);
            add(&mut hash, credential.chain.as_ref().map_or(&[], |chain| &chain.0));
        }
        let ttl_s = policy.settings.session_ttl_s.min(LIFETIME_S_MAX);
        Sessions { keys: Arc::clone(keys), binding: hash, ttl_s }
    }

    /// Returns how long sessions can resume, in seconds; 0 disables resumption.
    pub(crate) fn ttl_s(&self) -> u32 {
        self.ttl_s
    }

    /// Returns the ticket binding for one listener.
    pub(crate) fn binding(&self, door: &Door) -> [u8; 32] {
        let mut binding = self.binding.clone();
        add(&mut binding, door.name.as_str().as_bytes());
        // Nothing is added for the default: nodes of 0.2.0 bind so.
        if door.policy != ListenerPolicy::default() {
            let ListenerPolicy { requires_client_certificate, takes_server_certificates } =
                door.policy;
            let flags = [requires_client_certificate, takes_server_certificates].map(u8::from);
            add(&mut binding, &flags);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(binding.finish().as_ref());
        bytes
    }

    /// Returns the rustls ticketer for one listener, or none if resumption is disabled.
    pub(super) fn ticketer(
        &self,
        door: &Door,
        asking: Option<&Asking>,
    ) -> Option<Arc<dyn ProducesTickets>> {
        if self.ttl_s == 0 {
            return None;
        }
        Some(Arc::new(Ticketer {
            keys: Arc::clone(&self.keys),
            binding: self.binding(door),
            ttl_s: self.ttl_s,
            asking: asking.cloned(),
        }))
    }
}

struct Ticketer {
    keys: Arc<ArcSwap<SessionKeys>>,
    binding: [u8; 32],
    ttl_s: u32,
    /// Set if the domain asks for client certificates.
    asking: Option<Asking>,
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Ticketer")
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.ttl_s
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > SESSION_BYTES_MAX {
            return None;
        }
        let until = match &self.asking {
            Some(asking) => asking.session_until()?,
            None => UnixMillis(u64::MAX),
        };
        let now = clock::now();
        self.seal(self.keys.load().sealing(SessionKeyUse::Ticket, now)?, now, until, session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let now = clock::now();
        let (id, _) = ticket.split_first_chunk::<ID_BYTES>()?;
        let keys = self.keys.load();
        let key = keys.opening(SessionKeyUse::Ticket, SessionKeyId(*id), now)?;
        let (until, session) = self.open(key, now, ticket)?;
        if let Some(asking) = &self.asking {
            asking.resumes_until(until);
        }
        Some(session)
    }
}

impl Ticketer {
    fn seal(
        &self,
        key: &OpenedKey,
        made: UnixMillis,
        until: UnixMillis,
        session: &[u8],
    ) -> Option<Vec<u8>> {
        let SessionKeyId(id) = key.id();
        let nonce: [u8; NONCE_BYTES] = entropy::array();
        let room = ID_BYTES + NONCE_BYTES + TIMES_BYTES + session.len() + AES_256_GCM.tag_len();
        let mut ticket = Vec::with_capacity(room);
        ticket.extend_from_slice(&id);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&made.0.to_be_bytes());
        ticket.extend_from_slice(&until.0.to_be_bytes());
        ticket.extend_from_slice(session);
        let (_, secret) = ticket.split_at_mut_checked(ID_BYTES + NONCE_BYTES)?;
        let sealed = self.subkey(key)?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            self.associated(id),
            secret,
        );
        match sealed {
            Ok(tag) => ticket.extend_from_slice(tag.as_ref()),
            Err(_) => {
                ticket.zeroize();
                return None;
            }
        }
        Some(ticket)
    }

    /// Opens a ticket and returns its expiry and session. Returns none if it was sealed for another
    /// binding, is too old, has expired or is from the future.
    fn open(
        &self,
        key: &OpenedKey,
        now: UnixMillis,
        ticket: &[u8],
    ) -> Option<(UnixMillis, Vec<u8>)> {
        let (id, rest) = ticket.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.subkey(key)?.open_in_place(nonce, self.associated(*id), &mut buffer);
        let (made, rest) = opened.ok()?.split_first_chunk::<8>()?;
        let (until, session) = rest.split_first_chunk::<8>()?;
        let made = UnixMillis(u64::from_be_bytes(*made));
        let until = UnixMillis(u64::from_be_bytes(*until));
        let is_alive = made <= now.plus(CLOCK_SKEW_MS)
            && now < made.plus(u64::from(self.ttl_s) * 1_000)
            && now < until;
        is_alive.then(|| (until, session.to_vec()))
    }

    fn subkey(&self, key: &OpenedKey) -> Option<LessSafeKey> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"conclave ticket");
        let info: [&[u8]; 1] = [&self.binding];
        let expanded = salt.extract(key.expose());
        let expanded = expanded.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(expanded)))
    }

    fn associated(&self, id: [u8; ID_BYTES]) -> Aad<[u8; ID_BYTES + 32]> {
        let mut bytes = [0; ID_BYTES + 32];
        for (to, from) in bytes.iter_mut().zip(id.iter().chain(&self.binding)) {
            *to = *from;
        }
        Aad::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    const TTL_S: u32 = 7_200;

    fn ticketer(binding: u8, keys: impl IntoIterator<Item = OpenedKey>) -> Ticketer {
        Ticketer {
            keys: Arc::new(ArcSwap::from_pointee(SessionKeys::for_test(keys))),
            binding: [binding; 32],
            ttl_s: TTL_S,
            asking: None,
        }
    }

    fn key(id: u8) -> OpenedKey {
        OpenedKey::for_test(id, UnixMillis(u64::from(id)), clock::now().plus(60_000))
    }

    #[test]
    fn a_ticket_opens_on_another_node_and_only_where_it_was_made() {
        let here = ticketer(1, [key(1)]);
        let ticket = here.encrypt(b"session").unwrap();
        assert_eq!(
            ticketer(1, [key(1), key(2)]).decrypt(&ticket).as_deref(),
            Some(&b"session"[..])
        );
        assert_eq!(ticketer(2, [key(1)]).decrypt(&ticket), None, "another place");
        assert_eq!(ticketer(1, [key(2)]).decrypt(&ticket), None, "a key that is not here");
        for bit in 0..ticket.len() * 8 {
            let mut flipped = ticket.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(here.decrypt(&flipped), None, "bit {bit}");
        }
        for length in 0..ticket.len() {
            assert_eq!(here.decrypt(&ticket[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn the_key_activated_last_seals_and_an_old_one_does_not() {
        let both = ticketer(1, [key(1), key(2)]);
        assert_eq!(both.encrypt(b"session").unwrap()[..8], [2; 8]);
        assert_eq!(ticketer(1, []).encrypt(b"session"), None, "no key, no ticket");
        let now = clock::now();
        let old = OpenedKey::for_test(1, UnixMillis(1), UnixMillis(now.0 - 1));
        assert_eq!(ticketer(1, [old]).encrypt(b"session"), None, "its time is over");
    }

    #[test]
    fn a_ticket_lives_as_long_as_its_time_to_live_and_its_certificate() {
        let (tickets, key) = (ticketer(1, []), key(1));
        let (now, never) = (clock::now(), UnixMillis(u64::MAX));
        let check = |made: u64, until: UnixMillis, is_open: bool| {
            let ticket = tickets.seal(&key, UnixMillis(made), until, b"session").unwrap();
            assert_eq!(tickets.open(&key, now, &ticket).is_some(), is_open, "{made} {until:?}");
        };
        let ttl_ms = u64::from(TTL_S) * 1_000;
        check(now.0, never, true);
        check(now.0 - ttl_ms + 1, never, true);
        check(now.0 - ttl_ms, never, false);
        check(now.0 + CLOCK_SKEW_MS, never, true);
        check(now.0 + CLOCK_SKEW_MS + 1, never, false);
        check(now.0, now.plus(1), true);
        check(now.0, now, false);
    }

    #[test]
    fn a_ticket_of_any_release_opens() {
        let (tickets, key) = (ticketer(1, []), key(1));
        let (made, until) = (UnixMillis(1_800_000_000_000), UnixMillis(u64::MAX));
        let ticket = tickets.seal(&key, made, until, b"session").unwrap();
        let ticket =
            Sample { is_random: true, ..Sample::new("ticket", ticket, &(until, "session")) };
        check("node-ticket.tsv", &[ticket], &|_, bytes| {
            let (until, session) = tickets.open(&key, made.plus(1), bytes)?;
            Some((meaning(&(until, String::from_utf8(session).ok()?)), bytes.to_vec()))
        });
    }

    #[test]
    fn a_session_with_a_huge_chain_is_not_sealed() {
        assert_eq!(ticketer(1, [key(1)]).encrypt(&[0; SESSION_BYTES_MAX + 1]), None);
    }
}

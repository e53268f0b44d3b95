//! Cookies: they prove a client's address while the server keeps no state (RFC 6347 §4.2.1).
//!
//! A cookie is the id of its key (8 bytes) and the first 16 bytes of an HMAC-SHA256. The HMAC
//! covers the client's address and the ClientHello without cookie and extensions. 24 bytes fit the
//! 32 byte buffers of DTLS 1.0 clients, and keep the answer smaller than the request.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;
use zeroize::Zeroizing;

use crate::hello::Start;

const ID_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// A secret key for cookies.
#[derive(Clone)]
pub struct CookieKey {
    id: [u8; ID_BYTES],
    key: hmac::Key,
}

impl CookieKey {
    /// Makes a key from 32 random bytes. `id` must differ from the ids of all other keys in use.
    pub fn new(id: [u8; ID_BYTES], secret: &[u8; 32]) -> CookieKey {
        CookieKey { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// Makes the key of a window of time, whose cookies no other window accepts.
    pub fn of_window(id: [u8; ID_BYTES], secret: &[u8; 32], window: u64) -> CookieKey {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |label: &[u8], derived: &mut [u8]| {
            let mut context = hmac::Context::with_key(&key);
            context.update(label);
            context.update(&id);
            context.update(&window.to_be_bytes());
            let tag = context.sign();
            derived.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        };
        let (mut its_id, mut its_secret) = ([0; ID_BYTES], Zeroizing::new([0; 32]));
        derive(b"conclave dtls cookie window id", &mut its_id);
        derive(b"conclave dtls cookie window key", &mut *its_secret);
        CookieKey::new(its_id, &its_secret)
    }

    fn cookie(&self, client: SocketAddr, start: &Start<'_>) -> [u8; ID_BYTES + TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        // IPv4 clients have one form, whether they come through an IPv4 or a dual-stack socket.
        let ip = match client.ip().to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        context.update(&ip.octets());
        context.update(&client.port().to_be_bytes());
        context.update(&start.version.to_be_bytes());
        context.update(start.random);
        for field in [start.session_id, start.cipher_suites, start.compression] {
            context.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(field);
        }
        let tag = context.sign();
        let mut cookie = [0; ID_BYTES + TAG_BYTES];
        let bytes = self.id.into_iter().chain(tag.as_ref().iter().copied());
        cookie.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        cookie
    }
}

/// The current cookie keys.
#[derive(Clone)]
pub struct CookieKeys {
    /// Key for new cookies.
    pub make: CookieKey,
    /// Previous and next keys: their cookies are accepted too.
    pub also: Vec<CookieKey>,
}

impl CookieKeys {
    pub(crate) fn cookie(&self, client: SocketAddr, start: &Start<'_>) -> Vec<u8> {
        self.make.cookie(client, start).to_vec()
    }

    pub(crate) fn accept(&self, client: SocketAddr, start: &Start<'_>) -> bool {
        let Some((id, _)) = start.cookie.split_first_chunk::<ID_BYTES>() else { return false };
        let mut keys = std::iter::once(&self.make).chain(&self.also);
        let Some(key) = keys.find(|key| key.id == *id) else { return false };
        let wanted = key.cookie(client, start);
        // Compare in constant time, so that timing does not reveal the first wrong byte.
        let differ = wanted.iter().zip(start.cookie).fold(0, |sum, (a, b)| sum | (a ^ b));
        start.cookie.len() == wanted.len() && differ == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        TicketKey,
        samples::{Sample, check, meaning},
    };

    const CLIENT: &str = "192.0.2.1:40000";

    /// A ClientHello (RFC 6347 §4.2.1) with this cookie.
    fn hello(cookie: &[u8]) -> Vec<u8> {
        let length = u8::try_from(cookie.len()).unwrap();
        let before = [&[0xFE, 0xFD][..], &[3; 32], &[2, 5, 6], &[length]].concat();
        [&before, cookie, &[0, 2, 0xC0, 0x2B], &[1, 0], &[0, 0]].concat()
    }

    #[test]
    fn nodes_of_any_release_accept_each_others_cookies() {
        let make = CookieKey::new([1; 8], &[7; 32]);
        let keys = CookieKeys { make, also: Vec::new() };
        let client = CLIENT.parse().unwrap();
        let cookie = keys.cookie(client, &Start::read(&hello(&[])).unwrap());
        let made = [Sample::new("cookie", cookie, &CLIENT)];
        check("dtls-cookie.tsv", &made, &|_, bytes| {
            let hello = hello(bytes);
            let start = Start::read(&hello)?;
            keys.accept(client, &start).then(|| (meaning(&CLIENT), keys.cookie(client, &start)))
        });
    }

    #[test]
    fn a_cookie_of_one_window_is_none_in_another() {
        let key = |window| CookieKey::of_window([1; 8], &[7; 32], window);
        let keys = |make, also: &[u64]| CookieKeys {
            make: key(make),
            also: also.iter().map(|window| key(*window)).collect(),
        };
        let client = CLIENT.parse().unwrap();
        let cookie = keys(5, &[]).cookie(client, &Start::read(&hello(&[])).unwrap());
        let hello = hello(&cookie);
        let accepts = |keys: CookieKeys| keys.accept(client, &Start::read(&hello).unwrap());
        assert!(accepts(keys(5, &[])) && accepts(keys(6, &[7, 5])));
        assert!(!accepts(keys(6, &[])) && !accepts(keys(7, &[6, 8])));
        let unbound = CookieKeys { make: CookieKey::new([1; 8], &[7; 32]), also: Vec::new() };
        assert!(!accepts(unbound));
    }

    /// The derivation is part of the format: a cookie may reach another node than made it.
    #[test]
    fn nodes_of_any_release_make_the_same_keys_of_windows() {
        let make = CookieKey::of_window([1; 8], &[7; 32], 12_345);
        let keys = CookieKeys { make, also: Vec::new() };
        let client = CLIENT.parse().unwrap();
        let cookie = keys.cookie(client, &Start::read(&hello(&[])).unwrap());
        let made = [Sample::new("cookie", cookie, &CLIENT)];
        check("dtls-cookie-window.tsv", &made, &|_, bytes| {
            let hello = hello(bytes);
            let start = Start::read(&hello)?;
            keys.accept(client, &start).then(|| (meaning(&CLIENT), keys.cookie(client, &start)))
        });
    }

    /// OpenSSL makes the tickets. Only the derivation of their keys is ours.
    #[test]
    fn nodes_of_any_release_seal_tickets_with_the_same_keys() {
        let key = TicketKey::new([1; 8], Zeroizing::new([7; 32]));
        let subkey = key.subkey(&[9; 32]).unwrap();
        let bytes = [&key.name()[..], &subkey.cipher[..], &subkey.mac[..]].concat();
        let meant = "name, AES-256-CBC, HMAC-SHA256";
        let made = [Sample::new("ticket keys", bytes.clone(), &meant)];
        check("dtls-ticket.tsv", &made, &|_, kept| {
            (kept == bytes).then(|| (meaning(&meant), kept.to_vec()))
        });
    }
}

//! Keys of session tickets (RFC 5077), shared by all nodes.

use ring::hkdf;
use zeroize::Zeroizing;

/// A secret key for tickets.
pub struct TicketKey {
    name: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
}

impl TicketKey {
    /// Makes a key from 32 random bytes. Tickets carry its `id` unencrypted.
    pub fn new(id: [u8; 8], secret: Zeroizing<[u8; 32]>) -> TicketKey {
        let mut name = [0; 16];
        name.iter_mut().zip(id).for_each(|(to, from)| *to = from);
        TicketKey { name, secret }
    }

    pub(crate) fn name(&self) -> &[u8; 16] {
        &self.name
    }

    /// Derives the key for one context. It cannot open tickets of another context.
    pub(crate) fn subkey(&self, context: &[u8; 32]) -> Option<Subkey> {
        struct Bytes(usize);
        impl hkdf::KeyType for Bytes {
            fn len(&self) -> usize {
                self.0
            }
        }
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, context).extract(&*self.secret);
        let mut subkey = Subkey { cipher: Zeroizing::new([0; 32]), mac: Zeroizing::new([0; 32]) };
        for (label, key) in [
            (&b"conclave dtls ticket cipher"[..], &mut subkey.cipher),
            (&b"conclave dtls ticket mac"[..], &mut subkey.mac),
        ] {
            secret.expand(&[label], Bytes(32)).ok()?.fill(&mut key[..]).ok()?;
        }
        Some(subkey)
    }
}

/// Keys for AES-256-CBC and HMAC-SHA256, encrypt-then-MAC, as RFC 5077 §4 recommends.
pub(crate) struct Subkey {
    pub(crate) cipher: Zeroizing<[u8; 32]>,
    pub(crate) mac: Zeroizing<[u8; 32]>,
}

/// The current ticket keys.
pub struct TicketKeys {
    /// Key for new tickets. Without it, no tickets are issued.
    pub seal: Option<TicketKey>,
    /// Further keys for opening tickets: the previous ones and the next one.
    pub open: Vec<TicketKey>,
}

impl TicketKeys {
    pub(crate) fn named(&self, name: &[u8]) -> Option<&TicketKey> {
        self.seal.iter().chain(&self.open).find(|key| key.name == name)
    }

    pub(crate) fn is_sealing(&self, key: &TicketKey) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.name == key.name)
    }
}

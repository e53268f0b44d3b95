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

/// Encodes certificates for a ticket: each with its length in three bytes before it.
pub(crate) fn encode_chain(chain: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for der in chain {
        let length = u32::try_from(der.len()).unwrap_or(u32::MAX).to_be_bytes();
        bytes.extend(length.get(1..).unwrap_or_default());
        bytes.extend(der);
    }
    bytes
}

/// Decodes the certificates of a ticket. Only nodes that have its key can have made it, so what does
/// not decode is left out: a chain that lacks it is refused.
pub(crate) fn decode_chain(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut chain = Vec::new();
    while let Some((&[high, middle, low], rest)) = bytes.split_first_chunk::<3>() {
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low]));
        let Some((der, rest)) = length.ok().and_then(|length| rest.split_at_checked(length)) else {
            break;
        };
        chain.push(der.to_vec());
        bytes = rest;
    }
    chain
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    #[test]
    fn nodes_of_any_release_read_the_chains_in_tickets() {
        let chain = vec![vec![1; 3], vec![2; 300]];
        let made = [Sample::new("chain", encode_chain(&chain), &chain)];
        check("dtls-ticket-chain.tsv", &made, &|_, bytes| {
            let chain = decode_chain(bytes);
            Some((meaning(&chain), encode_chain(&chain)))
        });
    }

    #[test]
    fn a_chain_reads_back_and_a_part_of_it_is_none() {
        let chain = vec![vec![1; 300], Vec::new(), vec![2; 70_000]];
        let bytes = encode_chain(&chain);
        assert_eq!(decode_chain(&bytes), chain);
        assert_eq!(decode_chain(&bytes[..bytes.len() - 1]), chain[..2]);
        assert!(decode_chain(&[]).is_empty() && decode_chain(&[0, 0]).is_empty());
    }
}

//! Handshakes of an OpenSSL client with the engine, in memory.

mod client;
mod client_certificates;
mod forge;
mod handshakes;
mod link;
mod loss;
mod resumption;

use std::sync::Arc;

use crate::{
    ClientPolicy, Context, CookieKey, CookieKeys, Credential, Door, Opening, Settings, TicketKey,
    TicketKeys,
};
use forge::Identity;

/// Makes a door with a key of its own.
pub(crate) fn door() -> Door {
    let make = CookieKey::new([1; 8], &[1; 32]);
    Door::new(CookieKeys { make, also: Vec::new() })
}

/// Makes a context for `identities`, with default settings.
fn context(identities: &[&Identity]) -> Context {
    context_with(identities, ClientPolicy::None, b"a domain")
}

fn context_with(identities: &[&Identity], client: ClientPolicy, binding: &[u8]) -> Context {
    let credentials: Vec<_> =
        identities.iter().map(|one| Credential { chain: &one.chain, key: &one.key }).collect();
    let alpn = vec![b"coap".to_vec()];
    Context::new(Settings { client, alpn, binding, ..settings(&credentials) }).unwrap()
}

/// Returns default settings.
fn settings<'a>(credentials: &'a [Credential<'a>]) -> Settings<'a> {
    Settings {
        credentials,
        client: ClientPolicy::None,
        cipher_suites: &[],
        groups: &[],
        alpn: Vec::new(),
        binding: b"",
        ticket_seconds: 3600,
    }
}

fn now_unix() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

fn opening(tickets: Option<Arc<TicketKeys>>) -> Opening {
    let now = std::time::Instant::now();
    Opening { now, unix_seconds: now_unix(), tickets, path_mtu_bytes: 1500 }
}

fn ticket_key(byte: u8) -> TicketKey {
    TicketKey::new([byte; 8], zeroize::Zeroizing::new([byte; 32]))
}

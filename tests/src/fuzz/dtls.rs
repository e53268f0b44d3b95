//! Datagrams from strangers: to the door, into a session, and out of order.

#[path = "dtls/fragment.rs"]
mod fragment;
#[path = "dtls/hello.rs"]
mod hello;
#[path = "dtls/link.rs"]
mod link;
#[path = "dtls/record.rs"]
mod record;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use conclave_dtls::{
    ClientPolicy, Connector, Context, CookieKey, CookieKeys, Credential, Door, Settings,
};

pub use fragment::dtls_fragment;
pub use hello::dtls_hello;
pub use record::dtls_record;

/// A certificate for `shop.example` and its key, P-256.
const CERTIFICATE: &[u8] = include_bytes!("../../fixtures/dtls_shop.der");
const KEY: &[u8] = include_bytes!("../../fixtures/dtls_shop.pk8");

static DOOR: LazyLock<Door> = LazyLock::new(|| door(1));
/// Shows its certificate and asks for none.
static OPEN: LazyLock<Context> = LazyLock::new(|| context(ClientPolicy::None));
/// Wants a certificate, and takes any.
static ASKING: LazyLock<Context> = LazyLock::new(|| {
    let decision = Arc::new(|_: &[Vec<u8>]| Ok(()));
    context(ClientPolicy::Required { authorities: Vec::new(), decision })
});
static CONNECTOR: LazyLock<Connector> = LazyLock::new(|| {
    let chain = [CERTIFICATE.to_vec()];
    Connector::new(&[Credential { chain: &chain, key: KEY }]).unwrap()
});

fn door(secret: u8) -> Door {
    let make = CookieKey::new([1; 8], &[secret; 32]);
    Door::new(CookieKeys { make, also: Vec::new() })
}

fn context(client: ClientPolicy) -> Context {
    let chain = [CERTIFICATE.to_vec()];
    Context::new(Settings {
        credentials: &[Credential { chain: &chain, key: KEY }],
        client,
        cipher_suites: &[],
        groups: &[],
        alpn: vec![b"coap".to_vec()],
        binding: b"fuzz",
        ticket_seconds: 60,
    })
    .unwrap()
}

/// An address of documentation (RFC 5737).
fn address(last: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), 40_000))
}

/// An input as what it says, piece by piece.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    /// Two bytes of length, and as many of a datagram as there are.
    fn datagram(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?).min(self.0.len());
        let (datagram, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(datagram)
    }
}

//! Clients, and the upstream behind the servers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::measure::{Figures, many};

/// Bytes of a write of a transfer.
const CHUNK: usize = 64 * 1024;
/// Stores of sessions; more than connections at once.
const STORES: usize = 64;

/// Whether sessions are resumed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    New,
    Resumed,
}

/// Direction of a transfer, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// Clients of one server.
#[derive(Clone)]
pub(crate) struct Load {
    address: SocketAddr,
    /// Names that are asked for; none: `shop.example` alone.
    domains: Option<u64>,
    /// Several, each with sessions of its own: a store keeps few tickets for one name.
    connectors: Arc<Vec<TlsConnector>>,
    /// Handshakes that were begun.
    pub(crate) all: Arc<AtomicU64>,
    resumed: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, sessions: Sessions) -> Load {
        let mut provider = rustls::crypto::ring::default_provider();
        // As browsers do, first what is fastest on processors with AES.
        let fastest = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != fastest);
        let provider = Arc::new(provider);
        let connector = |_| {
            let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TakeAll(Arc::clone(&provider))))
                .with_no_client_auth();
            config.resumption = match sessions {
                Sessions::New => Resumption::disabled(),
                Sessions::Resumed => Resumption::in_memory_sessions(32),
            };
            TlsConnector::from(Arc::new(config))
        };
        let connectors = Arc::new((0..STORES).map(connector).collect());
        Load { address, domains: None, connectors, all: Arc::default(), resumed: Arc::default() }
    }

    /// The same, asking for `d0.example` and all that follow, each once before any twice, in an
    /// order without pattern.
    pub(crate) fn with_domains(address: SocketAddr, sessions: Sessions, count: usize) -> Load {
        Load { domains: Some(u64::try_from(count).unwrap()), ..Load::new(address, sessions) }
    }

    /// Handshakes, each with a byte there and back.
    pub(crate) async fn handshakes(&self, in_flight: usize, time: Duration) -> Figures {
        let load = self.clone();
        many(in_flight, time, move |number| {
            let load = load.clone();
            async move {
                let name = load.name(load.all.fetch_add(1, Relaxed));
                let mut tls = load.connect(1, number, name).await.unwrap();
                let kind = tls.get_ref().1.handshake_kind();
                load.resumed.fetch_add(u64::from(kind == Some(HandshakeKind::Resumed)), Relaxed);
                tls.write_all(b"x").await.unwrap();
                assert_eq!(tls.read_u8().await.unwrap(), b'x');
            }
        })
        .await
    }

    /// How many of the handshakes resumed a session.
    pub(crate) fn resumed_share(&self) -> f64 {
        self.resumed.load(Relaxed) as f64 / self.all.load(Relaxed).max(1) as f64
    }

    /// Bytes that one connection moved.
    pub(crate) async fn transfer(&self, way: Way, time: Duration) -> u64 {
        let mut tls = self.connect(1, 0, self.name(0)).await.unwrap();
        let (mut buffer, mut moved, begun) = (vec![b'u'; CHUNK], 0, Instant::now());
        if way == Way::Down {
            tls.write_all(b"d").await.unwrap();
        }
        while begun.elapsed() < time {
            moved += match way {
                Way::Up => tls.write(&buffer).await.unwrap(),
                Way::Down => tls.read(&mut buffer).await.unwrap(),
            } as u64;
        }
        moved
    }

    /// Opens connections that then do nothing; as many as the server lets stand.
    pub(crate) async fn idle(&self, count: usize) -> Vec<TlsStream<TcpStream>> {
        let mut open = Vec::new();
        for number in 0..count {
            // Several addresses: a server may bound what one of them holds.
            let last = u8::try_from(number % 4 + 1).unwrap();
            let Ok(mut tls) = self.connect(last, 0, self.name(0)).await else { return open };
            let echoed = async {
                tls.write_all(b"x").await?;
                tls.read_u8().await
            };
            if echoed.await.is_err() {
                return open;
            }
            open.push(tls);
        }
        open
    }

    async fn connect(
        &self,
        last: u8,
        number: u64,
        name: ServerName<'static>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if last != 1 {
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        }
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let connector = &self.connectors[usize::try_from(number).unwrap() % STORES];
        connector.connect(name, tcp).await
    }

    fn name(&self, number: u64) -> ServerName<'static> {
        let Some(domains) = self.domains else {
            return ServerName::try_from("shop.example").unwrap();
        };
        // A prime: neighbours come to lie far apart, and none is left out.
        let place = number.wrapping_mul(2_654_435_761) % domains;
        ServerName::try_from(format!("d{place}.example")).unwrap()
    }
}

/// The first byte says what the upstream does: `u` swallow, `d` say without end, else echo.
pub(crate) async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let first = stream.read_u8().await?;
    // Idle connections get no large buffer.
    match first {
        b'u' => {
            let mut buffer = vec![0; CHUNK];
            while stream.read(&mut buffer).await? > 0 {}
        }
        b'd' => {
            let buffer = vec![0; CHUNK];
            loop {
                stream.write_all(&buffer).await?;
            }
        }
        first => {
            stream.write_all(&[first]).await?;
            while stream.read_u8().await.is_ok() {}
        }
    }
    Ok(())
}

/// The load must not be slower than the server: it believes everything.
#[derive(Debug)]
struct TakeAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

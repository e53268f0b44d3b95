//! The DTLS engine and the programs that users have at the other end.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use conclave_dtls::{
    Answer, ClientPolicy, Context, CookieKey, CookieKeys, Credential, Door, Facts, Opening,
    Refused, Session, Settings, State, TicketKeys, is_client_hello,
};
use conclave_tests::{DatagramPeer, Identity};

/// A socket that says back what it is told, through the engine.
struct Echo {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    established: mpsc::Receiver<Facts>,
}

impl Echo {
    fn start(context: Context, path_mtu_bytes: u16) -> Echo {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (report, established) = mpsc::channel();
        let mut echo = Loop { socket, context, path_mtu_bytes, sessions: HashMap::new(), report };
        let flag = is_over.clone();
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                echo.turn();
            }
        });
        Echo { address, is_over, thread: Some(thread), established }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

struct Loop {
    socket: UdpSocket,
    context: Context,
    path_mtu_bytes: u16,
    sessions: HashMap<SocketAddr, Box<dyn Session>>,
    report: mpsc::Sender<Facts>,
}

impl Loop {
    fn turn(&mut self) {
        let now = Instant::now();
        let timers = self.sessions.values().filter_map(|session| session.next_timer());
        let wait = timers.map(|due| due.saturating_duration_since(now)).min();
        let wait = wait
            .unwrap_or(Duration::MAX)
            .clamp(Duration::from_millis(1), Duration::from_millis(100));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 65_536];
        if let Ok((count, client)) = self.socket.recv_from(&mut buffer) {
            self.datagram(client, &buffer[..count]);
        }
        let due: Vec<_> = self.sessions.keys().copied().collect();
        for client in due {
            self.sessions.get_mut(&client).unwrap().timer(Instant::now());
            self.flush(client);
        }
    }

    fn datagram(&mut self, client: SocketAddr, datagram: &[u8]) {
        if !is_client_hello(datagram) {
            if let Some(session) = self.sessions.get_mut(&client) {
                let was_new = *session.state() == State::Handshaking;
                session.datagram(Instant::now(), datagram);
                if let (true, Some(facts)) = (was_new, session.facts()) {
                    self.report.send(facts.clone()).unwrap();
                }
            }
            return self.flush(client);
        }
        let make = CookieKey::new([1; 8], &[1; 32]);
        match Door::new(CookieKeys { make, also: Vec::new() }).answer(client, datagram) {
            Answer::Verify(reply) => drop(self.socket.send_to(&reply, client)),
            Answer::Proven(hello) => {
                let known = self.sessions.get(&client);
                if known.is_none_or(|session| !session.began_with(&hello)) {
                    let (now, tickets) = (Instant::now(), None::<Arc<TicketKeys>>);
                    let path_mtu_bytes = self.path_mtu_bytes;
                    let opening = Opening { now, unix_seconds: 0, tickets, path_mtu_bytes };
                    self.sessions.insert(client, self.context.accept(&hello, opening).unwrap());
                }
                self.flush(client);
            }
            _ => {}
        }
    }

    fn flush(&mut self, client: SocketAddr) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        while let Some(plaintext) = session.next_plaintext() {
            session.send(&plaintext).unwrap();
        }
        while let Some(datagram) = session.next_datagram() {
            // A client that has gone away is no failure of this test.
            let _ = self.socket.send_to(&datagram, client);
        }
    }
}

fn context(shop: &Identity, client: ClientPolicy) -> Context {
    let chain = [shop.der.clone()];
    let settings = Settings {
        credentials: &[Credential { chain: &chain, key: &shop.key_der }],
        client,
        cipher_suites: &[],
        groups: &[],
        alpn: Vec::new(),
        binding: b"echo",
        ticket_seconds: 60,
    };
    Context::new(settings).unwrap()
}

fn check(peer: DatagramPeer) {
    if !peer.is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (key, cipher) in [
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..], "TLS_ECDHE_ECDSA"),
        (&["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "TLS_ECDHE_ECDSA"),
        (&["rsa:2048"], "TLS_ECDHE_RSA"),
        (&["rsa:4096"], "TLS_ECDHE_RSA"),
    ] {
        let shop = Identity::make(dir.path(), "shop.example", key);
        let echo = Echo::start(context(&shop, ClientPolicy::None), 1500);
        assert!(peer.echoes(echo.address, &shop.certificate, None), "{peer:?} {key:?}");
        let facts = echo.established.recv().unwrap();
        assert!(facts.cipher.starts_with(cipher), "{facts:?}");
        assert_eq!(facts.server_name.as_deref(), Some("shop.example"));
    }
    let ec = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let shop = Identity::make(dir.path(), "shop.example", &ec);
    let friend = Identity::make(dir.path(), "friend", &ec);
    let stranger = Identity::make(dir.path(), "stranger", &ec);
    let wanted = friend.der.clone();
    let stranger_here = || Refused { reason: "stranger", detail: "a stranger".to_owned() };
    let decision = Arc::new(
        move |chain: &[Vec<u8>]| {
            if chain[0] == wanted { Ok(()) } else { Err(stranger_here()) }
        },
    );
    let policy = ClientPolicy::Required { authorities: Vec::new(), decision };
    let echo = Echo::start(context(&shop, policy), 576);
    assert!(peer.echoes(echo.address, &shop.certificate, Some(friend.files())));
    assert_eq!(echo.established.recv().unwrap().peer_chain, [friend.der]);
    assert!(!peer.echoes(echo.address, &shop.certificate, Some(stranger.files())));
    assert!(!peer.echoes(echo.address, &shop.certificate, None));
    assert!(echo.established.try_recv().is_err(), "no others came in");
}

#[test]
fn openssl_s_client_gets_its_echo() {
    check(DatagramPeer::OpenSsl);
}

#[test]
fn gnutls_cli_gets_its_echo() {
    check(DatagramPeer::GnuTls);
}

fn check_large_chain(peer: DatagramPeer) {
    if !peer.is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ec = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let names: String = (0..250).map(|number| format!(",DNS:{number:048}.shop.example")).collect();
    let shop = Identity::make_with(dir.path(), "shop.example", &ec, &names);
    assert!((15_500..16_300).contains(&shop.der.len()), "{}", shop.der.len());
    for path_mtu_bytes in [576, 1200, 1500] {
        let echo = Echo::start(context(&shop, ClientPolicy::None), path_mtu_bytes);
        assert!(peer.echoes(echo.address, &shop.certificate, None), "{peer:?} {path_mtu_bytes}");
    }
}

#[test]
fn openssl_s_client_is_shown_a_chain_of_16_kib() {
    check_large_chain(DatagramPeer::OpenSsl);
}

#[test]
fn gnutls_cli_is_shown_a_chain_of_16_kib() {
    check_large_chain(DatagramPeer::GnuTls);
}

#[test]
fn mbedtls_gets_its_echo() {
    check(DatagramPeer::MbedTls);
}

#[test]
fn mbedtls_is_shown_a_chain_of_16_kib() {
    check_large_chain(DatagramPeer::MbedTls);
}

//! The DTLS engine and the programs that users have at the other end.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::{Command, Stdio},
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
use conclave_tests::{DEADLINE, has_program, openssl};

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

/// A self-signed certificate and its key, made by OpenSSL's program.
struct Identity {
    certificate: String,
    key: String,
    der: Vec<u8>,
    key_der: Vec<u8>,
}

impl Identity {
    fn make(dir: &Path, name: &str, key: &[&str]) -> Identity {
        Identity::make_with(dir, name, key, "")
    }

    fn make_with(dir: &Path, name: &str, key: &[&str], more_names: &str) -> Identity {
        let path = |end: &str| dir.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
        let (certificate, pem, der, key_der) =
            (path("crt"), path("key"), path("crt.der"), path("key.der"));
        let subject = format!("/CN={name}");
        let names = format!("subjectAltName=DNS:{name}{more_names}");
        let fixed = ["-nodes", "-days", "9", "-subj", &subject, "-addext", &names];
        let files = ["-keyout", &pem, "-out", &certificate];
        openssl(&[&["req", "-x509", "-newkey"], key, &fixed, &files].concat());
        openssl(&["x509", "-in", &certificate, "-outform", "DER", "-out", &der]);
        openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", &pem, "-outform", "DER", "-out", &key_der]);
        let (der, key_der) = (std::fs::read(der).unwrap(), std::fs::read(key_der).unwrap());
        Identity { certificate, key: pem, der, key_der }
    }

    fn context(&self, client: ClientPolicy) -> Context {
        let chain = [self.der.clone()];
        let settings = Settings {
            credentials: &[Credential { chain: &chain, key: &self.key_der }],
            client,
            cipher_suites: &[],
            groups: &[],
            alpn: Vec::new(),
            binding: b"echo",
            ticket_seconds: 60,
        };
        Context::new(settings).unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
enum Peer {
    OpenSsl,
    GnuTls,
    MbedTls,
}

/// Sends a line to a DTLS server and prints the answer; by the package `python-mbedtls`.
const MBEDTLS: &str = r#"
import socket, sys
from mbedtls import pk, tls, x509
port, root, own = int(sys.argv[1]), sys.argv[2], None
trust = tls.TrustStore()
trust.add(x509.CRT.from_file(root))
if len(sys.argv) > 3:
    own = ((x509.CRT.from_file(sys.argv[3]),), pk.ECC.from_PEM(open(sys.argv[4]).read()))
wishes = tls.DTLSConfiguration(trust_store=trust, certificate_chain=own)
plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
plain.settimeout(20)
sealed = tls.ClientContext(wishes).wrap_socket(plain, server_hostname="shop.example")
sealed.connect(("127.0.0.1", port))
sealed.do_handshake()
sealed.send(sys.stdin.buffer.readline())
print(sealed.recv(1000).decode(), flush=True)
"#;

/// A Python that knows `mbedtls`: the environment names it, or it is the usual one.
fn python() -> String {
    std::env::var("CONCLAVE_MBEDTLS_PYTHON").unwrap_or("python3".into())
}

impl Peer {
    fn program(self) -> String {
        match self {
            Peer::OpenSsl => "openssl".into(),
            Peer::GnuTls => "gnutls-cli".into(),
            Peer::MbedTls => python(),
        }
    }

    fn is_there(self) -> bool {
        if !has_program("openssl") || !has_program(&self.program()) {
            return false;
        }
        let asked = || Command::new(python()).args(["-c", "import mbedtls"]).output().unwrap();
        let is_there = !matches!(self, Peer::MbedTls) || asked().status.success();
        if !is_there {
            assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "no python-mbedtls");
            println!("SKIPPED: python-mbedtls is not installed");
        }
        is_there
    }

    fn command(self, address: SocketAddr, shop: &Identity, client: Option<&Identity>) -> Command {
        let (port, address) = (address.port().to_string(), address.to_string());
        let mut command = Command::new(self.program());
        match self {
            Peer::OpenSsl => {
                command.args(["s_client", "-dtls1_2", "-connect", &address, "-quiet"]);
                command.args(["-servername", "shop.example", "-verify_return_error"]);
                command.args(["-CAfile", &shop.certificate]);
                if let Some(client) = client {
                    command.args(["-cert", &client.certificate, "-key", &client.key]);
                }
            }
            Peer::GnuTls => {
                command.args(["--udp", "--port", &port, "--sni-hostname", "shop.example"]);
                command.args(["--verify-hostname", "shop.example", "127.0.0.1"]);
                command.args(["--x509cafile", &shop.certificate]);
                if let Some(client) = client {
                    command.args(["--x509certfile", &client.certificate]);
                    command.args(["--x509keyfile", &client.key]);
                }
            }
            Peer::MbedTls => {
                command.args(["-c", MBEDTLS, &port, &shop.certificate]);
                if let Some(client) = client {
                    command.args([&client.certificate, &client.key]);
                }
            }
        }
        command
    }

    /// Whether the program gets an echo.
    fn echoes(self, address: SocketAddr, shop: &Identity, client: Option<&Identity>) -> bool {
        let mut command = self.command(address, shop, client);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = pipes.spawn().unwrap();
        let (begin, mut stdin) = (Instant::now(), child.stdin.take().unwrap());
        stdin.write_all(b"are you there\n").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| drop(said.send(line)));
        });
        let mut is_echoed = false;
        while let Ok(line) = lines.recv_timeout(DEADLINE.saturating_sub(begin.elapsed())) {
            if line.contains("are you there") {
                is_echoed = true;
                break;
            }
        }
        drop(stdin);
        let _ = child.kill();
        child.wait().unwrap();
        reader.join().unwrap();
        is_echoed
    }
}

fn check(peer: Peer) {
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
        let echo = Echo::start(shop.context(ClientPolicy::None), 1500);
        assert!(peer.echoes(echo.address, &shop, None), "{peer:?} {key:?}");
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
    let echo = Echo::start(shop.context(policy), 576);
    assert!(peer.echoes(echo.address, &shop, Some(&friend)));
    assert_eq!(echo.established.recv().unwrap().peer_chain, [friend.der]);
    assert!(!peer.echoes(echo.address, &shop, Some(&stranger)));
    assert!(!peer.echoes(echo.address, &shop, None));
    assert!(echo.established.try_recv().is_err(), "no others came in");
}

#[test]
fn openssl_s_client_gets_its_echo() {
    check(Peer::OpenSsl);
}

#[test]
fn gnutls_cli_gets_its_echo() {
    check(Peer::GnuTls);
}

fn check_large_chain(peer: Peer) {
    if !peer.is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ec = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let names: String = (0..250).map(|number| format!(",DNS:{number:048}.shop.example")).collect();
    let shop = Identity::make_with(dir.path(), "shop.example", &ec, &names);
    assert!((15_500..16_300).contains(&shop.der.len()), "{}", shop.der.len());
    for path_mtu_bytes in [576, 1200, 1500] {
        let echo = Echo::start(shop.context(ClientPolicy::None), path_mtu_bytes);
        assert!(peer.echoes(echo.address, &shop, None), "{peer:?} {path_mtu_bytes}");
    }
}

#[test]
fn openssl_s_client_is_shown_a_chain_of_16_kib() {
    check_large_chain(Peer::OpenSsl);
}

#[test]
fn gnutls_cli_is_shown_a_chain_of_16_kib() {
    check_large_chain(Peer::GnuTls);
}

#[test]
fn mbedtls_gets_its_echo() {
    check(Peer::MbedTls);
}

#[test]
fn mbedtls_is_shown_a_chain_of_16_kib() {
    check_large_chain(Peer::MbedTls);
}

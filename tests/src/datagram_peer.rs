//! Programs that speak DTLS, and certificates for them.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    time::Instant,
};

use crate::{DEADLINE, has_program, openssl};

/// A self-signed certificate and its key, made by OpenSSL's program.
pub struct Identity {
    /// Certificate, PEM file.
    pub certificate: String,
    /// Private key, PEM file.
    pub key: String,
    /// Certificate, DER.
    pub der: Vec<u8>,
    /// Private key, PKCS#8 DER.
    pub key_der: Vec<u8>,
}

impl Identity {
    /// A new one for `name`; `key` are OpenSSL's words for its kind.
    pub fn make(dir: &Path, name: &str, key: &[&str]) -> Identity {
        Identity::make_with(dir, name, key, "")
    }

    /// The same with more subject alternative names, as `,DNS:other.example`.
    pub fn make_with(dir: &Path, name: &str, key: &[&str], more_names: &str) -> Identity {
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
}

impl Identity {
    /// Certificate and key, as programs want them.
    pub fn files(&self) -> (&str, &str) {
        (&self.certificate, &self.key)
    }
}

/// A program with a client for DTLS.
#[derive(Clone, Copy, Debug)]
pub enum DatagramPeer {
    /// `openssl s_client`.
    OpenSsl,
    /// `gnutls-cli`.
    GnuTls,
    /// Python with `mbedtls`.
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

impl DatagramPeer {
    fn program(self) -> String {
        match self {
            DatagramPeer::OpenSsl => "openssl".into(),
            DatagramPeer::GnuTls => "gnutls-cli".into(),
            DatagramPeer::MbedTls => python(),
        }
    }

    /// Whether it is installed; with CONCLAVE_TEST_ALL a missing one is a failure.
    pub fn is_there(self) -> bool {
        if !has_program("openssl") || !has_program(&self.program()) {
            return false;
        }
        let asked = || Command::new(python()).args(["-c", "import mbedtls"]).output().unwrap();
        let is_there = !matches!(self, DatagramPeer::MbedTls) || asked().status.success();
        if !is_there {
            assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "no python-mbedtls");
            println!("SKIPPED: python-mbedtls is not installed");
        }
        is_there
    }

    fn command(self, address: SocketAddr, root: &str, client: Option<(&str, &str)>) -> Command {
        let (port, address) = (address.port().to_string(), address.to_string());
        let mut command = Command::new(self.program());
        match self {
            DatagramPeer::OpenSsl => {
                command.args(["s_client", "-dtls1_2", "-connect", &address, "-quiet"]);
                command.args(["-servername", "shop.example", "-verify_return_error"]);
                command.args(["-CAfile", root]);
                if let Some((certificate, key)) = client {
                    command.args(["-cert", certificate, "-key", key]);
                }
            }
            DatagramPeer::GnuTls => {
                command.args(["--udp", "--port", &port, "--sni-hostname", "shop.example"]);
                command.args(["--verify-hostname", "shop.example", "127.0.0.1"]);
                command.args(["--x509cafile", root]);
                if let Some((certificate, key)) = client {
                    command.args(["--x509certfile", certificate]);
                    command.args(["--x509keyfile", key]);
                }
            }
            DatagramPeer::MbedTls => {
                command.args(["-c", MBEDTLS, &port, root]);
                if let Some((certificate, key)) = client {
                    command.args([certificate, key]);
                }
            }
        }
        command
    }

    /// Whether the program finds a server for `shop.example` with this root, and gets an echo.
    pub fn echoes(self, address: SocketAddr, root: &str, client: Option<(&str, &str)>) -> bool {
        let mut command = self.command(address, root, client);
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

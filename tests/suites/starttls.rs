//! Protocols whose own command starts TLS: servers from Debian with TLS off behind a node, and
//! the programs that people use with them in front.

mod outgoing;
mod peers;
mod probe;
pub(crate) mod servers;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use conclave_tests::{Cluster, Node, wait_for};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A node that serves shop.example, and what its clients trust.
struct Proxy {
    cluster: Cluster,
    ca: String,
}

impl Proxy {
    /// The certificate is for the address too, for clients that must resolve the name.
    fn start() -> Proxy {
        let cluster = Cluster::start(1);
        let one = &cluster.nodes[0];
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, "Test Authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["shop.example".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let ca = one.file("ca.pem", root.pem().as_bytes());
        let bundle = one.file("c.pem", format!("{}{}", leaf.pem(), root.pem()).as_bytes());
        let key = one.file("k.pem", key.serialize_pem().as_bytes());
        let names = ["--ip", "127.0.0.1"];
        one.run(&[&["domain", "create", "shop.example", "--pki", "enabled"], &names[..]].concat())
            .ok();
        one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
        Proxy { cluster, ca }
    }

    fn node(&self) -> &Node {
        &self.cluster.nodes[0]
    }

    /// Opens a listener before `upstream`.
    fn listen(&self, protocol: &str, upstream: &str, more: &[&str]) -> SocketAddr {
        let port = self.cluster.free_port();
        let (bind, name) = (format!("127.0.0.1:{port}"), format!("{protocol}-{port}"));
        let add = ["listener", "add", &name, "--protocol", protocol, "--bind", &bind];
        self.node().run(&[&add[..], &["--upstream", upstream], more].concat()).ok();
        self.node().listener(port)
    }

    /// One that allows nothing but TLS, and one that allows both.
    fn both(&self, protocol: &str, upstream: SocketAddr) -> (SocketAddr, SocketAddr) {
        let upstream = upstream.to_string();
        let required = self.listen(protocol, &upstream, &["--require-tls"]);
        (required, self.listen(protocol, &upstream, &[]))
    }

    /// What `openssl s_client` says when it has said `said` under TLS; it verifies the server.
    fn s_client(&self, protocol: &str, address: SocketAddr, said: &str) -> String {
        let address = address.to_string();
        let words = ["s_client", "-starttls", protocol, "-connect", &address, "-CAfile", &self.ca];
        let verify = ["-verify_return_error", "-verify_hostname", "shop.example"];
        let more = ["-servername", "shop.example", "-name", "shop.example", "-ign_eof", "-quiet"];
        let ran = run("openssl", &[&words[..], &verify, &more].concat(), said);
        assert_eq!(ran.code, 0, "{}", ran.said);
        ran.out
    }

    /// The same by `gnutls-cli`, which says nothing under TLS.
    fn gnutls(&self, protocol: &str, address: SocketAddr) {
        if !conclave_tests::has_program("gnutls-cli") {
            return;
        }
        let (port, proto) = (address.port().to_string(), format!("--starttls-proto={protocol}"));
        let file = format!("--x509cafile={}", self.ca);
        let names = ["--verify-hostname=shop.example", "--sni-hostname=shop.example"];
        let words = [&proto, &file, names[0], names[1], "-p", &port, "127.0.0.1"];
        let ran = run("gnutls-cli", &words, "");
        assert!(ran.said.contains("Handshake was completed"), "{}", ran.said);
        assert!(ran.said.contains("The certificate is trusted"), "{}", ran.said);
    }

    /// What came back when `said` was said in one write; then the connection has ended.
    fn inject(&self, address: SocketAddr, greeted: bool, said: &[u8]) -> Vec<u8> {
        let count = || self.node().log().matches("starttls.injected").count();
        let before = count();
        let mut stream = connect(address);
        if greeted {
            let mut greeting = [0; 1];
            stream.read_exact(&mut greeting).unwrap();
        }
        stream.write_all(said).unwrap();
        let mut answer = Vec::new();
        // A reset may cut the end off: what was not read is thrown away.
        let _ = stream.read_to_end(&mut answer);
        wait_for("one line in the log", || (count() == before + 1).then_some(()));
        answer
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// What a clear conversation gives: says all, and reads to the end.
fn clear(address: SocketAddr, said: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(said).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

struct Done {
    code: i32,
    out: String,
    /// Output and errors.
    said: String,
}

/// Runs a client for at most 30 s.
fn run(program: &str, words: &[&str], said: &str) -> Done {
    let mut child = Command::new("timeout")
        .args(["30", program])
        .args(words)
        .env("LDAPTLS_REQCERT", "demand")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that has ended already takes nothing.
    let _ = child.stdin.take().unwrap().write_all(said.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Done { code: output.status.code().unwrap_or(-1), said: format!("{out}{err}"), out }
}

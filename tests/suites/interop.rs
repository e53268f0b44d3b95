//! What other programs make of a node: OpenSSL, curl, GnuTLS, NSS, Chromium.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::mpsc::RecvTimeoutError,
};

use conclave_tests::{
    Authority, Cluster, DEADLINE, Node, authority, has_program, openssl, probe, wait_for,
};
use openssl::ssl::{SslConnector, SslMethod};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SerialNumber, date_time_ymd};

/// A program at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    OpenSsl,
    Curl,
    GnuTls,
    Nss,
}

impl Peer {
    const ALL: [(Peer, &str); 4] = [
        (Peer::OpenSsl, "openssl"),
        (Peer::Curl, "curl"),
        (Peer::GnuTls, "gnutls-cli"),
        (Peer::Nss, "tstclnt"),
    ];
}

/// Where a peer connects to, and as whom.
struct Visit<'a> {
    node: &'a Node,
    address: SocketAddr,
    name: &'a str,
    /// File of the root it trusts.
    root: &'a str,
    version: &'a str,
    /// Files of its certificate and key.
    identity: Option<(&'a str, &'a str)>,
}

impl Visit<'_> {
    fn by(&self, peer: Peer) -> Command {
        match peer {
            Peer::OpenSsl => self.openssl(),
            Peer::Curl => self.curl(),
            Peer::GnuTls => self.gnutls(),
            Peer::Nss => self.nss(),
        }
    }

    fn openssl(&self) -> Command {
        let mut command = Command::new("openssl");
        let version = if self.version == "1.2" { "-tls1_2" } else { "-tls1_3" };
        let to = self.address.to_string();
        command.args(["s_client", "-connect", &to, "-servername", self.name, version]);
        command.args(["-CAfile", self.root, "-verify_return_error", "-verify_hostname", self.name]);
        // Reads until the answer has ended: TLS 1.3 tells of a wrong certificate only then.
        command.arg("-quiet");
        if let Some((certificate, key)) = self.identity {
            command.args(["-cert", certificate, "-key", key]);
        }
        command
    }

    fn curl(&self) -> Command {
        let mut command = Command::new("curl");
        let resolve = format!("{}:{}:{}", self.name, self.address.port(), self.address.ip());
        let url = format!("https://{}:{}/", self.name, self.address.port());
        command.args(["-sS", "--cacert", self.root, "--resolve", &resolve, &url]);
        command.arg(format!("--tlsv{}", self.version)).args(["--tls-max", self.version]);
        if let Some((certificate, key)) = self.identity {
            command.args(["--cert", certificate, "--key", key]);
        }
        command
    }

    fn gnutls(&self) -> Command {
        let mut command = Command::new("gnutls-cli");
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{}", self.version);
        let port = self.address.port().to_string();
        command.args(["--x509cafile", self.root, "--priority", &priority, "-p", &port]);
        command.args(["--sni-hostname", self.name, "--verify-hostname", self.name]);
        if let Some((certificate, key)) = self.identity {
            command.args(["--x509certfile", certificate, "--x509keyfile", key]);
        }
        command.arg(self.address.ip().to_string());
        command
    }

    fn nss(&self) -> Command {
        let database = nss_database(self.node, self.root, self.identity);
        let mut command = Command::new("tstclnt");
        let (ip, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let range = format!("tls{0}:tls{0}", self.version);
        command.args(["-d", &database, "-h", &ip, "-p", &port, "-a", self.name, "-V", &range]);
        if self.identity.is_some() {
            command.args(["-n", "client"]);
        }
        command
    }

    /// Whether the peer gets the page of the upstream before it gives up. Its input stays open
    /// until then: some end with it, others spin.
    fn gets_page(&self, peer: Peer) -> bool {
        let mut command = self.by(peer);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // A peer that is refused may be gone before it has read this.
        let _ = input.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let mut output = child.stdout.take().unwrap();
        let (sender, parts) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut shown = Vec::new();
        let gets = loop {
            match parts.recv_timeout(DEADLINE) {
                Ok(part) => shown.extend(part),
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => panic!("{peer:?} neither ends nor gets it"),
            }
            if String::from_utf8_lossy(&shown).contains(PAGE) {
                break true;
            }
        };
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        if !gets {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            println!("{peer:?} {} {}: {text}", self.name, self.version);
        }
        gets
    }
}

/// A database of NSS that trusts the root and holds the client's certificate and key as `client`;
/// made once for each of them.
fn nss_database(node: &Node, root: &str, identity: Option<(&str, &str)>) -> String {
    let dir = match identity {
        None => node.dir.join("home/.pki/nssdb"),
        Some((certificate, _)) => format!("{certificate}.nssdb").into(),
    };
    let database = format!("sql:{}", dir.display());
    if !dir.exists() {
        std::fs::create_dir_all(&dir).unwrap();
        let run = |words: &[&str]| {
            let made = Command::new("certutil").args(words).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        run(&["-N", "-d", &database, "--empty-password"]);
        run(&["-A", "-d", &database, "-n", "root", "-t", "C,,", "-i", root]);
        if let Some((certificate, key)) = identity {
            let file = format!("{certificate}.p12");
            let to = ["-out", &file, "-name", "client", "-passout", "pass:x"];
            openssl(&[&["pkcs12", "-export", "-in", certificate, "-inkey", key], &to[..]].concat());
            let words = ["-i", &file, "-d", &database, "-W", "x", "-K", ""];
            let taken = Command::new("pk12util").args(words).output().unwrap();
            assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        }
    }
    database
}

const PAGE: &str = "the page of the upstream";

/// An upstream that answers every request with one page.
fn page_upstream() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let length = PAGE.len();
                let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{PAGE}");
                let _ = (&stream).write_all(head.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

fn listen(cluster: &Cluster) -> SocketAddr {
    let (port, one) = (cluster.free_port(), &cluster.nodes[0]);
    let (bind, upstream) = (format!(":{port}"), page_upstream().to_string());
    one.run(&["listener", "add", "https", "--bind", &bind, "--upstream", &upstream]).ok();
    one.listener(port)
}

/// A domain with a certificate by `authority`, whose own comes as its chain. It is valid for 90
/// days, as browsers and scanners like it.
fn add_domain(node: &Node, name: &str, key: KeyPair, authority: &Authority) {
    node.run(&["domain", "create", name, "--pki", "enabled"]).ok();
    let day = |days: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let then = then.to_string();
        let [year, month, day] = [&then[..4], &then[5..7], &then[8..10]];
        date_time_ymd(year.parse().unwrap(), month.parse().unwrap(), day.parse().unwrap())
    };
    let issued = authority.issue(key, |params| {
        params.subject_alt_names.push(rcgen::SanType::DnsName(name.try_into().unwrap()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (day(-1), day(89));
    });
    let bundle = format!("{}{}", issued.certificate, authority.certificate.pem());
    let (bundle, key) =
        (node.file("bundle.pem", bundle.as_bytes()), node.file("key.pem", issued.key.as_bytes()));
    node.run(&["cert", "import", name, &bundle, "--key", &key]).ok();
}

/// Keys of each kind, by the name of their domain.
fn kinds(node: &Node) -> Vec<(&'static str, KeyPair)> {
    let rsa = node.file("rsa.pem", b"");
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &rsa]);
    let rsa = KeyPair::from_pem(&std::fs::read_to_string(&rsa).unwrap()).unwrap();
    let make = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    vec![
        ("p256.example", make(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("p384.example", make(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("ed25519.example", make(&rcgen::PKCS_ED25519)),
        ("rsa.example", rsa),
    ]
}

#[test]
fn other_programs_agree_on_every_version_and_kind_of_key() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::with_level(1, "debug");
    cluster.found();
    let (one, address) = (&cluster.nodes[0], listen(&cluster));
    let root = authority("Interop Root", None);
    let between = authority("Interop Intermediate", Some(&root));
    let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
    let kinds = kinds(one);
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    for (name, key) in kinds {
        add_domain(one, name, key, &between);
    }
    for (peer, program) in Peer::ALL {
        if !has_program(program) {
            continue;
        }
        for name in &names {
            // NSS has no Ed25519 for TLS (bug 1325335).
            if peer == Peer::Nss && *name == "ed25519.example" {
                continue;
            }
            for version in ["1.2", "1.3"] {
                let visit =
                    Visit { node: one, address, name, root: &root_file, version, identity: None };
                assert!(visit.gets_page(peer), "{peer:?} {name} TLS {version}");
            }
        }
    }
    // Without a name everybody gets the Main Domain, which nobody trusts.
    let shown = probe(address, "-").unwrap();
    assert_eq!(shown.chain.len(), 2, "the test certificate and its authority");
    chromium(one, address, &root_file, &names);
}

/// Chromium loads the page of each domain, over the group against quantum computers. It knows no
/// Ed25519 for TLS (no signature scheme of its hello is one): then it gets no page, and the log
/// says why.
fn chromium(node: &Node, address: SocketAddr, root: &str, names: &[&str]) {
    if !has_program("chromium") || !has_program("certutil") {
        return;
    }
    nss_database(node, root, None);
    for name in names {
        let before = node.log().len();
        let output = Command::new("chromium")
            .env("HOME", node.dir.join("home"))
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", node.dir.join("home/chromium").display()))
            .arg(format!("--host-resolver-rules=MAP {name} {}", address.ip()))
            .arg("--dump-dom")
            .arg(format!("https://{name}:{}/", address.port()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_known = *name != "ed25519.example";
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.contains(PAGE), is_known, "{name}: {text}{errors}");
        let expected =
            if is_known { "group=\"X25519MLKEM768\"" } else { "reason=\"nothing_in_common\"" };
        wait_for(&format!("{expected} in the log"), || {
            let log = node.log();
            let mut lines = log.get(before..)?.lines();
            lines.any(|line| line.contains(name) && line.contains(expected)).then_some(())
        });
    }
}

/// OpenSSL 3.6 is not in Debian; here it is the one of the DTLS engine, in this process.
#[test]
fn openssl_of_today_agrees_on_the_group_against_quantum_computers() {
    let number = openssl::version::number();
    assert!(number >= 0x3050_0000, "{}: no ML-KEM before 3.5", openssl::version::version());
    let cluster = Cluster::with_level(1, "debug");
    cluster.found();
    let (one, address) = (&cluster.nodes[0], listen(&cluster));
    let root = authority("Interop Root", None);
    let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
    let name = "p256.example";
    add_domain(one, name, KeyPair::generate().unwrap(), &root);
    let page = |groups: &str| -> Option<String> {
        let mut client = SslConnector::builder(SslMethod::tls_client()).unwrap();
        client.set_ca_file(&root_file).unwrap();
        client.set_groups_list(groups).unwrap();
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut stream = client.build().connect(name, tcp).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        Some(text)
    };
    let agreed = |group: &str| one.log().matches(&format!("group=\"{group}\"")).count();
    // The node proves each change by a handshake of its own, which is in no log.
    assert_eq!(agreed("X25519MLKEM768"), 0);
    assert!(page("X25519MLKEM768").unwrap().contains(PAGE));
    wait_for("the group in the log", || (agreed("X25519MLKEM768") == 1).then_some(()));
    assert!(page("X25519").unwrap().contains(PAGE));
    wait_for("the group in the log", || (agreed("x25519") == 1).then_some(()));
    // Offered first, it is taken, whatever else there is.
    assert!(page("X25519MLKEM768:X25519:P-256").unwrap().contains(PAGE));
    wait_for("the group in the log", || (agreed("X25519MLKEM768") == 2).then_some(()));
    one.run(&["tls", "set", "--groups", "x25519"]).ok();
    assert_eq!(page("X25519MLKEM768"), None, "it is that group or none");
    assert!(page("X25519MLKEM768:X25519").unwrap().contains(PAGE));
}

/// Everything that testssl.sh looks for but DNS, and the headers of the upstream's HTTP.
#[test]
fn testssl_finds_nothing_above_low() {
    if !has_program("testssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let (one, address) = (&cluster.nodes[0], listen(&cluster));
    let root = authority("Interop Root", None);
    let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
    add_domain(one, "p256.example", KeyPair::generate().unwrap(), &root);
    let report = one.dir.join("testssl.json");
    let run = Command::new("testssl")
        .args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "min"])
        .args(["--protocols", "--std", "--pfs", "--server-preference", "--server-defaults"])
        .args(["--vulnerable", "--severity", "LOW", "--add-ca", &root_file])
        .args(["--ip", &address.ip().to_string(), "--jsonfile", report.to_str().unwrap()])
        .arg(format!("p256.example:{}", address.port()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = std::fs::read(&report).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&run.stdout));
    });
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    let is_wrong = |one: &&serde_json::Value| {
        let is_above_low = matches!(one["severity"].as_str(), Some("MEDIUM" | "HIGH" | "CRITICAL"));
        // A private authority of a test has no place for revocation lists.
        is_above_low && one["id"] != "cert_revocation"
    };
    let wrong: Vec<_> = findings.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // It has looked: an authority that is not named by OCSP or lists is always found.
    assert!(findings.iter().any(|one| one["id"] == "cert_revocation"), "{findings:#?}");
}

#[test]
fn other_programs_show_their_certificates() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let (one, address) = (&cluster.nodes[0], listen(&cluster));
    let root = authority("Client Root", None);
    let stranger = authority("Stranger", None);
    let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
    let name = "mtls.example";
    add_domain(one, name, KeyPair::generate().unwrap(), &root);
    let scope = format!("domain:{name}");
    let crl = one.file("crl.pem", root.revoke(7).as_bytes());
    one.run(&["trust", "add", &root_file, "--scope", &scope]).ok();
    one.run(&["trust", "add", &crl, "--scope", &scope]).ok();
    let issuer = openssl(&["x509", "-in", &root_file, "-noout", "-fingerprint", "-sha256"]);
    let issuer = issuer.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    let identities = [
        ("fine", Some(root.client("alice", |_| {}))),
        (
            "expired",
            Some(root.client("old", |params| params.not_after = date_time_ymd(2026, 1, 2))),
        ),
        ("stranger", Some(stranger.client("mallory", |_| {}))),
        (
            "server",
            Some(root.client("server", |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })),
        ),
        (
            "revoked",
            Some(root.client("eve", |params| params.serial_number = Some(SerialNumber::from(7)))),
        ),
        ("none", None),
    ];
    let files: Vec<_> = identities
        .iter()
        .map(|(what, issued)| {
            let files = issued.as_ref().map(|issued| {
                let certificate = one.file(&format!("{what}.pem"), issued.certificate.as_bytes());
                (certificate, one.file(&format!("{what}.key"), issued.key.as_bytes()))
            });
            (*what, files)
        })
        .collect();
    // Required; optional, where a wrong one ends the handshake; optional, where it is ignored.
    for (is_required, aborts) in [(true, true), (false, true), (false, false)] {
        let required: &[&str] = if is_required { &["--required"] } else { &[] };
        one.run(&[&["client-auth", "set", name, "--issuer", &issuer], required].concat()).ok();
        let switch = if aborts { "on" } else { "off" };
        one.run(&["tls", "set", "--abort-on-wrong-client-certificate", switch]).ok();
        for (peer, program) in Peer::ALL {
            if !has_program(program) {
                continue;
            }
            for (what, files) in &files {
                for version in ["1.2", "1.3"] {
                    let identity = files.as_ref().map(|(one, two)| (one.as_str(), two.as_str()));
                    let visit =
                        Visit { node: one, address, name, root: &root_file, version, identity };
                    let expected = match *what {
                        "fine" => true,
                        "none" => !is_required,
                        // NSS keeps a certificate to itself that is not for clients.
                        "server" if peer == Peer::Nss => !is_required,
                        _ => !is_required && !aborts,
                    };
                    let about = format!("{peer:?} {what} TLS {version} {is_required} {aborts}");
                    assert_eq!(visit.gets_page(peer), expected, "{about}");
                }
            }
        }
    }
    let log = one.log();
    for reason in ["expired", "issuer", "purpose", "revoked", "missing"] {
        assert!(log.contains(&format!("reason=\"client_certificate_{reason}\"")), "{reason}");
    }
}

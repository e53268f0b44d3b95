//! Programs that users have, against a listener for DTLS: keys, chains, client certificates,
//! sessions.

use std::{net::SocketAddr, path::Path, process::Stdio};

use conclave_tests::{
    Authority, Cluster, DatagramPeer, Identity, Node, authority, echo_datagrams, has_program,
    openssl, wait_for,
};
use rcgen::{ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};

const NAME: &str = "shop.example";

const PEERS: [DatagramPeer; 3] =
    [DatagramPeer::OpenSsl, DatagramPeer::GnuTls, DatagramPeer::MbedTls];

/// Opens a listener for DTLS on every node, with an echo behind it; gives its port.
fn listen(cluster: &Cluster) -> u16 {
    let (port, upstream) = (cluster.free_port(), echo_datagrams());
    let (bind, upstream) = (format!(":{port}"), format!("udp:{upstream}"));
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    cluster.nodes[0].run(&[&words[..], &["--upstream", &upstream]].concat()).ok();
    port
}

fn import(node: &Node, identity: &Identity) {
    let words = ["cert", "import", NAME, &identity.certificate, "--key", &identity.key, "--yes"];
    node.run(&words).ok();
}

#[test]
fn every_program_reaches_every_kind_of_key_and_a_chain_of_16_kib() {
    let cluster = Cluster::start(1);
    let (one, address) = (&cluster.nodes[0], cluster.nodes[0].listener(listen(&cluster)));
    let kinds = [
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["rsa:2048"],
        &["rsa:4096"],
    ];
    let names: String = (0..250).map(|number| format!(",DNS:{number:048}.shop.example")).collect();
    let all = kinds.iter().map(|kind| (*kind, "")).chain([(kinds[0], names.as_str())]);
    for (kind, more_names) in all {
        let domain = ["domain", "create", NAME, "--pki", "enabled"];
        one.run(&domain).ok();
        let identity = Identity::make_with(&one.dir, NAME, kind, more_names);
        import(one, &identity);
        for peer in PEERS.into_iter().filter(|peer| peer.is_there()) {
            let about = format!("{peer:?} {kind:?} {} bytes", identity.der.len());
            assert!(peer.echoes(address, &identity.certificate, None), "{about}");
        }
        one.run(&["domain", "delete", NAME, "--yes"]).ok();
    }
}

/// A domain that asks for certificates of this authority.
struct Scene {
    cluster: Cluster,
    address: SocketAddr,
    shop: Identity,
    issuer: String,
}

impl Scene {
    fn new(root: &Authority) -> Scene {
        let cluster = Cluster::start(1);
        let (one, port) = (&cluster.nodes[0], listen(&cluster));
        let ec = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let shop = Identity::make(&one.dir, NAME, &ec);
        one.run(&["domain", "create", NAME, "--pki", "enabled"]).ok();
        import(one, &shop);
        let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
        let crl = one.file("crl.pem", root.revoke(7).as_bytes());
        let scope = format!("domain:{NAME}");
        one.run(&["trust", "add", &root_file, "--scope", &scope]).ok();
        one.run(&["trust", "add", &crl, "--scope", &scope]).ok();
        let shown = openssl(&["x509", "-in", &root_file, "-noout", "-fingerprint", "-sha256"]);
        let issuer = shown.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
        let address = one.listener(port);
        Scene { cluster, address, shop, issuer }
    }

    fn one(&self) -> &Node {
        &self.cluster.nodes[0]
    }
}

#[test]
fn client_certificates_count_as_they_do_for_tls() {
    if !has_program("openssl") {
        return;
    }
    let (root, stranger) = (authority("Client Root", None), authority("Stranger", None));
    let scene = Scene::new(&root);
    let one = scene.one();
    let issued = [
        ("fine", Some(root.client("alice", |_| {}))),
        ("expired", Some(root.client("old", |one| one.not_after = date_time_ymd(2026, 1, 2)))),
        ("stranger", Some(stranger.client("mallory", |_| {}))),
        (
            "server",
            Some(root.client("server", |one| {
                one.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })),
        ),
        (
            "revoked",
            Some(root.client("eve", |one| one.serial_number = Some(SerialNumber::from(7)))),
        ),
        ("none", None),
    ];
    let files = issued.map(|(what, issued)| {
        let files = issued.map(|issued| {
            let certificate = one.file(&format!("{what}.pem"), issued.certificate.as_bytes());
            (certificate, one.file(&format!("{what}.key"), issued.key.as_bytes()))
        });
        (what, files)
    });
    let (required, optional) = (&["--required"][..], &[][..]);
    for (more, abort) in [(required, "on"), (optional, "on"), (optional, "off")] {
        let words = ["client-auth", "set", NAME, "--issuer", &scene.issuer];
        one.run(&[&words[..], more].concat()).ok();
        one.run(&["tls", "set", "--abort-on-wrong-client-certificate", abort]).ok();
        for (what, files) in &files {
            let identity = files.as_ref().map(|(one, two)| (one.as_str(), two.as_str()));
            let expected = match *what {
                "fine" => true,
                "none" => more.is_empty(),
                _ => more.is_empty() && abort == "off",
            };
            // GnuTLS waits long for what does not come: it has its turn where it is let in.
            for peer in PEERS.into_iter().filter(|peer| peer.is_there()) {
                if matches!(peer, DatagramPeer::GnuTls) && !expected {
                    continue;
                }
                let is_echoed = peer.echoes(scene.address, &scene.shop.certificate, identity);
                assert_eq!(is_echoed, expected, "{peer:?} {what} {more:?} {abort}");
            }
        }
    }
    // The domain asks, and the listener requires.
    one.run(&["listener", "set", "dtls", "--require-client-certificate", "on"]).ok();
    for (what, files) in files.iter().filter(|(what, _)| ["fine", "none"].contains(what)) {
        let identity = files.as_ref().map(|(one, two)| (one.as_str(), two.as_str()));
        let is_echoed =
            DatagramPeer::OpenSsl.echoes(scene.address, &scene.shop.certificate, identity);
        assert_eq!(is_echoed, *what == "fine", "{what}");
    }
    let log = one.log();
    for reason in ["expired", "issuer", "purpose", "revoked", "missing"] {
        assert!(log.contains(&format!("reason=\"client_certificate_{reason}\"")), "{reason}");
    }
}

/// One visit of `openssl s_client`, which keeps its session in a file or brings one along; whether
/// it resumed.
fn resumes(address: SocketAddr, name: &str, option: &str, session: &Path) -> bool {
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-dtls1_2", "-connect", &address.to_string(), "-servername", name])
        .args([option, session.to_str().unwrap()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Cipher is ECDHE"), "{text}");
    text.contains("Reused, ")
}

#[test]
fn a_session_resumes_on_every_node_and_nowhere_else() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let port = listen(&cluster);
    let one = &cluster.nodes[0];
    let root = authority("Client Root", None);
    let root_file = one.file("root.pem", root.certificate.pem().as_bytes());
    let shown = openssl(&["x509", "-in", &root_file, "-noout", "-fingerprint", "-sha256"]);
    let issuer = shown.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    let ec = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for name in [NAME, "bank.example"] {
        let identity = Identity::make(&one.dir, name, &ec);
        one.run(&["domain", "create", name, "--pki", "enabled"]).ok();
        one.run(&["cert", "import", name, &identity.certificate, "--key", &identity.key]).ok();
        one.run(&["trust", "add", &root_file, "--scope", &format!("domain:{name}")]).ok();
    }
    let session = one.dir.join("session");
    let at = |node: usize| cluster.nodes[node].listener(port);
    let keep = || resumes(at(0), NAME, "-sess_out", &session);
    let again = |node: usize, name: &str| resumes(at(node), name, "-sess_in", &session);
    wait_for("tickets", || {
        keep();
        (0..3).all(|node| again(node, NAME)).then_some(())
    });
    // The attack: a session of a domain that asks nobody, shown to one that demands a certificate.
    // OpenSSL with one context for both resumes it.
    assert!(!again(0, "bank.example"), "another domain");
    one.run(&["client-auth", "set", "bank.example", "--issuer", &issuer]).ok();
    assert!(!again(1, "bank.example"), "another domain, which asks for certificates");
    one.run(&["client-auth", "set", NAME, "--issuer", &issuer]).ok();
    assert!(!again(0, NAME), "its domain asks for certificates now");
    keep();
    assert!(again(2, NAME), "a session without a certificate, where none is required");
    one.run(&["trust", "remove", &issuer, "--scope", &format!("domain:{NAME}"), "--yes"]).ok();
    assert!(!again(2, NAME), "other trust");
    keep();
    assert!(again(1, NAME));
    one.run(&["tls", "flush", "--yes"]).ok();
    assert!(!again(1, NAME), "after a flush");
    keep();
    assert!(again(1, NAME));
    one.run(&["cert", "self-sign", NAME, "--yes"]).ok();
    assert!(!again(1, NAME), "another certificate");
    let sessions = cluster.nodes[1].run(&["tls", "sessions", "-o", "json"]).json();
    assert!(sessions["node"]["resumed"].as_u64().unwrap() >= 2, "{sessions}");
}
